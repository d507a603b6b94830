"""A tiny assignment, and its grading with little patience, for the tests."""

from pathlib import Path

from common import write_atomically
from grader.cells import Notebook, is_answer, read_source
from grader.collect import Submission
from grader.one import Result, graded
from grader.release import as_text, student_version
from grader.sandbox import Limits
from grader.variants import answered

TINY = Path(__file__).parent / "assignments" / "course"
LIMITS = Limits(cell_seconds=4, total_seconds=90, memory_mb=1200, disk_mb=20)


def source() -> Notebook:
    """Return the tiny assignment."""
    return read_source("tiny", TINY)


def with_answers(**answers: str) -> Notebook:
    """Return a submission: `task_1="..."`; what is not named is right."""
    texts = {name.replace("_", "-"): text for name, text in answers.items()}
    notebook = student_version(source(), "tiny")
    for cell, full in zip(notebook.cells, answered(source(), texts).cells, strict=True):
        if is_answer(cell):
            cell.source = full.source
    return notebook


def grade(
    notebook: Notebook, folder: Path, *, limits: Limits = LIMITS, **options: bool
) -> tuple[Result, Notebook]:
    """Return what a notebook is worth, and how it ran."""
    path = folder / "ann.ipynb"
    write_atomically(path, as_text(notebook))
    submission = Submission("ann", path, "")
    return graded(submission, "tiny", course=TINY, limits=limits, **options)
