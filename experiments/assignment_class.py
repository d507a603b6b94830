"""How long does it take to grade a class of forty?

One assignment, forty submissions on two cores: good ones, empty ones and the known
wrong ones in turn, through `make grade` as a teacher runs it. Minutes of wall time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from _results import DATA, Case, fill_table, seeds_from_command_line

ROOT = DATA.parent
sys.path.insert(0, str(ROOT / "tools"))  # the grader is no part of the library
from grader.cells import read_source  # noqa: E402
from grader.release import as_text  # noqa: E402
from grader.variants import known_answers, reference, stub, wrong  # noqa: E402

STUDENTS = 40
ASSIGNMENTS = ("pruning",)


def measure(assignment: str, students: int, seed: int) -> Case:
    """Return the wall time of grading a class."""
    del seed  # nothing here is random
    source = read_source(assignment)
    known = [wrong(source, entry) for entry in known_answers(assignment)["wrong"]]
    kinds = [reference(source), stub(source), *known]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "submissions")
        folder.mkdir()
        for number, notebook in enumerate(islice(cycle(kinds), students)):
            (folder / f"student-{number:02}.ipynb").write_text(as_text(notebook))
        command = [sys.executable, str(ROOT / "tools" / "grade.py"), str(folder)]
        command += [assignment, "--results", str(Path(name, "out")), "--jobs", "2"]
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - begun
    return {"minutes": wall / 60, "seconds_each": 2 * wall / students}


def cases(seeds: list[int]) -> list[Case]:
    """Return one case for each assignment."""
    return [
        {"assignment": name, "students": STUDENTS, "seed": seed}
        for name in ASSIGNMENTS
        for seed in seeds[:1]
    ]


if __name__ == "__main__":
    fill_table(__file__, cases(seeds_from_command_line(__doc__)), measure)
