"""The tables of a graded assignment: grades.csv, and by-hand.csv for the teacher.

by-hand.csv has a row for every written answer. Points and comments that a teacher puts
there are kept, and enter grades.csv and the students' pages at the next `make grade`.
Its notes say where a text needs a look. A spreadsheet may save it with semicolons.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from common import write_atomically
from grader.cells import Notebook, points_of
from grader.one import Result
from grader.release import TEXT_STUB

BY_HAND = ("student", "task", "of", "points", "comment", "note", "answer")
CHANGED = "the answer changed after it got points; empty this note when you have looked"
EMPTY = "no answer found; look into the notebook if a remark is about lost marks"
Marks = dict[tuple[str, str], dict[str, str]]


def write_tables(folder: Path, source: Notebook, results: list[Result]) -> None:
    """Write both tables; what a teacher has put into by-hand.csv stays."""
    results = sorted(results, key=lambda result: result.student)
    marks, comma = read_marks(folder), delimiter(folder)
    written = points_of(source, written=True)
    rows = [
        by_hand(r.student, task, most, marks.get((r.student, task), {}), r.written)
        for r in results
        for task, most in written.items()
    ]
    now = {(unsafe(row["student"]), row["task"]): row for row in rows}
    for key, row in marks.items():
        if key not in now and (row["points"] or row["comment"]):
            now[key] = {name: row.get(name) or "" for name in BY_HAND}
    if now:
        write_csv(folder / "by-hand.csv", BY_HAND, list(now.values()), comma)
    most = points_of(source, written=False) | written
    columns = ("student", *most, "total", "of", "open", "seconds", "remarks")
    lines = [row_of(r, most, now) for r in results]
    write_csv(folder / "grades.csv", columns, lines, comma)


def by_hand(
    student: str, task: str, most: float, mark: dict[str, str], written: dict[str, str]
) -> dict[str, str]:
    """Return one line of by-hand.csv, with what the teacher has put there."""
    answer, points = safe(written.get(task, "")), mark.get("points", "")
    before = mark.get("answer", "")
    note = CHANGED if mark.get("note") == CHANGED else ""
    if points and "answer" in mark and before.split() != answer.split():
        note = CHANGED
    elif not points and answer.strip() in ("", TEXT_STUB):
        note = EMPTY
    return {
        "student": safe(student),
        "task": task,
        "of": f"{most:g}",
        "points": points,
        "comment": mark.get("comment", ""),
        "note": note,
        "answer": answer,
    }


def row_of(result: Result, most: dict[str, float], marks: Marks) -> dict[str, str]:
    """Return one line of grades.csv; a task that nobody has graded yet is empty."""
    row = {"student": safe(result.student), "seconds": f"{result.seconds:g}"}
    given = {task: points(result, task, marks) for task in most}
    row |= {task: "" if p is None else f"{p:g}" for task, p in given.items()}
    row["total"] = f"{sum(p or 0 for p in given.values()):g}"
    row["of"] = f"{sum(most.values()):g}"
    row["open"] = str(list(given.values()).count(None))
    said = remarks(result)
    notes = {task: marks.get((result.student, task), {}).get("note") for task in most}
    said += [f"{task}: {CHANGED}" for task in most if notes[task] == CHANGED]
    row["remarks"] = safe("; ".join(said))
    return row


def points(result: Result, task: str, marks: Marks) -> float | None:
    """Return the points of a task, from the checks or from the teacher."""
    if task in result.points:
        return result.points[task]
    text = marks.get((result.student, task), {}).get("points", "").strip()
    return float(text.replace(",", ".")) if text else None


def check_marks(folder: Path, written: dict[str, float]) -> None:
    """Look at what a teacher has put into by-hand.csv.

    Raises:
        SystemExit: If points are no number, or outside of what the task has.
    """
    for (student, task), mark in read_marks(folder).items():
        text, most = mark["points"].strip(), written.get(task, 0)
        try:
            right = not text or 0 <= float(text.replace(",", ".")) <= most
        except ValueError:
            right = False
        if not right:
            raise SystemExit(
                f"by-hand.csv: points of {student}, {task} are {text!r}; "
                f"write a number from 0 to {most:g}, such as 1.5, or leave it empty"
            )


def still_open(folder: Path) -> int:
    """Return how many written answers have no points yet."""
    return sum(not mark["points"].strip() for mark in read_marks(folder).values())


def remarks(result: Result) -> list[str]:
    """Return all that is said about a submission, the gravest first."""
    said = [f"FLAGGED: {flag}" for flag in result.flags] + result.notes
    return said + [f"{k}: {', '.join(v)}" for k, v in sorted(result.remarks.items())]


def read_marks(folder: Path) -> Marks:
    """Return what a teacher has put into by-hand.csv.

    Raises:
        SystemExit: If the file cannot be read; the text says how to save it.
    """
    path = folder / "by-hand.csv"
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SystemExit(
            f"{path} is not in UTF-8; save it as 'CSV UTF-8'. Nothing was changed"
        ) from None
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter(folder), restval="")
    missing = {"student", "task", "points", "comment"} - set(rows.fieldnames or ())
    if missing:
        raise SystemExit(
            f"{path} has lost its columns {', '.join(sorted(missing))}; put the names "
            "back into its first line. Nothing was changed"
        )
    return {(unsafe(r["student"]), r["task"]): r for r in rows}


def delimiter(folder: Path) -> str:
    """Return what stands between the columns of by-hand.csv."""
    path = folder / "by-hand.csv"
    first = path.read_bytes().partition(b"\n")[0] if path.is_file() else b","
    return "," if b"," in first else ";"


def safe(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def unsafe(text: str) -> str:
    """Return the text that ``safe`` was given."""
    return text[1:] if text.startswith("'") and safe(text[1:]) == text else text


def write_csv(
    path: Path, columns: tuple[str, ...], rows: list[dict[str, str]], comma: str
) -> None:
    """Write a table whole or not at all, marked as UTF-8 for spreadsheets."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n", delimiter=comma)
    table.writeheader()
    table.writerows(rows)
    write_atomically(path, "\ufeff" + text.getvalue())
