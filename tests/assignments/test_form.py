"""The sources of the assignments, and what is made from them."""

import itertools
import re

import nbformat
import pytest

from common import INSTALL_CELL, INSTALL_CELL_ONNX, ROOT, repository_address
from grader.cells import (
    COURSE,
    HIDDEN,
    SEED_LINE,
    SOLUTION,
    grade_id,
    is_answer,
    is_check,
    is_written,
    points_of,
    read_source,
    source_names,
    title,
)
from grader.release import as_text, secrets, student_version
from grader.sandbox import Limits

NAMES = source_names()


def release(name: str) -> str:
    return (COURSE / "release" / name / f"{name}.ipynb").read_text(encoding="utf8")


def test_there_are_seven_in_order() -> None:
    titles = [title(read_source(name)) for name in NAMES]
    assert [t.split(":")[0] for t in titles] == [f"Assignment {k}" for k in range(1, 8)]


@pytest.mark.parametrize("name", NAMES)
def test_the_student_version_is_the_one_that_the_source_gives(name: str) -> None:
    made = as_text(student_version(read_source(name), name))
    assert release(name) == made, "make assignments"


@pytest.mark.parametrize("name", NAMES)
def test_students_see_no_solution_and_no_hidden_test(name: str) -> None:
    hidden = secrets(read_source(name))
    assert len(hidden) > 10
    shown = "\n".join(
        c.source for c in nbformat.reads(release(name), as_version=4).cells
    )
    assert not [line for line in hidden if line in shown]
    assert "BEGIN" not in shown


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_stored_that_was_not_written(name: str) -> None:
    for text in (release(name), as_text(read_source(name))):
        cells = nbformat.reads(text, as_version=4).cells
        code = [c for c in cells if c.cell_type == "code"]
        assert not any(c.outputs or c.execution_count for c in code)


@pytest.mark.parametrize("name", NAMES)
def test_the_cells_are_marked(name: str) -> None:
    source = read_source(name)
    nbformat.validate(source)
    names = [grade_id(c) for c in source.cells if grade_id(c)]
    assert len(names) == len(set(names))
    assert {"install", "given", "variant"} <= set(names)
    for cell in source.cells:
        assert cell.cell_type == "markdown" or grade_id(cell)
        assert len(SOLUTION.findall(cell.source)) == int(is_answer(cell))
    variant = next(c for c in source.cells if grade_id(c) == "variant")
    assert SEED_LINE.match(variant.source)


@pytest.mark.parametrize("name", NAMES)
def test_it_installs_what_the_notebooks_install(name: str) -> None:
    cell = next(c for c in read_source(name).cells if grade_id(c) == "install")
    wanted = [
        text.format(address=repository_address())
        for text in (INSTALL_CELL, INSTALL_CELL_ONNX)
    ]
    assert cell.source in wanted
    assert "install" in cell.metadata.tags


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_checked_or_read_by_a_person(name: str) -> None:
    source = read_source(name)
    checked, written = (points_of(source, written=w) for w in (False, True))
    answers = [grade_id(c) for c in source.cells if is_answer(c)]
    assert answers == [f"task-{k}" for k in range(1, len(answers) + 1)]
    assert 4 <= len(answers) <= 6
    assert set(answers) == checked.keys() | written.keys()
    assert sum(checked.values()) + sum(written.values()) == 20
    assert written


@pytest.mark.parametrize("name", NAMES)
def test_every_check_has_a_hidden_part_and_imports_what_it_uses(name: str) -> None:
    for cell in read_source(name).cells:
        if is_check(cell):
            hidden = HIDDEN.findall(cell.source)
            assert len(hidden) == 1
            assert re.search(r"^(from|import) ", cell.source, re.MULTILINE)
            assert cell.source.split("### BEGIN HIDDEN TESTS")[0].strip()


@pytest.mark.parametrize("name", NAMES)
def test_the_rubric_of_a_written_answer_is_told(name: str) -> None:
    cells = read_source(name).cells
    for before, cell in itertools.pairwise(cells):
        if is_written(cell):
            assert "point" in before.source


def test_an_answer_has_less_time_than_a_submission() -> None:
    assert Limits().cell_seconds < Limits().total_seconds


def test_the_release_holds_nothing_but_the_assignments() -> None:
    found = {p.name for p in (COURSE / "release").iterdir()}
    assert found == set(NAMES)
    assert not list((ROOT / "notebooks" / "assignments").glob("*.db"))
