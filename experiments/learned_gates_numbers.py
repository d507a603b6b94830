"""The numbers that the pages print about learned gates.

A page prints {{ key }}. Means over the seeds of learned_gates.py, which runs before;
test accuracies.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/learned_gates.csv",)
METHODS = {
    "l0": ("hard concrete", 0.5),
    "l0_dear": ("hard concrete", 1.0),
    "vd": ("variational dropout", 0.2),
    "vd_dear": ("variational dropout", 0.3),
    "gdp": ("GDP", 0.5),
}


@cache
def rows() -> list[Row]:
    """Return the table."""
    return read_table(data_path(SOURCES[0]))


def column(method: str, strength: float, name: str) -> np.ndarray:
    """Return a column of a method's rows, in the order of the seeds."""
    found = [
        row
        for row in rows()
        if row["method"] == method and float(row["strength"]) == strength
    ]
    found.sort(key=lambda row: int(row["seed"]))
    return np.array([float(row[name]) for row in found])


def percent(share: float) -> Answer:
    """Return an accuracy or a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def points(difference: float) -> Answer:
    """Return a difference of accuracies, with its sign."""
    return difference, f"{100 * difference:+.1f} points".replace("-", "\N{MINUS SIGN}")


def mean(key: str, name: str) -> Answer:
    """Return the mean of a column over the seeds."""
    return percent(float(column(*METHODS[key], name).mean()))


def extreme(key: str, which: int) -> Answer:
    """Return the smallest (0) or the largest (-1) lead among the seeds."""
    method = METHODS[key]
    gap = column(*method, "test") - column(*method, "control_test")
    return points(float(np.sort(gap)[which]))


def plain(method: str) -> Answer:
    """Return the accuracy of a network in which nothing was chosen."""
    return percent(float(column(method, 0.0, "test").mean()))


def between() -> Answer:
    """Return the share of GDP's gates that are neither 0 nor above 0.95, at most."""
    return percent(float(column(*METHODS["gdp"], "between").max()))


def seeds() -> Answer:
    """Return how many seeds there are."""
    count = len(column(*METHODS["gdp"], "test"))
    return count, str(count)


NUMBERS = {
    "gates_seeds": seeds,
    "gates_dense_linear": lambda: plain("dense, linear"),
    "gates_dense": lambda: plain("dense"),
    "gates_narrow": lambda: plain("narrow"),
    "gates_narrow_left": lambda: percent(float(column("narrow", 0.0, "left").mean())),
    "gates_gdp_between": between,
    **{
        f"gates_{key}_{name.removesuffix('_test')}": (
            lambda key=key, name=name: mean(key, name)
        )
        for key in METHODS
        for name in ("left", "test", "control_test")
    },
    "gates_gdp_worst": lambda: extreme("gdp", 0),
    "gates_gdp_best": lambda: extreme("gdp", -1),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
