"""Put the teacher's cells back into a student's notebook.

Colab and careless hands copy, delete and reorder cells, and lose the metadata by which
nbgrader knows them. So what counts is the source: every given cell and every check is
taken from there, at the place where the student's copy stands, or where it would stand.
What the student wrote is run as it is. A mark that was lost is put back where the text,
or the place behind its question, tells whose it was.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter

import nbformat

from grader.cells import (
    OTHER_SEED,
    Cell,
    Notebook,
    grade_id,
    is_answer,
    is_check,
    is_locked,
    is_written,
    seed_of,
    task_of,
)
from grader.release import student_version


def restored(submission: Notebook, source: Notebook) -> tuple[Notebook, list[str]]:
    """Return the notebook to run, and what was strange about the one handed in."""
    submission, found = marked(submission, source)
    locked = {grade_id(c): c for c in source.cells if is_locked(c)}
    marks = {grade_id(c): c for c in source.cells if grade_id(c)}
    cells: list[Cell] = []
    done: set[str] = set()
    for cell in submission.cells:
        name = grade_id(cell)
        if name in locked:
            names = together(locked, name)
            fresh = [n for n in names if n not in done]  # a second copy is not run
            cells += [copy.deepcopy(locked[n]) for n in fresh]
            done.update(names)
        else:
            cells.append(own(cell, marks.get(name)))
            done.add(name)
    for name, cell in locked.items():
        if name not in done:
            cells.insert(place(name, cells, source), copy.deepcopy(cell))
    notebook = nbformat.v4.new_notebook(cells=cells)
    return notebook, found + remarks(submission, source)


def marked(submission: Notebook, source: Notebook) -> tuple[Notebook, list[str]]:
    """Return the notebook with lost marks put back, and a sentence about answers."""
    submission = copy.deepcopy(submission)
    given = student_version(source, "").cells
    texts = Counter(plain(c) for c in given)
    whose = {plain(c): grade_id(c) for c in given if texts[plain(c)] == 1}
    behind = {plain(a): b for a, b in itertools.pairwise(given) if is_answer(b)}
    by_name = {grade_id(c): c for c in given if grade_id(c)}
    there = {grade_id(c) for c in submission.cells}
    found, before = [], ""  # the last text that was given
    for cell in submission.cells:
        name = grade_id(cell)
        if name in by_name:
            before = plain(by_name[name])
            continue
        awaited = behind.get(before)
        if plain(cell) in whose:
            name, before = whose[plain(cell)], plain(cell)
        elif awaited is not None and awaited.cell_type == cell.cell_type:
            name = grade_id(awaited)
        if name and name not in there:
            cell.metadata["nbgrader"] = {"grade_id": name}
            there.add(name)
            if is_answer(by_name[name]):
                found.append(name)
    said = f"these had lost their marks, and were found by place: {', '.join(found)}"
    return submission, [said] if found else []


def plain(cell: Cell) -> str:
    """Return the text of a cell without what stands around it."""
    return str(cell.source).strip()


def together(locked: dict[str, Cell], name: str) -> list[str]:
    """Return the checks of a check's task, which nothing may come between."""
    if not is_check(locked[name]):
        return [name]
    task = task_of(locked[name])
    return [n for n, c in locked.items() if is_check(c) and task_of(c) == task]


def own(cell: Cell, original: Cell | None) -> Cell:
    """Return a student's cell without its outputs, as the kind that it should be."""
    make = {
        "markdown": nbformat.v4.new_markdown_cell,
        "code": nbformat.v4.new_code_cell,
    }
    new = make.get(cell.cell_type, nbformat.v4.new_markdown_cell)(cell.source)
    if original is not None:
        new.metadata["nbgrader"] = dict(original.metadata["nbgrader"])
    return new


def place(name: str, cells: list[Cell], source: Notebook) -> int:
    """Return where a missing cell belongs.

    A check stands behind its task's last answer, or last of all. A given cell stands
    behind the given cell before it in the source, or first.
    """
    names = [grade_id(c) for c in cells]
    wanted = next(c for c in source.cells if grade_id(c) == name)
    if is_check(wanted):
        mine = [i for i, c in enumerate(cells) if task_of(c) == task_of(wanted)]
        return mine[-1] + 1 if mine else len(cells)
    order = [grade_id(c) for c in source.cells if grade_id(c)]
    for earlier in reversed(order[: order.index(name)]):
        if earlier in names:
            return names.index(earlier) + 1
    return 0


def remarks(submission: Notebook, source: Notebook) -> list[str]:
    """Return one sentence for each thing that came back otherwise than it was given."""
    count = Counter(grade_id(c) for c in submission.cells)
    said = []
    for cell in source.cells:
        name = grade_id(cell)
        if not name:
            continue
        if count[name] > 1:
            which = "the last one counts" if is_answer(cell) else "one was run"
            said.append(f"cell {name} is there {count[name]} times: {which}")
        if count[name] == 0 and (is_answer(cell) or is_written(cell)):
            said.append(f"cell {name} is missing or lost its mark")
    names = [grade_id(c) for c in source.cells if is_locked(c)]
    missing = ", ".join(name for name in names if not count[name])
    if missing:
        said.append(f"these were missing, and were put back: {missing}")
    handed, wanted = seed_of(submission), seed_of(source)
    if handed is not None and handed != wanted:
        said.append(f"{OTHER_SEED} {handed}, graded with {wanted}")
    return said
