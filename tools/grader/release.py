"""The student's version of an assignment, made from its source by nbgrader's steps."""

from __future__ import annotations

import copy

import nbformat
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from grader.cells import Notebook, is_answer, is_check

STEPS = (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ClearHiddenTests,
         ClearMarkScheme, ComputeChecksums, CheckCellMetadata)  # fmt: skip


TEXT_STUB = ClearSolutions().text_stub  # of a written answer that nobody wrote


def student_version(source: Notebook, name: str) -> Notebook:
    """Return what students get: no solution, no hidden test, no output.

    Args:
        source: The source notebook.
        name: Of the assignment; the grader refuses the notebook of another one.
    """
    notebook = copy.deepcopy(source)
    for step in STEPS:
        notebook, _ = step().preprocess(notebook, {})
    for cell in notebook.cells:
        if is_check(cell):
            cell.source = cell.source.rstrip()
    notebook.metadata["effdl"] = {"assignment": name}
    return notebook


def as_text(notebook: Notebook) -> str:
    """Return the text of a notebook's file."""
    return nbformat.writes(notebook, version=4) + "\n"


def secrets(source: Notebook) -> list[str]:
    """Return the lines of solutions and hidden tests that students must not see.

    Only lines that say something by themselves, and that no open part of the notebook
    holds.
    """
    opened = "\n".join(c.source for c in student_version(source, "").cells)
    hidden = []
    for cell in source.cells:
        if is_answer(cell) or is_check(cell):
            hidden += [line.strip() for line in cell.source.splitlines()]
    return sorted({h for h in hidden if len(h) >= 30 and h not in opened})
