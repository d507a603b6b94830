"""`make grade` on a folder as it arrives: good, wrong, broken, hostile and forged."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import grade
import tiny_assignment as tiny
from grader.collect import LARGEST_MB, file_name
from grader.release import as_text
from grader.sandbox import works

Table = dict[str, dict[str, str]]


def write(path: Path, **answers: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(tiny.with_answers(**answers)))


def fill(folder: Path) -> None:
    write(folder / "ann.ipynb")
    write(folder / "bob" / "tiny" / "tiny.ipynb", task_1="return x * drawn.power")
    write(folder / "cy" / "my file.ipynb", task_2="import os\nos._exit(0)")
    write(folder / "=dan.ipynb", task_2="raise ValueError('<script>1</script>')")
    (folder / "empty").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), folder / "eve.ipynb")
    (folder / "fay.pdf").write_bytes(b"%PDF")
    (folder / "gil.ipynb").write_text("not json")
    with (folder / "huge.ipynb").open("wb") as file:
        file.truncate(50_000_000)
    other = tiny.with_answers()
    other.metadata.effdl = {"assignment": "darts"}
    nbformat.write(other, folder / "ida.ipynb")
    julia = tiny.with_answers(
        task_3="For _good_ reasons, $p\\,n$: <script>alert(1)</script>"
    )
    julia.metadata.kernelspec = {"name": "julia-1.9", "display_name": "Julia"}
    nbformat.write(julia, folder / "jo.ipynb")


def table(path: Path) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def run(folder: Path, submissions: str = "in") -> int:
    limits = json.dumps({"cell_seconds": 10, "total_seconds": 60})
    trust = [] if works() else ["--trust"]
    arguments = [str(folder / submissions), "tiny", "--course", str(tiny.TINY)]
    out = ["--results", str(folder / "out"), "--limits", limits]
    return grade.main([*arguments, *out, *trust])


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("course")
    (folder / "in").mkdir()
    fill(folder / "in")
    assert run(folder) == 0
    yield folder


@pytest.mark.parametrize(
    ("student", "points", "remark"),
    [
        ("ann", ("3", "2", "5"), ""),
        ("bob", ("0", "2", "2"), "task-1: looks like: multiplied instead of raised"),
        ("cy", ("3", "0", "3"), "its process ended"),
        ("'=dan", ("3", "0", "3"), "task-2: mean raised ValueError"),
        ("empty", ("0", "0", "0"), "nothing was handed in"),
        ("eve", ("0", "0", "0"), "eve.ipynb is empty"),
        ("fay", ("0", "0", "0"), "fay.pdf is not a notebook"),
        ("gil", ("0", "0", "0"), "gil.ipynb is not a notebook"),
        ("huge", ("0", "0", "0"), f"huge.ipynb has 50 MB, more than {LARGEST_MB:.0f}"),
        ("ida", ("0", "0", "0"), "is the assignment darts, not tiny"),
        ("jo", ("3", "2", "5"), "made for the kernel 'julia-1.9'"),
    ],
)
def test_the_table(graded: Path, student: str, points: tuple, remark: str) -> None:
    row = table(graded / "out" / "grades.csv")[student]
    assert (row["task-1"], row["task-2"], row["total"]) == points
    assert remark in row["remarks"]
    assert row["task-3"] == ""  # nobody has read it yet


def test_every_student_has_a_page_that_runs_nothing(graded: Path) -> None:
    pages = {p.stem: p.read_text() for p in (graded / "out" / "feedback").iterdir()}
    assert len(pages) == 11
    for page in pages.values():
        assert "default-src 'none'" in page
        assert "<script" not in page
    assert "&lt;script&gt;" in pages["jo"]
    assert "<em>good</em>" in pages["jo"]
    assert r"<span>\(p\,n\)</span>" in pages["jo"]
    assert "5 of 6</td><td>Written answers are still to be read." in pages["ann"]
    assert "looks like: multiplied instead of raised" in pages["bob"]
    assert "right" in pages["bob"]  # the smallest example
    assert "draws.uniform" not in pages["bob"]  # the hidden test


def test_a_second_run_grades_nobody_again(graded: Path) -> None:
    stored = graded / "out" / "results"
    before = {p.name: p.stat().st_mtime_ns for p in stored.iterdir()}
    assert run(graded) == 0
    assert {p.name: p.stat().st_mtime_ns for p in stored.iterdir()} == before


def test_what_is_damaged_or_handed_in_again_is_graded_again(graded: Path) -> None:
    stored = graded / "out" / "results"
    (stored / "ann.json").write_text("{half a")
    write(graded / "in" / "bob" / "tiny" / "tiny.ipynb")
    others = {p.name: p.stat().st_mtime_ns for p in stored.iterdir()}
    assert run(graded) == 0
    rows = table(graded / "out" / "grades.csv")
    assert (rows["ann"]["total"], rows["bob"]["total"]) == ("5", "5")
    changed = {
        p.name for p in stored.iterdir() if p.stat().st_mtime_ns != others[p.name]
    }
    assert changed == {"ann.json", "bob.json"}


def test_points_given_by_hand_are_kept_and_counted(graded: Path) -> None:
    path = graded / "out" / "by-hand.csv"
    text = path.read_text()
    old = "ann,task-3,1,,,"
    assert text.count(old) == 1
    path.write_text(text.replace(old, 'ann,task-3,1,0.5,"why, exactly?",'))
    assert run(graded) == 0
    assert table(graded / "out" / "grades.csv")["ann"]["total"] == "5.5"
    assert "0.5 of 1" in (graded / "out" / "feedback" / "ann.html").read_text()
    assert "why, exactly?" in path.read_text()


def test_a_word_for_points_is_refused_and_nothing_is_lost(graded: Path) -> None:
    path = graded / "out" / "by-hand.csv"
    text = path.read_text()
    path.write_text(text.replace("jo,task-3,1,,,", "jo,task-3,1,half,,"))
    with pytest.raises(SystemExit, match="points of jo, task-3 are 'half'"):
        run(graded)
    path.write_text(text)


def test_one_who_comes_late_drives_nobody_out(graded: Path) -> None:
    before = table(graded / "out" / "grades.csv")
    write(graded / "late" / "zoe.ipynb")
    assert run(graded, "late") == 0
    after = table(graded / "out" / "grades.csv")
    assert after.pop("zoe")["total"] == "5"
    assert after == before


def test_a_run_that_is_stopped_says_how_it_goes_on(
    graded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, "run_all", stopped)
    assert run(graded) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_nothing_runs_without_walls(
    graded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grade, "works", lambda: False)
    assert grade.main([str(graded / "in"), "tiny", "--course", str(tiny.TINY)]) == 2
    assert "TRUST=1" in capsys.readouterr().err


def test_an_unknown_assignment_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    course = ["--course", str(tiny.TINY), "--trust"]
    with pytest.raises(SystemExit, match="no assignment 'dart'; one of: tiny"):
        grade.main([str(tmp_path), "dart", *course])
    with pytest.raises(SystemExit, match="is empty"):
        grade.main([str(tmp_path), "tiny", *course])
    with pytest.raises(SystemExit, match="is not a folder"):
        grade.main([str(tmp_path / "nowhere"), "tiny", *course])


def test_names_of_students_make_names_of_files() -> None:
    assert file_name("ann-1") == "ann-1"
    assert "/" not in file_name("../../etc/x")
    assert file_name("a b") != file_name("a_b") != file_name("a/b")
