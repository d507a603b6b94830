"""The numbers that the pages print about many teachers, peers and none.

A page prints {{ key }}. Means of the test part over the seeds; differences are paired
by seed, with a 95 per cent interval of Student's t. many_teachers.py and
mean_teacher_labels.py run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/many_teachers.csv", "results/mean_teacher_labels.csv")
METHODS = ("alone", "KD-1", "KD-2", "KD-4", "CA-MKD", "AEKD", "DML-2", "DML-4")
METHODS += ("BAN-1", "BAN-2", "Tf-KD", "smoothing", "BYOT")
PAIRS = (
    *((method, "alone") for method in METHODS[1:]),
    *((method, "KD-1") for method in METHODS[2:8]),
    ("CA-MKD", "KD-4"),
    ("AEKD", "KD-4"),
)


@cache
def column(source: str, name: str, **_which: str) -> np.ndarray:
    """Return a column of the rows of a method, by seed."""
    rows = read_table(data_path(source))
    chosen = [r for r in rows if all(r[key] == value for key, value in _which.items())]
    chosen.sort(key=lambda row: int(row["seed"]))
    return np.array([float(row[name]) for row in chosen])


def teachers(method: str, name: str = "test") -> np.ndarray:
    """Return what a method of many_teachers did, by seed."""
    return column(SOURCES[0], name, method=method)


def labels(task: str, method: str, name: str = "teacher_test") -> np.ndarray:
    """Return what a method of mean_teacher_labels did, by seed."""
    return column(SOURCES[1], name, task=task, method=method)


def percent(values: np.ndarray) -> Answer:
    """Return a mean share as the pages print it."""
    return float(values.mean()), f"{100 * values.mean():.1f} %"


def plain(values: np.ndarray) -> Answer:
    """Return the mean of what has no unit."""
    return float(values.mean()), f"{values.mean():.3f}"


def gain(ours: np.ndarray, theirs: np.ndarray) -> Answer:
    """Return a paired difference in points, with its interval."""
    return paired(ours, theirs)


def key_of(*names: str) -> str:
    """Return a key that a page can print."""
    return "_".join(["teachers", *names]).replace("-", "").lower()


def numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute every number."""
    found: dict[str, Callable[[], Answer]] = {
        "teachers_seeds": lambda: (
            len(teachers("alone")),
            f"{len(teachers('alone'))}",
        )
    }
    for m in METHODS:
        found[key_of(m)] = lambda m=m: percent(teachers(m))
        found[key_of(m, "ece")] = lambda m=m: percent(teachers(m, "ece"))
        found[key_of(m, "surprise")] = lambda m=m: plain(teachers(m, "surprise"))
        found[key_of(m, "by")] = lambda m=m: percent(teachers(m, "teacher_test"))
    for a, b in PAIRS:
        found[key_of(a, "over", b)] = lambda a=a, b=b: gain(teachers(a), teachers(b))
    for task in ("crescents", "digits"):
        for m in ("labels", "own", "mean"):
            found[key_of(task, m)] = lambda t=task, m=m: percent(labels(t, m))
            found[key_of(task, m, "student")] = lambda t=task, m=m: percent(
                labels(t, m, "test")
            )
        for other in ("labels", "own"):
            found[key_of(task, "mean", "over", other)] = lambda t=task, o=other: gain(
                labels(t, "mean"), labels(t, o)
            )
    return found


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, numbers(), SOURCES)
