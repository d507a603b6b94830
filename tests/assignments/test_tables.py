"""by-hand.csv and grades.csv: what a teacher typed is never lost."""

import csv
from pathlib import Path

import pytest

import tiny_assignment as tiny
from grader.one import Result
from grader.tables import CHANGED, EMPTY, check_marks, still_open, write_tables


def result(student: str, answer: str = "Because.") -> Result:
    points = {"task-1": 3.0, "task-2": 2.0}
    return Result(student, points=points, written={"task-3": answer})


def write(folder: Path, *results: Result) -> None:
    write_tables(folder, tiny.source(), list(results))


def rows(folder: Path, name: str, delimiter: str = ",") -> dict[str, dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8-sig") as file:
        return {r["student"]: r for r in csv.DictReader(file, delimiter=delimiter)}


def mark(folder: Path, student: str, points: str) -> None:
    path = folder / "by-hand.csv"
    text = path.read_text(encoding="utf-8-sig")
    assert text.count(f"{student},task-3,1,,") == 1
    text = text.replace(f"{student},task-3,1,,", f"{student},task-3,1,{points},fine")
    path.write_text(text, encoding="utf8")


def test_points_are_kept_when_others_are_graded(tmp_path: Path) -> None:
    write(tmp_path, result("ann"), result("bob"))
    mark(tmp_path, "ann", "0.5")
    write(tmp_path, result("late"))
    assert rows(tmp_path, "by-hand.csv")["ann"]["points"] == "0.5"
    write(tmp_path, result("ann"), result("late"))
    row = rows(tmp_path, "grades.csv")["ann"]
    assert (row["task-3"], row["total"], row["of"], row["open"]) == (
        "0.5",
        "5.5",
        "6",
        "0",
    )


def test_an_answer_that_changed_after_its_points_is_named(tmp_path: Path) -> None:
    write(tmp_path, result("ann"))
    mark(tmp_path, "ann", "1")
    write(tmp_path, result("ann", "Because.\r\n"))  # a spreadsheet's line end
    assert rows(tmp_path, "by-hand.csv")["ann"]["note"] == ""
    for _ in range(2):  # and the note stays until somebody takes it away
        write(tmp_path, result("ann", "A new answer."))
        row = rows(tmp_path, "by-hand.csv")["ann"]
        assert (row["points"], row["note"]) == ("1", CHANGED)
        assert CHANGED in rows(tmp_path, "grades.csv")["ann"]["remarks"]
    path = tmp_path / "by-hand.csv"
    path.write_text(path.read_text(encoding="utf8").replace(CHANGED, ""))
    write(tmp_path, result("ann", "A new answer."))
    assert rows(tmp_path, "by-hand.csv")["ann"]["note"] == ""


@pytest.mark.parametrize("answer", ["", "YOUR ANSWER HERE", "\nYOUR ANSWER HERE "])
def test_no_answer_is_named_until_it_has_points(answer: str, tmp_path: Path) -> None:
    write(tmp_path, result("ann", answer))
    assert rows(tmp_path, "by-hand.csv")["ann"]["note"] == EMPTY
    assert rows(tmp_path, "grades.csv")["ann"]["open"] == "1"
    assert still_open(tmp_path) == 1
    mark(tmp_path, "ann", "0")
    assert still_open(tmp_path) == 0


@pytest.mark.parametrize("points", ["7", "-1", "nan", "half"])
def test_points_that_the_task_does_not_have_are_refused(
    points: str, tmp_path: Path
) -> None:
    write(tmp_path, result("ann"))
    mark(tmp_path, "ann", points)
    with pytest.raises(SystemExit, match=f"ann, task-3 are '{points}'; .* 0 to 1"):
        check_marks(tmp_path, {"task-3": 1.0})


def test_semicolons_and_commas_of_a_spreadsheet_stay(tmp_path: Path) -> None:
    write(tmp_path, result("ann"))
    path = tmp_path / "by-hand.csv"
    text = path.read_text(encoding="utf-8-sig").replace(",", ";")
    path.write_text(text.replace("ann;task-3;1;;", "ann;task-3;1;0,5;"))
    check_marks(tmp_path, {"task-3": 1.0})
    write(tmp_path, result("ann"))
    assert rows(tmp_path, "by-hand.csv", ";")["ann"]["points"] == "0,5"
    assert rows(tmp_path, "grades.csv", ";")["ann"]["total"] == "5.5"


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "by-hand.csv"
    for content, said in (
        (b"student,task,points,comment\n\x80", "not in UTF-8"),
        (b"name,task,points,comment\nann,task-3,1,\n", "lost its columns student"),
    ):
        path.write_bytes(content)
        with pytest.raises(SystemExit, match=said):
            write(tmp_path, result("ann"))
        assert path.read_bytes() == content
