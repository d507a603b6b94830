"""Grade the known answers of an assignment, and show task by task what they get.

tools/try_assignment.py darts             reference, stub, other and all wrong ones
tools/try_assignment.py darts 3           wrong notebook 3 alone, with its remarks
tools/try_assignment.py darts --seed 2027 of another variant
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from common import ROOT, write_atomically
from grader.cells import Notebook, points_of, read_source, source_names
from grader.collect import Submission
from grader.one import Result, graded
from grader.release import as_text
from grader.sandbox import works
from grader.variants import answered, known_answers, reference, stub, wrong

TABLE = ROOT / "data" / "results" / "assignment_verdicts.csv"
Row = dict[str, Any]


def main() -> int:
    """Print one row for each notebook; return how many are not as they should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("assignment")
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    every = options.assignment == "all"
    rows: list[Row] = []
    faults: list[str] = []
    for name in source_names() if every else [options.assignment]:
        source = read_source(name, seed=options.seed)
        tried = notebooks(source, name, options.number)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(grade, n, name, options.seed) for _, n, _ in tried]
        for (title, _, wanted), job in zip(tried, jobs, strict=True):
            result = job.result()
            found = verdicts(result, source, wanted)
            faults += [f"{name}, {title}: {fault}" for fault in found]
            rows += rows_of(name, title, result, source)
            print(name, title, result.points, f"{result.seconds} s", flush=True)
            if options.number:
                print(pd.Series(result.remarks).to_string())
    table = pd.DataFrame(rows)
    print(table.pivot_table(index=["assignment", "task"], columns="notebook",
                            values="points", sort=False).to_string())  # fmt: skip
    if options.store and not (faults or options.number or options.seed):
        store(table)
    print("\n".join(faults) or "all as it should be")
    return len(faults)


def store(table: pd.DataFrame) -> None:
    """Put these rows into the table of verdicts, in the place of the old ones."""
    old = pd.read_csv(TABLE) if TABLE.is_file() else table[:0]
    kept = old[~old.assignment.isin(table.assignment)]
    rows = pd.concat([kept, table])
    order = {name: place for place, name in enumerate(source_names())}
    rows = rows.sort_values(
        "assignment", key=lambda names: names.map(order), kind="stable"
    )
    write_atomically(TABLE, rows.to_csv(index=False, lineterminator="\n"))


def rows_of(name: str, title: str, result: Result, source: Notebook) -> list[Row]:
    """Return one row for each task: what a notebook got for it, and why."""
    return [
        {
            "assignment": name,
            "notebook": title,
            "task": task,
            "points": result.points[task],
            "of": most,
            "remark": "; ".join(result.remarks.get(task, []))[:200],
            "seconds": result.seconds,
        }
        for task, most in points_of(source, written=False).items()
    ]


def notebooks(
    source: Notebook, name: str, number: int | None
) -> list[tuple[str, Notebook, dict[str, Any] | None]]:
    """Return name, notebook and, for a wrong one, what is expected of every task."""
    answers = known_answers(name)
    every = [
        (f"wrong {k}", wrong(source, entry), entry)
        for k, entry in enumerate(answers["wrong"], start=1)
    ]
    if number:
        return [every[number - 1]]
    good = ("reference", reference(source), None)
    same = ("other", answered(source, answers["other"]), None)
    empty = ("stub", stub(source), {})
    return [good, same, empty, *every]


def grade(notebook: Notebook, assignment: str, seed: int | None) -> Result:
    """Return what a notebook is worth."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{assignment}.ipynb")
        write_atomically(path, as_text(notebook))
        submission = Submission("one", path, "")
        result, _ = graded(submission, assignment, seed=seed, trusted=not works())
    return result


def verdicts(
    result: Result, source: Notebook, wanted: dict[str, Any] | None
) -> list[str]:
    """Return one sentence for each task with the wrong points or the wrong remark."""
    faults = [f"flagged: {flag}" for flag in result.flags]
    for task, most in points_of(source, written=False).items():
        entry = {"points": most} if wanted is None else wanted.get(task, {})
        points, remark = entry.get("points", 0), entry.get("remark", "")
        said = "; ".join(result.remarks.get(task, []))
        if result.points[task] != points:
            faults.append(
                f"{task} got {result.points[task]:g}, not {points:g} ({said})"
            )
        if remark not in said:
            faults.append(f"{task} said {said!r}, not {remark!r}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
