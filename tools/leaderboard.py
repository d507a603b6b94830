"""Rank what the capstone measured: leaderboard.csv and leaderboard.html.

    make leaderboard
    python tools/leaderboard.py grades/capstone

The folder is the one that `make grade` has filled. Whoever meets all three limits is
ranked: by accuracy, of equals by fewer bytes, then by fewer milliseconds. Those equal
in all three share a rank. Flagged submissions, and those over a limit or without
numbers, are named below the table and have no rank.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader

from common import write_atomically
from grader.cells import OTHER_SEED
from grader.tables import safe

NUMBERS = ("accuracy", "bytes", "latency_ms")
COLUMNS = ("rank", "student", *NUMBERS)


class Row(NamedTuple):
    """A student on the board."""

    rank: int
    student: str
    accuracy: float
    bytes: float
    latency_ms: float


def main(arguments: list[str] | None = None) -> int:
    """Write both files into the folder, and print the table."""
    parser = argparse.ArgumentParser(description="Rank the results of the capstone.")
    parser.add_argument("folder", type=Path, help="where `make grade` put its results")
    folder = parser.parse_args(arguments).folder
    try:
        rows, left_out = board(read(folder))
    except ValueError as error:
        print(f"leaderboard: {error}", file=sys.stderr)
        return 1
    write_atomically(folder / "leaderboard.csv", as_csv(rows))
    write_atomically(folder / "leaderboard.html", as_html(rows, left_out))
    for line in as_lines(rows, left_out):
        print(line)
    print(f"leaderboard: {folder / 'leaderboard.html'} and leaderboard.csv")
    return 0


def read(folder: Path) -> list[dict[str, Any]]:
    """Return all results in the folder, by name of the student.

    Raises:
        ValueError: If there is none, or a file is not the grader's.
    """
    files = sorted((folder / "results").glob("*.json"))
    if not files:
        raise ValueError(f"no results/*.json in {folder}; run `make grade` first")
    results = []
    for path in files:
        try:
            result = json.loads(path.read_text(encoding="utf8"))
            results.append({"flags": [], "scores": None, **result})
            name = str(result["student"]).encode("utf8", "replace")
            results[-1]["student"] = name.decode("utf8")
        except (ValueError, TypeError, KeyError) as error:
            what = f"{path} is not a result of `make grade` ({type(error).__name__})"
            raise ValueError(f"{what}; delete it and grade again") from error
    return sorted(results, key=lambda result: result["student"])


def board(results: list[dict[str, Any]]) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the ranked rows, and (student, reason) of those left out."""
    rows, left_out = [], []
    for result in results:
        reason = why_not(result)
        if reason:
            left_out.append((result["student"], reason))
        else:
            rows.append(Row(0, result["student"], *map(result["scores"].get, NUMBERS)))
    rows.sort(key=order)  # of equals the names decide who stands first
    keys = [order(row) for row in rows]
    return [row._replace(rank=1 + keys.index(order(row))) for row in rows], left_out


def order(row: Row) -> tuple[float, float, float]:
    """Return what the rank depends on; less is better."""
    return (-row.accuracy, row.bytes, row.latency_ms)


def why_not(result: dict[str, Any]) -> str:
    """Return why a result is not ranked, or nothing."""
    if result["flags"]:
        return "flagged: the teacher has to look at it"
    scores, notes = result["scores"], [str(n) for n in result.get("notes", ())]
    if any(note.startswith(OTHER_SEED) for note in notes):
        return "made for another variant, with other limits"
    if not result.get("seconds", 1):
        return "nothing was handed in that runs"
    if not isinstance(scores, dict):
        return "no numbers: a limit or a rule was not met"
    limits = scores.get("limits")
    both = (scores, limits if isinstance(limits, dict) else {})
    if not all(is_number(part.get(name)) for part in both for name in NUMBERS):
        return "its numbers or limits cannot be read"
    over = [name for name in NUMBERS[1:] if scores[name] > both[1][name]]
    low = ["accuracy"] * (scores["accuracy"] < both[1]["accuracy"])
    return f"limit not met: {', '.join(low + over)}" if low + over else ""


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def as_csv(rows: list[Row]) -> str:
    """Return the ranked rows; no name is taken for a formula by a spreadsheet."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(row._replace(student=safe(row.student)) for row in rows)
    return text.getvalue()


def as_html(rows: list[Row], left_out: list[tuple[str, str]]) -> str:
    """Return a page that needs no other file, with every name escaped."""
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return pages.get_template("leaderboard.html").render(rows=rows, left_out=left_out)


def as_lines(rows: list[Row], left_out: list[tuple[str, str]]) -> list[str]:
    """Return the table as text."""
    lines = [f"{'rank':>4} {'accuracy':>8} {'bytes':>7} {'ms':>7}  student"]
    for row in rows:
        numbers = f"{row.accuracy:8.2%} {row.bytes:7} {row.latency_ms:7.3f}"
        lines.append(f"{row.rank:4} {numbers}  {row.student!r}")
    return lines + [f"   - {student!r}: {reason}" for student, reason in left_out]


if __name__ == "__main__":
    sys.exit(main())
