"""What comes back from Colab: cells copied, deleted, reordered, without their marks."""

import copy

import nbformat

import tiny_assignment as tiny
from grader.cells import Notebook, grade_id
from grader.release import student_version
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
    notebook, said = restored(handed, tiny.source())
    assert names(notebook) == ALL
    assert said == ["these were missing, and were put back: task-1-check"]


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


def test_without_any_mark_cells_are_known_by_text_or_place() -> None:
    handed = tiny.with_answers(task_1="return 17", task_3="For *these* reasons.")
    for cell in handed.cells:
        cell.metadata.clear()
    thought = nbformat.v4.new_markdown_cell("Let me think.")
    handed.cells.insert(4, thought)  # behind the question, before the answer
    notebook, said = restored(handed, tiny.source())
    assert names(notebook) == ALL
    assert len(notebook.cells) == len(tiny.source().cells) + 1  # nothing is there twice
    assert "return 17" in cell_of(notebook, "task-1").source
    assert cell_of(notebook, "task-3").source == "For *these* reasons."
    marks = (
        "these had lost their marks, and were found by place: task-1, task-2, task-3"
    )
    assert said == [marks]


def test_a_remark_of_the_students_own_is_no_answer() -> None:
    handed = tiny.with_answers()
    handed.cells.append(nbformat.v4.new_markdown_cell("Thank you."))
    for place in (0, 5):  # the second stands between question and answer
        handed.cells.insert(place, nbformat.v4.new_code_cell("mine = 1"))
    notebook, said = restored(handed, tiny.source())
    assert names(notebook) == ALL
    assert not said


def test_a_text_that_stands_twice_is_known_by_its_place() -> None:
    source = tiny.source()
    source.cells += copy.deepcopy(source.cells[-2:])
    source.cells[-2].source = "## Task 4"
    source.cells[-1].metadata.nbgrader.grade_id = "task-4"
    handed = student_version(source, "tiny")
    for cell in handed.cells:
        cell.metadata.clear()
    assert names(restored(handed, source)[0]) == [*ALL, "task-4"]


def test_without_marks_and_questions_all_checks_run_at_the_end() -> None:
    handed = tiny.with_answers()
    handed.cells = [copy.copy(cell_of(handed, f"task-{k}")) for k in (1, 2, 3)]
    for cell in handed.cells:
        cell.metadata = nbformat.NotebookNode()
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
    assert said == ["made for course seed 2027, graded with 2026"]
