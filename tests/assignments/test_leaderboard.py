"""The leaderboard ranks who meets the limits, and trusts no name and no number."""

import csv
import io
import json

import pytest

import leaderboard

LIMITS = {"accuracy": 0.7, "bytes": 3000, "latency_ms": 0.3}


def scored(student, accuracy, size, ms, **other):
    scores = {"accuracy": accuracy, "bytes": size, "latency_ms": ms, "limits": LIMITS}
    result = {"student": student, "points": {"task-3": 7}, "flags": []}
    return result | {"scores": scores} | other


def stored(folder, results):
    (folder / "results").mkdir()
    for number, result in enumerate(results):
        path = folder / "results" / f"{number}.json"
        path.write_text(json.dumps(result), encoding="utf8")
    return folder


def test_accuracy_counts_first_then_bytes_then_ms(tmp_path, capsys):
    results = [
        scored("slow", 0.8, 2000, 0.3),
        scored("large", 0.8, 2500, 0.1),
        scored("quick", 0.8, 2000, 0.2),
        scored("right", 0.9, 3000, 0.3),
    ]
    assert leaderboard.main([str(stored(tmp_path, results))]) == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))
    assert rows[0] == ["rank", "student", "accuracy", "bytes", "latency_ms"]
    assert [row[:2] for row in rows[1:]] == [
        ["1", "right"],
        ["2", "quick"],
        ["3", "slow"],
        ["4", "large"],
    ]
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:5]] == ["1", "2", "3", "4"]


def test_equals_share_a_rank_and_the_next_is_skipped():
    results = [scored(name, 0.8, 2000, 0.2) for name in ("ann", "bob")]
    rows, _ = leaderboard.board([*results, scored("cem", 0.75, 2000, 0.2)])
    assert [(row.rank, row.student) for row in rows] == [
        (1, "ann"),
        (1, "bob"),
        (3, "cem"),
    ]


def test_who_is_exactly_at_the_limits_is_ranked():
    rows, left_out = leaderboard.board([scored("ann", 0.7, 3000, 0.3)])
    assert [row.student for row in rows] == ["ann"]
    assert not left_out


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (scored("x", 0.9, 9, 0.1, flags=["replaced torch"]), "flagged"),
        (scored("x", 0.9, 9, 0.1, scores=None), "no numbers"),
        (
            scored("x", 0.9, 9, 0.1, notes=["made for course seed 1, graded with 2"]),
            "another variant",
        ),
        (scored("x", 0.9, 9, 0.1, seconds=0.0, scores=None), "nothing was handed in"),
        (scored("x", 0.9, 9, 0.1, seconds=9.0, scores=None), "limit or a rule"),
        (scored("x", 0.69, 9, 0.1), "limit not met: accuracy"),
        (scored("x", 0.69, 3001, 0.31), "accuracy, bytes, latency_ms"),
        (scored("x", float("nan"), 9, 0.1), "cannot be read"),
        (scored("x", accuracy=True, size=9, ms=0.1), "cannot be read"),
        (scored("x", "1", 9, 0.1), "cannot be read"),
        (scored("x", 0.9, 9, 0.1, scores={"accuracy": 0.9}), "cannot be read"),
    ],
)
def test_who_is_not_ranked_is_named_with_the_reason(result, reason):
    rows, left_out = leaderboard.board([result])
    assert rows == []
    assert left_out[0][0] == "x"
    assert reason in left_out[0][1]


def test_names_are_escaped_on_the_page_and_harmless_in_a_spreadsheet(tmp_path):
    name = "=<script>alert(1)</script>&"
    results = [scored(name, 0.8, 9, 0.1), scored(name, 0.8, 9, 0.1, flags=["!"])]
    assert leaderboard.main([str(stored(tmp_path, results))]) == 0
    page = (tmp_path / "leaderboard.html").read_text()
    assert "<script" not in page
    assert page.count("=&lt;script&gt;alert(1)&lt;/script&gt;&amp;") == 2
    [_, row] = csv.reader(io.StringIO((tmp_path / "leaderboard.csv").read_text()))
    assert row[1] == f"'{name}"


def test_a_name_that_is_no_text_stops_nothing(tmp_path):
    folder = stored(tmp_path, [scored("ann\udcff", 0.8, 9, 0.1)])
    assert leaderboard.main([str(folder)]) == 0
    assert "ann?" in (folder / "leaderboard.html").read_text()


def test_a_name_cannot_write_lines_or_colours_on_the_terminal():
    rows, left_out = leaderboard.board([
        scored("a\n1 b\x1b[31m", 0.8, 9, 0.1),
        scored("c\x1b[0m", 0.1, 9, 0.1),
    ])
    lines = leaderboard.as_lines(rows, left_out)
    assert len(lines) == 3
    assert not any("\x1b" in line or "\n" in line for line in lines)


def test_the_page_says_its_language_title_and_headers_and_asks_for_nothing(tmp_path):
    leaderboard.main([str(stored(tmp_path, [scored("ann", 0.8, 9, 0.1)]))])
    page = (tmp_path / "leaderboard.html").read_text()
    assert '<html lang="en">' in page
    assert "<title>" in page
    assert page.count('scope="col"') == 5
    assert '<th scope="row">ann</th>' in page
    assert not any(word in page for word in ("http://", "https://", "src=", "<link"))


def test_nobody_within_the_limits_is_said(tmp_path):
    leaderboard.main([str(stored(tmp_path, [scored("ann", 0.1, 9, 0.1)]))])
    page = (tmp_path / "leaderboard.html").read_text()
    assert "Nobody" in page
    assert "ann: limit not met: accuracy" in page


def test_a_folder_without_results_is_refused_with_the_way_out(tmp_path, capsys):
    assert leaderboard.main([str(tmp_path)]) == 1
    assert "make grade" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", "3", "{}"])
def test_a_file_that_is_no_result_is_named_and_nothing_is_written(
    tmp_path, capsys, text
):
    folder = stored(tmp_path, [scored("ann", 0.8, 9, 0.1)])
    (folder / "results" / "bad.json").write_text(text)
    assert leaderboard.main([str(folder)]) == 1
    assert "bad.json" in capsys.readouterr().err
    assert not list(folder.glob("leaderboard.*"))
