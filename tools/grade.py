"""Grade what students handed in: a table for the teacher, a page for each student.

    make grade SUBMISSIONS=submissions ASSIGNMENT=darts

Options: RESULTS=folder (grades/<assignment>), SEED=2027 (of another variant),
COURSE=folder (of another nbgrader course), TRUST=1 (run without walls where bubblewrap
is missing), ACCEPT=ann,bob (their flagged texts were looked at), JOBS=1 (one after the
other), LIMITS='{"cell_seconds": 200}' (see grader/sandbox.py).

Each submission runs in a process of its own, on all cores. What is graded already is
not graded again unless it changed, so an interrupted run goes on where it was. Students
of earlier runs stay in the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import ROOT, tracked_files, write_atomically
from grader.cells import points_of, read_source
from grader.collect import Submission, file_name, submissions
from grader.feedback import write_pages
from grader.one import Result
from grader.options import parsed
from grader.report import advice, progress
from grader.sandbox import works
from grader.stored import accepted, digest, earlier, read_result
from grader.tables import check_marks, still_open, write_tables

NO_WALLS = """\
grade: bubblewrap (bwrap) is missing, or may not make namespaces here.
What students hand in is code that nobody has read; it would run with your rights.
  install it:       apt install bubblewrap   (Linux only)
  or, if you have read every submission, say so: make grade TRUST=1 ..."""


def main(arguments: list[str] | None = None) -> int:
    """Grade, write the tables and the pages, and say where they are."""
    options = parsed(arguments, __doc__.split("\n")[0])
    if not (works() or options.trust):
        print(NO_WALLS, file=sys.stderr)
        return 2
    source = read_source(options.assignment, options.course, options.seed)
    found = submissions(options.submissions, options.assignment)
    folder = options.results or Path("grades", options.assignment)
    for name in ("results", "graded", "feedback"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    check_marks(folder, points_of(source, written=True))  # before anything runs
    options.accepted = accepted(options.accept, found, folder)
    begun = time.monotonic()
    try:
        results = list(progress(run_all(found, folder, options), len(found)))
    except KeyboardInterrupt:
        print("grade: stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    kept = earlier(folder, {result.student for result in results})
    write_tables(folder, source, results + kept)
    write_pages(folder, source, results + kept)
    print(f"grade: {len(results)} submissions in {time.monotonic() - begun:.0f} s")
    for line in advice(results, kept, still_open(folder), folder):
        print(f"grade: {line}")
    print(f"grade: {folder / 'grades.csv'}, pages in {folder / 'feedback'}")
    return 0


def run_all(
    found: list[Submission], folder: Path, options: argparse.Namespace
) -> Iterator[tuple[Result, bool]]:
    """Yield the result of every submission as they come, and whether it ran now."""
    ours = (ROOT / "lib", ROOT / "tools")
    code = digest(*(p for p in tracked_files() if set(ours) & set(p.parents)))
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(run_one, s, folder, options, code) for s in found]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_one(
    submission: Submission, folder: Path, options: argparse.Namespace, code: str
) -> tuple[Result, bool]:
    """Return the stored result of a submission, or grade it now; and whether it ran."""
    name = file_name(submission.student)
    stored = folder / "results" / f"{name}.json"
    request = request_for(submission, folder, options, code)
    old = read_result(stored)
    if old is not None and old.key == request["key"]:
        return old, False
    stored.unlink(missing_ok=True)
    Path(request["notebook"]).unlink(missing_ok=True)
    asked = folder / "results" / f"{name}.request"
    write_atomically(asked, json.dumps(request))
    error = run_process(asked, seconds=options.limits.total_seconds + 120)
    asked.unlink()
    result = read_result(stored)
    if result is None:  # even this process did not survive the submission
        result = Result(submission.student, notes=[f"could not be graded: {error}"])
        result.flags = ["the grader itself failed; look at this submission"]
        write_atomically(stored, json.dumps(asdict(result), indent=1))
    return result, True


def request_for(
    submission: Submission, folder: Path, options: argparse.Namespace, code: str
) -> dict[str, Any]:
    """Return all that decides a result, with a key that stands for it."""
    name, student = file_name(submission.student), submission.student
    request: dict[str, Any] = {
        "student": student,
        "assignment": options.assignment,
        "path": str(submission.path.resolve()),
        "trouble": submission.trouble,
        "course": str(options.course.resolve()),
        "seed": options.seed,
        "limits": asdict(options.limits),
        "trusted": options.trust,
    }
    source = options.course / "source" / options.assignment
    files = [submission.path] if submission.path.is_file() else []
    handed = digest(*files)
    request["accepted"] = options.accepted.get(student) == handed
    text = json.dumps(request) + code + digest(*source.glob("*.ipynb")) + handed
    request["key"] = hashlib.sha256(text.encode()).hexdigest()
    request["result"] = str((folder / "results" / f"{name}.json").resolve())
    request["notebook"] = str((folder / "graded" / f"{name}.ipynb").resolve())
    return request


def run_process(request: Path, *, seconds: float) -> str:
    """Grade in a process of its own; return the last thing it said if it failed."""
    command = [sys.executable, "-m", "grader.one", str(request)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
    try:
        run = subprocess.run(command, env=env, capture_output=True, text=True,
                             timeout=seconds, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took more than {seconds:.0f} s"
    lines = run.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {run.returncode}"


if __name__ == "__main__":
    sys.exit(main())
