"""What comes back from Colab: cells copied, deleted, reordered, without their marks."""

import copy

import tiny_assignment as tiny
from grader.cells import Notebook, grade_id
from grader.restore import restored


def names(notebook: Notebook) -> list[str]:
    return [grade_id(cell) for cell in notebook.cells if grade_id(cell)]


def cell_of(notebook: Notebook, name: str) -> object:
    return next(c for c in notebook.cells if grade_id(c) == name)


ALL = ["given", "variant", "task-1", "task-1-check", "task-2", "task-2-check", "task-3"]


def test_an_untouched_notebook_gets_its_hidden_tests_back() -> None:
    notebook, said = restored(tiny.with_answers(), tiny.source())
    assert names(notebook) == ALL
    assert "BEGIN HIDDEN" in cell_of(notebook, "task-1-check").source
    assert not said


def test_the_students_text_stays_and_the_teachers_is_the_teachers() -> None:
    handed = tiny.with_answers(task_1="return 17")
    cell_of(handed, "task-1-check").source = "pass"
    cell_of(handed, "given").source = "power = 1"
    notebook, _ = restored(handed, tiny.source())
    assert "return 17" in cell_of(notebook, "task-1").source
    for name in ("task-1-check", "given"):
        assert cell_of(notebook, name).source == cell_of(tiny.source(), name).source


def test_a_deleted_check_stands_behind_its_answer_again() -> None:
    handed = tiny.with_answers()
    handed.cells.remove(cell_of(handed, "task-1-check"))
    assert names(restored(handed, tiny.source())[0]) == ALL


def test_deleted_given_cells_come_back_in_their_order() -> None:
    handed = tiny.with_answers()
    for name in ("given", "variant"):
        handed.cells.remove(cell_of(handed, name))
    notebook, _ = restored(handed, tiny.source())
    assert names(notebook) == ALL


def test_a_copied_answer_is_run_and_a_copied_check_is_not() -> None:
    handed = tiny.with_answers()
    for name in ("task-1", "task-1-check"):
        handed.cells.append(copy.deepcopy(cell_of(handed, name)))
    notebook, said = restored(handed, tiny.source())
    assert names(notebook) == [*ALL, "task-1"]
    assert said == [
        "cell task-1 is there 2 times: the last one counts",
        "cell task-1-check is there 2 times: one was run",
    ]


def test_without_any_mark_all_checks_run_at_the_end() -> None:
    handed = tiny.with_answers()
    for cell in handed.cells:
        cell.metadata.clear()
    notebook, said = restored(handed, tiny.source())
    assert names(notebook)[-2:] == ["task-1-check", "task-2-check"]
    assert "cell task-1 is missing or lost its mark" in said


def test_outputs_and_marks_of_the_students_making_do_not_count() -> None:
    handed = tiny.with_answers()
    cell = cell_of(handed, "task-1")
    cell.metadata.nbgrader.update(grade=True, points=100)
    notebook, _ = restored(handed, tiny.source())
    assert cell_of(notebook, "task-1").metadata.nbgrader.grade is False


def test_another_variant_is_named() -> None:
    handed = tiny.with_answers()
    cell = cell_of(handed, "variant")
    cell.source = cell.source.replace("2026", "2027")
    said = restored(handed, tiny.source())[1]
    assert said == [
        "made for course seed 2027, graded with 2026; if that is wrong, "
        "grade with SEED=2027"
    ]
