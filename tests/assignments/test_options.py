"""The command line of `make grade`, and the folder that it is given."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

import tiny_assignment as tiny
from common import ROOT
from grader.collect import Submission, student_name, submissions
from grader.one import Result
from grader.options import limits, parsed
from grader.report import advice
from grader.sandbox import Limits
from grader.stored import accepted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "darts"], "SUBMISSIONS is missing"),
        ([str(ROOT), "darts"], "is where this book lies"),
        ([str(ROOT.parent), "darts"], "is where this book lies"),
        (["in", ""], "ASSIGNMENT is missing; one of: count-and-build, "),
        (["in", "darts", "--seed", "20x31"], "SEED=20x31: write a whole number from 0"),
        (["in", "darts", "--jobs", "0"], "JOBS=0: write a whole number from 1"),
        (["in", "darts", "--limits", "10"], "LIMITS=10 is not understood"),
        (["in", "darts", "--limits", '{"seconds": 6}'], "names: cell_seconds, "),
        (["in", "darts", "--limits", '{"cell_seconds": 0}'], "numbers above 0"),
        (["in", "darts", "--limits", '{"cell_seconds": true}'], "numbers above 0"),
        (["in", "darts", "--limits", "{cell_seconds: 10}"], "is not understood"),
    ],
)
def test_what_is_not_understood_is_named(arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        parsed(arguments, "")


@pytest.mark.parametrize("text", ["pruning", "Pruning", "4"])
def test_an_assignment_has_a_name_and_a_number(text: str) -> None:
    assert parsed(["in", text], "").assignment == "pruning"


def test_limits_that_are_not_named_stay() -> None:
    assert limits('{"cell_seconds": 200}').total_seconds == 240
    assert limits('{"cell_seconds": 200}').cell_seconds == 200


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("ann.ipynb", "ann"),
        ("ann", "ann"),
        ("fay.pdf", "fay"),
        ("Ada Lovelace_10001_assignsubmission_file_", "Ada Lovelace"),
        ("Ada_B_10001_assignsubmission_file", "Ada_B"),
        ("lovelaceada_12345_67890_pruning.ipynb", "lovelaceada"),
        ("lovelaceada_LATE_12345_67890_pruning-1.ipynb", "lovelaceada"),
        ("dr. who", "dr. who"),
        ("group_7.ipynb", "group_7"),
    ],
)
def test_whose_a_file_is(name: str, student: str) -> None:
    assert student_name(Path(name)) == student


def test_a_download_of_moodle(tmp_path: Path) -> None:
    for name in ("Ada_1_assignsubmission_file_", "Bob_2_assignsubmission_file_"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.ipynb").touch()
    for name in (
        "Ada_1_assignsubmission_onlinetext_",
        "Cy_3_assignsubmission_onlinetext_",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "onlinetext.html").touch()
    found = submissions(tmp_path, "tiny")
    assert [(s.student, s.path.name) for s in found] == [
        ("Ada", "x.ipynb"),
        ("Bob", "x.ipynb"),
        ("Cy", "onlinetext.html"),
    ]


def test_two_with_one_name_keep_the_names_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "ada_1_2_x.ipynb").touch()
    (tmp_path / "ada_3_4_x").mkdir()
    (tmp_path / "ada_3_4_x" / "mine.ipynb").touch()
    found = submissions(tmp_path, "tiny")
    assert [s.student for s in found] == ["ada_1_2_x.ipynb", "ada_3_4_x"]


def test_who_was_accepted_stays_so_until_the_text_changes(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text("1")
    found = [Submission("Li, Ann", path, ""), Submission("bob", path, "")]
    first = accepted("Li, Ann", found, tmp_path)
    assert list(first) == ["Li, Ann"]
    assert accepted("", found, tmp_path) == first
    path.write_text("2")
    assert accepted("Li, Ann", found, tmp_path) != first
    assert set(accepted("bob", found, tmp_path)) == {"Li, Ann", "bob"}
    with pytest.raises(SystemExit, match=r"ACCEPT=ann: nobody .*: Li, Ann, bob"):
        accepted("ann", found, tmp_path)


def test_what_a_teacher_should_know(tmp_path: Path) -> None:
    other = "made for course seed 2027, graded with 2026"
    results = [Result("ann", notes=[other]), Result("bob", flags=["replaced len"])]
    said = "\n".join(advice(results, [Result("cy")], 3, tmp_path))
    for part in ("1 of earlier runs", "(cy)", other, "flagged: bob", "3 written"):
        assert part in said
    assert advice([Result("ann")], [], 0, tmp_path) == []


def test_an_unknown_assignment_is_still_named() -> None:
    assert parsed(["in", "dart", "--course", str(tiny.TINY)], "").assignment == "dart"


def test_the_page_tells_every_limit_as_it_is() -> None:
    page = (ROOT / "book" / "how-to-teach.md").read_text(encoding="utf8")
    for name, value in asdict(Limits()).items():
        assert re.search(rf"^\| `{name}`, [^|]+ \| {value:g} \|$", page, re.MULTILINE)
