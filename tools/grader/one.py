"""Grade one submission in a process of its own, and write what was found.

    python -m grader.one REQUEST.json

A submission that breaks this process as well costs nobody else anything.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import write_atomically
from grader import guard
from grader.cells import COURSE, is_locked, is_written, points_of, read_source, task_of
from grader.collect import Submission, kernel_remark, opened
from grader.execute import Grading
from grader.release import as_text
from grader.restore import restored
from grader.sandbox import Limits
from grader.talk import started


@dataclass
class Result:
    """What grading found; the file `results/<student>.json`.

    Attributes:
        student: As in the folder of submissions.
        key: Of the submission, the source and the limits: what was graded.
        points: Of every checked task.
        remarks: Of every task, what its checks said.
        notes: What was strange about the notebook.
        flags: What a teacher has to look at; points are withheld.
        written: The answers that a person grades.
        seconds: Wall time.
        scores: What the capstone measured.
    """

    student: str
    key: str = ""
    points: dict[str, float] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    scores: dict[str, Any] | None = None


def main() -> int:
    """Grade what the request names; write the result and the executed notebook."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf8"))
    submission = Submission(
        request["student"], Path(request["path"]), request["trouble"]
    )
    result, notebook = graded(
        submission,
        request["assignment"],
        course=Path(request["course"]),
        seed=request["seed"],
        limits=Limits(**request["limits"]),
        trusted=request["trusted"],
        accepted=request["accepted"],
    )
    result.key = request["key"]
    if notebook is not None:
        write_atomically(Path(request["notebook"]), as_text(notebook))
    write_atomically(Path(request["result"]), json.dumps(asdict(result), indent=1))
    return 0


def graded(
    submission: Submission,
    assignment: str,
    *,
    course: Path = COURSE,
    seed: int | None = None,
    limits: Limits = Limits(),  # noqa: B008
    trusted: bool = False,
    accepted: bool = False,
) -> tuple[Result, Any]:
    """Return what a submission is worth, and the notebook as it ran.

    Args:
        submission: What was handed in.
        assignment: Its name.
        course: The folder that holds `source/`.
        seed: Of the course; None takes the one in the source.
        limits: Of time, memory, processes and disk.
        trusted: Whether to run it without walls.
        accepted: Whether a teacher has looked at the text and found it harmless.
    """
    begun = time.monotonic()
    source = read_source(assignment, course, seed)
    result = Result(submission.student)
    result.points = dict.fromkeys(points_of(source, written=False), 0.0)
    try:
        handed = opened(submission, assignment)
        notebook, strange = restored(handed, source)
    except (ValueError, OSError, RecursionError) as error:
        result.notes = [str(error)]
        return result, None
    result.notes = kernel_remark(handed) + strange
    result.written = {task_of(c): c.source for c in notebook.cells if is_written(c)}
    with started(limits, trusted=trusted) as talk:
        grading = Grading(talk)
        grading.flags = [] if accepted else reading_words(notebook)
        grading.run(notebook)
    result.points |= grading.points
    result.remarks, result.scores = grading.remarks, grading.scores
    result.flags = list(dict.fromkeys(grading.flags))
    result.seconds = round(time.monotonic() - begun, 1)
    return result, notebook


def reading_words(notebook: Any) -> list[str]:
    """Return a flag if the student's own cells can read the checks."""
    own = [c for c in notebook.cells if c.cell_type == "code" and not is_locked(c)]
    words = sorted({word for c in own for word in guard.reading(c.source)})
    return [f"mentions {', '.join(words)}: can read the checks"] if words else []


if __name__ == "__main__":
    sys.exit(main())
