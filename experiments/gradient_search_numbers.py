"""What the page on searches by gradients prints of gradient_search.py, per method.

A page prints {{ key }}. Means are over the seeds; gradient_search.py runs before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.table import Floats

SOURCES = ("results/gradient_search.csv", "results/search_step_speed.csv")
KEYS = {
    "DARTS": "darts",
    "second order": "second",
    "second order, wide": "wide",
    "one level": "one_level",
    "PC-DARTS": "partial",
    "DARTS-": "minus",
    "FairDARTS": "fair",
    "beta-DARTS": "beta",
    "DARTS+": "plus",
    "RobustDARTS, stop": "robust",
    "PT-DARTS": "removal",
    "GDAS": "gdas",
    "SNAS": "snas",
    "ProxylessNAS": "proxyless",
}


@cache
def column(method: str, name: str) -> Floats:
    """Return a column of one method, (seeds,)."""
    rows = read_table(data_path("results/gradient_search.csv"))
    return np.array([float(row[name]) for row in rows if row["method"] == method])


def mean(method: str, name: str) -> Answer:
    """Return a mean over seeds in per cent."""
    share = float(column(method, name).mean())
    return share, f"{100 * share:.1f} %"


def spread(method: str) -> Answer:
    """Return the distance of the best from the worst test accuracy, in points."""
    tests = column(method, "test")
    points = 100 * float(tests.max() - tests.min())
    return points, f"{points:.1f}"


def seconds(method: str) -> Answer:
    """Return the mean seconds of a search."""
    taken = float(column(method, "search_seconds").mean())
    return taken, f"{taken:.0f} s"


def seeds() -> Answer:
    """Return how many searches of each method there are."""
    return len(column("DARTS", "test")), str(len(column("DARTS", "test")))


def speed() -> Answer:
    """Return how many times as long a step of the usual loop takes."""
    rows = read_table(data_path("results/search_step_speed.csv"))
    ratio = float(np.mean([float(row["ratio"]) for row in rows]))
    return ratio, f"{ratio:.2f}"


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers: dict[str, Callable[[], Answer]] = {"seeds": seeds, "speed": speed}
    for method, key in KEYS.items():
        numbers |= {
            f"{key}_test": partial(mean, method, "test"),
            f"{key}_below": partial(mean, method, "below"),
            f"{key}_random": partial(mean, method, "random_test"),
            f"{key}_spread": partial(spread, method),
            f"{key}_seconds": partial(seconds, method),
        }
    return {f"found_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere
    fill_numbers(__file__, all_numbers(), SOURCES)
