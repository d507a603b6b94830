"""Run every check of the project, and end with one line: N passed, N failed.

All stages run, so that one failure does not hide another. The exit status is that of
the first stage that failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from common import ROOT, book_notebooks, one_thread

REPORTS = ROOT / "_build" / "reports"
SANITIZE = ROOT / "tools" / "nbval_sanitize.cfg"
UNIT = ("-m", "not site", "-n", "2")
ASSIGNMENTS = "tests/assignments"  # each test starts a kernel of its own
BY_PAGE = ("-n", "2", "--dist", "loadgroup")  # so that a page is opened once a mode


class Outcome(NamedTuple):
    """What a stage found, and its exit status."""

    passed: int
    failed: int
    status: int


def main() -> int:
    """Run the stages in order; return the exit status of the first that failed."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    stages: dict[str, Callable[[], Outcome]] = {
        "format": lambda: tool("ruff", "format", "--check", "."),
        "lint": lambda: tool("ruff", "check", "."),
        "types": lambda: tool("mypy", "lib/effdl"),
        "unit tests": lambda: pytest("unit", *UNIT, f"--ignore={ASSIGNMENTS}"),
        "assignments": lambda: pytest("assignments", *UNIT, ASSIGNMENTS),
        "notebooks": notebooks,
        "book": lambda: python("tools/build_book.py"),
        "site": lambda: pytest("site", "-m", "site", *BY_PAGE, "tests/site"),
    }
    outcomes, lines = [], []
    for name, stage in stages.items():
        print(f"\n== {name}", flush=True)
        started = time.time()
        outcome = stage()
        outcomes.append(outcome)
        lines.append(
            f"{name:11} {'FAILED' if outcome.status else 'ok':7}"
            f"{outcome.passed:5} passed, {outcome.failed} failed"
            f"  {time.time() - started:6.0f} s"
        )
    print("\n" + "\n".join(lines))
    passed = sum(o.passed for o in outcomes)
    failed = sum(o.failed for o in outcomes)
    print(f"{passed} passed, {failed} failed")
    return next((o.status for o in outcomes if o.status), 0)


def tool(name: str, *arguments: str) -> Outcome:
    """Run a module of the environment; it passes or fails as a whole."""
    return whole([sys.executable, "-m", name, *arguments])


def python(script: str) -> Outcome:
    """Run a program of the project; it passes or fails as a whole."""
    return whole([sys.executable, script])


def whole(command: list[str]) -> Outcome:
    """Run a command that counts as one check."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return Outcome(int(status == 0), int(status != 0), status)


def notebooks() -> Outcome:
    """Run every notebook with the network off, in a namespace of its own if allowed."""
    files = [str(path) for path in book_notebooks()]
    options = ["--nbval-lax", "--nbval-cell-timeout", "300", "-n", "2"]
    options += ["--dist", "loadfile", "--nbval-sanitize-with", str(SANITIZE)]
    offline = str(ROOT / "tools" / "offline")
    path = os.pathsep.join(filter(None, [offline, os.environ.get("PYTHONPATH")]))
    env = one_thread(PYTHONPATH=path)
    return pytest("notebooks", *options, *files, env=env, prefix=namespace())


def namespace() -> list[str]:
    """Return the command that takes the network away, or nothing where none works."""
    command = ["bwrap", "--dev-bind", "/", "/", "--unshare-net"]
    if not shutil.which("bwrap"):
        return []
    probe = subprocess.run([*command, "true"], check=False, capture_output=True)
    return command if probe.returncode == 0 else []


def pytest(
    report: str,
    *arguments: str,
    env: dict[str, str] | None = None,
    prefix: list[str] | None = None,
) -> Outcome:
    """Run pytest and count what it reports; a crash counts as one failure."""
    path = REPORTS / f"{report}.xml"
    path.unlink(missing_ok=True)
    command = [*(prefix or []), sys.executable, "-m", "pytest", "-rs"]
    command += ["-p", "no:cacheprovider", f"--junitxml={path}", *arguments]
    status = subprocess.run(command, cwd=ROOT, check=False, env=env).returncode
    passed, failed = count(path)
    if status and not failed:
        failed = 1
    return Outcome(passed, failed, status)


def count(path: Path) -> tuple[int, int]:
    """Return how many tests of a JUnit report passed and failed."""
    try:
        suites = ElementTree.parse(path).getroot().iter("testsuite")
    except (FileNotFoundError, ElementTree.ParseError):
        return 0, 0  # the stage ended before it could report
    numbers = [[int(s.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")]
               for s in suites]  # fmt: skip
    tests, failures, errors, skipped = (
        sum(column) for column in zip(*numbers, strict=True)
    )
    return tests - failures - errors - skipped, failures + errors


if __name__ == "__main__":
    sys.exit(main())
