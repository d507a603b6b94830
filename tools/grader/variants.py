"""Notebooks with known answers, to grade the grader: tests/assignments/<name>.toml.

    [other]                    a good solution, written differently
    task-1 = '''...'''
    [[wrong]]                  wrong notebook 1: a wrong answer to every task
    task-1 = { remark = "...", old = "...", new = "..." }
    task-2 = { remark = "...", code = '''...''', points = 2 }

`old` occurs exactly once in the solution. `points` is what the answer still gets.
"""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

from common import ROOT
from grader.cells import Notebook, grade_id, is_answer, solution_of, with_solution

ANSWERS = ROOT / "tests" / "assignments"
STUB = "raise NotImplementedError()"


def known_answers(name: str, folder: Path = ANSWERS) -> dict[str, Any]:
    """Return the other solution and the wrong ones of an assignment."""
    return tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf8"))


def reference(source: Notebook) -> Notebook:
    """Return the notebook with its own solutions."""
    return answered(source, {})


def stub(source: Notebook) -> Notebook:
    """Return the notebook that a student hands in untouched."""
    names = [grade_id(c) for c in source.cells if is_answer(c)]
    return answered(source, dict.fromkeys(names, STUB))


def wrong(source: Notebook, answers: dict[str, dict[str, Any]]) -> Notebook:
    """Return the notebook with a wrong answer to every task that is checked.

    Raises:
        ValueError: If an `old` does not occur exactly once.
    """
    texts = {}
    for cell in source.cells:
        entry = answers.get(grade_id(cell))
        if entry is None or not is_answer(cell):
            continue
        text = solution_of(cell)
        if "code" not in entry and text.count(entry["old"]) != 1:
            many = text.count(entry["old"])
            raise ValueError(
                f"{grade_id(cell)}: {entry['old']!r} is there {many} times"
            )
        texts[grade_id(cell)] = entry.get("code") or text.replace(
            entry["old"], entry["new"]
        )
    return answered(source, texts)


def answered(source: Notebook, texts: dict[str, str]) -> Notebook:
    """Return the notebook with these answers, and its own for all other tasks."""
    notebook = copy.deepcopy(source)
    for place, cell in enumerate(notebook.cells):
        if is_answer(cell):
            text = texts.get(grade_id(cell), solution_of(cell))
            notebook.cells[place] = with_solution(cell, text)
    return notebook
