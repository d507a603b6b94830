"""The cells of an assignment: what nbgrader's metadata says about them.

A source notebook holds given cells (locked), one answer cell for each task, with the
solution between two markers, and check cells (locked, with points) named after their
task: `task-2`, `task-2-check`, `task-2-check-2`.
"""

from __future__ import annotations

import copy
import re
import textwrap
from pathlib import Path
from typing import Any

import nbformat

from common import NOTEBOOKS

Notebook = Any
Cell = Any

OTHER_SEED = "made for course seed"  # so the grader's note about it begins
COURSE = NOTEBOOKS / "assignments"  # a course folder of nbgrader
SEED_LINE = re.compile(r"^COURSE_SEED = (\d+)", re.MULTILINE)
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS\n(.*?)### END HIDDEN TESTS", re.DOTALL)
SOLUTION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION\n(.*?)^[ \t]*### END SOLUTION",
    re.DOTALL | re.MULTILINE,
)


def source_names(course: Path = COURSE) -> list[str]:
    """Return the names of all assignments, in the order of their titles."""
    found = [p.parent.name for p in course.glob("source/*/*.ipynb")]
    return sorted(found, key=lambda name: title(read_source(name, course)))


def read_source(name: str, course: Path = COURSE, seed: int | None = None) -> Notebook:
    """Return the source of an assignment, for a course's seed.

    Raises:
        SystemExit: If there is no such assignment.
    """
    path = course / "source" / name / f"{name}.ipynb"
    if not path.is_file():
        known = sorted(p.parent.name for p in course.glob("source/*/*.ipynb"))
        raise SystemExit(f"there is no assignment {name!r}; one of: {', '.join(known)}")
    notebook = nbformat.read(path, as_version=4)
    return notebook if seed is None else reseeded(notebook, seed)


def reseeded(notebook: Notebook, seed: int) -> Notebook:
    """Return the variant of an assignment that a seed draws."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if grade_id(cell) == "variant":
            cell.source = SEED_LINE.sub(f"COURSE_SEED = {seed}", cell.source)
    return notebook


def seed_of(notebook: Notebook) -> int | None:
    """Return the seed that a notebook was made for, or None where it says none."""
    found = [SEED_LINE.search(cell.source) for cell in notebook.cells]
    return next((int(match[1]) for match in found if match), None)


def title(notebook: Notebook) -> str:
    """Return the first line of a notebook that is a title, or nothing."""
    lines = [c.source.lstrip().split("\n")[0] for c in notebook.cells[:3]]
    return next((line.strip("# ") for line in lines if line.startswith("# ")), "")


def meta(cell: Cell) -> dict[str, Any]:
    """Return what nbgrader keeps about a cell; empty where it keeps nothing."""
    found = cell.get("metadata", {}).get("nbgrader", {})
    return found if isinstance(found, dict) else {}


def grade_id(cell: Cell) -> str:
    """Return the name of a cell within its assignment, or nothing."""
    return str(meta(cell).get("grade_id", ""))


def is_check(cell: Cell) -> bool:
    """Return whether running this cell gives or refuses points."""
    return cell.cell_type == "code" and bool(meta(cell).get("grade"))


def is_written(cell: Cell) -> bool:
    """Return whether a person grades this cell."""
    return cell.cell_type == "markdown" and bool(meta(cell).get("grade"))


def is_answer(cell: Cell) -> bool:
    """Return whether a student fills this cell."""
    return bool(meta(cell).get("solution"))


def is_locked(cell: Cell) -> bool:
    """Return whether the teacher's text of this cell counts, whatever came back."""
    return bool(meta(cell).get("locked")) and not is_answer(cell)


def task_of(cell: Cell) -> str:
    """Return the task of an answer or a check, such as `task-2`."""
    return re.match(r"(task-\d+)?", grade_id(cell))[0]  # type: ignore[index]


def points_of(notebook: Notebook, *, written: bool) -> dict[str, float]:
    """Return the most points of every task that is checked, or written."""
    most: dict[str, float] = {}
    for cell in notebook.cells:
        if is_written(cell) if written else is_check(cell):
            most[task_of(cell)] = most.get(task_of(cell), 0) + meta(cell)["points"]
    return most


def solution_of(cell: Cell) -> str:
    """Return the text between the markers, without their indentation."""
    return textwrap.dedent(SOLUTION.search(cell.source)[2]).strip("\n")  # type: ignore[index]


def hidden_texts(cell: Cell) -> list[str]:
    """Return the texts of a cell that students never see, long enough to be told."""
    texts = [match[1] for match in HIDDEN.finditer(cell.source)]
    texts += [match[2] for match in SOLUTION.finditer(cell.source)]
    return [text for text in texts if len("".join(text.split())) > 60]


def with_solution(cell: Cell, code: str) -> Cell:
    """Return the answer cell with another text in the place of its solution."""
    cell = copy.deepcopy(cell)
    found = SOLUTION.search(cell.source)
    code = textwrap.indent(textwrap.dedent(code).strip("\n"), found[1])  # type: ignore[index]
    cell.source = cell.source[: found.start()] + code + cell.source[found.end() :]  # type: ignore[union-attr]
    return cell
