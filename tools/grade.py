"""Grade what students handed in: a table for the teacher, a page for each student.

    make grade SUBMISSIONS=submissions ASSIGNMENT=darts

Options: RESULTS=folder (grades/<assignment>), SEED=2027 (of another variant),
COURSE=folder (of another nbgrader course), TRUST=1 (run without walls where bubblewrap
is missing), ACCEPT=ann,bob (their flagged texts were looked at), JOBS=1 (one after the
other), LIMITS='{"cell_seconds": 200}' (see grader/sandbox.py).

Each submission runs in a process of its own, on all cores. What is graded already is
not graded again unless it changed, so an interrupted run goes on where it was.
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
from grader.cells import COURSE, read_source
from grader.collect import Submission, file_name, submissions
from grader.feedback import write_pages
from grader.one import Result
from grader.sandbox import Limits, works
from grader.tables import write_tables

NO_WALLS = """\
grade: bubblewrap (bwrap) is missing, or may not make namespaces here.
What students hand in is code that nobody has read; it would run with your rights.
  install it:       apt install bubblewrap   (Linux only)
  or, if you have read every submission, say so: make grade TRUST=1 ..."""


def main(arguments: list[str] | None = None) -> int:
    """Grade, write the tables and the pages, and say where they are."""
    options = parsed(arguments)
    if not (works() or options.trust):
        print(NO_WALLS, file=sys.stderr)
        return 2
    source = read_source(options.assignment, options.course, options.seed)
    found = submissions(options.submissions, options.assignment)
    folder = options.results or Path("grades", options.assignment)
    for name in ("results", "graded", "feedback"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    results = list(progress(run_all(found, folder, options), len(found)))
    results.sort(key=lambda result: result.student)
    write_tables(folder, source, results)
    write_pages(folder, source, results)
    print(f"grade: {len(results)} submissions in {time.monotonic() - begun:.0f} s")
    print(f"grade: {folder / 'grades.csv'}, pages in {folder / 'feedback'}")
    return 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("assignment")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--course", type=Path, default=COURSE)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trust", action="store_true")
    parser.add_argument("--accept", default="", type=lambda text: text.split(","))
    parser.add_argument("--limits", default={}, type=json.loads)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


def run_all(
    found: list[Submission], folder: Path, options: argparse.Namespace
) -> Iterator[Result]:
    """Yield the result of every submission, as they come."""
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
) -> Result:
    """Return the stored result of a submission, or grade it now."""
    name = file_name(submission.student)
    stored = folder / "results" / f"{name}.json"
    request = request_for(submission, folder, options, code)
    old = read_result(stored)
    if old is not None and old.key == request["key"]:
        return old
    stored.unlink(missing_ok=True)
    Path(request["notebook"]).unlink(missing_ok=True)
    asked = folder / "results" / f"{name}.request"
    write_atomically(asked, json.dumps(request))
    limits = Limits(**request["limits"])
    error = run_process(asked, seconds=limits.total_seconds + 120)
    asked.unlink()
    result = read_result(stored)
    if result is None:  # even this process did not survive the submission
        result = Result(submission.student, notes=[f"could not be graded: {error}"])
        result.flags = ["the grader itself failed; look at this submission"]
        write_atomically(stored, json.dumps(asdict(result), indent=1))
    return result


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
        "limits": asdict(Limits(**options.limits)),
        "trusted": options.trust,
        "accepted": student in options.accept,
    }
    source = options.course / "source" / options.assignment
    files = [*source.glob("*.ipynb")]
    files += [submission.path] if submission.path.is_file() else []
    text = json.dumps(request) + code + digest(*files)
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


def read_result(path: Path) -> Result | None:
    """Return a stored result, or None where there is none that can be read."""
    try:
        return Result(**json.loads(path.read_text(encoding="utf8")))
    except (OSError, ValueError, TypeError):
        return None


def digest(*files: Path) -> str:
    """Return one digest of the content of files."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def progress(results: Iterator[Result], many: int) -> Iterator[Result]:
    """Say how far it is, one line for each submission."""
    for number, result in enumerate(results, start=1):
        points = sum(result.points.values())
        said = "; ".join([*result.flags[:1], *result.notes[:1]])
        line = f"{number:3}/{many} {result.student}: {points:g} points"
        print(f"{line} in {result.seconds:.0f} s {said}".rstrip(), flush=True)
        yield result


if __name__ == "__main__":
    sys.exit(main())
