"""The tables of a graded assignment: grades.csv, and by-hand.csv for the teacher.

by-hand.csv has a row for every written answer. Points and comments that a teacher puts
there are kept, and enter grades.csv and the students' pages at the next `make grade`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from common import write_atomically
from grader.cells import Notebook, points_of
from grader.one import Result

BY_HAND = ("student", "task", "of", "points", "comment", "answer")
Marks = dict[tuple[str, str], dict[str, str]]


def write_tables(folder: Path, source: Notebook, results: list[Result]) -> None:
    """Write both tables; what a teacher has put into by-hand.csv stays."""
    marks = read_marks(folder)
    written = points_of(source, written=True)
    rows = [
        {
            "student": safe(r.student),
            "task": task,
            "of": f"{most:g}",
            "points": marks.get((r.student, task), {}).get("points", ""),
            "comment": marks.get((r.student, task), {}).get("comment", ""),
            "answer": safe(r.written.get(task, "")),
        }
        for r in results
        for task, most in written.items()
    ]
    if written:
        write_csv(folder / "by-hand.csv", BY_HAND, rows)
    tasks = (*points_of(source, written=False), *written)
    columns = ("student", *tasks, "total", "seconds", "remarks")
    write_csv(
        folder / "grades.csv", columns, [row_of(r, tasks, marks) for r in results]
    )


def row_of(result: Result, tasks: tuple[str, ...], marks: Marks) -> dict[str, str]:
    """Return one line of grades.csv; a task that nobody has graded yet is empty."""
    row = {"student": safe(result.student), "seconds": f"{result.seconds:g}"}
    total = 0.0
    for task in tasks:
        given = points(result, task, marks)
        row[task] = "" if given is None else f"{given:g}"
        total += given or 0
    row["total"] = f"{total:g}"
    row["remarks"] = safe("; ".join(remarks(result)))
    return row


def points(result: Result, task: str, marks: Marks) -> float | None:
    """Return the points of a task, from the checks or from the teacher.

    Raises:
        SystemExit: If the teacher's entry is not a number.
    """
    if task in result.points:
        return result.points[task]
    text = marks.get((result.student, task), {}).get("points", "").strip()
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError:
        raise SystemExit(
            f"by-hand.csv: points of {result.student}, {task} are {text!r}; "
            "write a number, such as 2.5, or leave it empty"
        ) from None


def remarks(result: Result) -> list[str]:
    """Return all that is said about a submission, the gravest first."""
    said = [f"FLAGGED: {flag}" for flag in result.flags] + result.notes
    return said + [f"{k}: {', '.join(v)}" for k, v in sorted(result.remarks.items())]


def read_marks(folder: Path) -> Marks:
    """Return what a teacher has put into by-hand.csv."""
    path = folder / "by-hand.csv"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8-sig")
    dialect = "excel" if "," in text.split("\n")[0] else "excel-semicolon"
    csv.register_dialect("excel-semicolon", csv.excel, delimiter=";")
    rows = csv.DictReader(io.StringIO(text), dialect=dialect)
    return {(unsafe(r["student"]), r["task"]): r for r in rows}


def safe(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def unsafe(text: str) -> str:
    """Return the text that ``safe`` was given."""
    return text[1:] if text.startswith("'") and safe(text[1:]) == text else text


def write_csv(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    """Write a table whole, or not at all."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_atomically(path, text.getvalue())
