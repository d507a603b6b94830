"""The numbers that the pages print about magnitude pruning.

A page prints {{ key }}: a mean over the seeds of magnitude_pruning.py (run it before).
Accuracies are those of the test part; what differs is paired, seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/magnitude_pruning.csv",)


@cache
def rows() -> list[Row]:
    """Return the table."""
    return read_table(data_path(SOURCES[0]))


def of_seeds(method: str, sparsity: float, column: str = "test") -> dict[str, float]:
    """Return a number for each seed."""
    return {
        row["seed"]: float(row[column])
        for row in rows()
        if row["method"] == method and float(row["sparsity"]) == sparsity
    }


def mean(method: str, sparsity: float, column: str = "test") -> Answer:
    """Return the mean over seeds as a percentage."""
    value = float(np.mean(list(of_seeds(method, sparsity, column).values())))
    return value, f"{100 * value:.1f} %"


def gaps(better: str, worse: str, sparsity: float) -> list[float]:
    """Return by how much one method is better, for each seed."""
    other = of_seeds(worse, sparsity)
    return [value - other[seed] for seed, value in of_seeds(better, sparsity).items()]


def mean_gap(better: str, worse: str, sparsity: float) -> Answer:
    """Return the mean of the differences in points."""
    value = float(np.mean(gaps(better, worse, sparsity)))
    return value, f"{100 * value:.1f}"


def least_gap(better: str, worse: str, sparsity: float) -> Answer:
    """Return the least of the differences in points."""
    value = min(gaps(better, worse, sparsity))
    return value, f"{100 * value:.1f}"


def seeds() -> Answer:
    """Return how many seeds there are."""
    count = len(of_seeds("dense", 0.0))
    return count, str(count)


def named(method: str, sparsity: float) -> str:
    """Return a part of a key, such as one_shot_95."""
    return f"{method.replace(' ', '_')}_{100 * sparsity:.0f}"


def numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    found: dict[str, Callable[[], Answer]] = {"core_seeds": seeds}
    for method in ("random", "layer", "global", "lamp", "erk"):
        for s in (0.5, 0.8, 0.9, 0.95, 0.98):
            key = f"core_{named(method, s)}"
            found[key] = partial(mean, method, s)
            found[f"{key}_cut"] = partial(mean, method, s, "cut_test")
    for method in ("one shot", "restarts", "rounds"):
        for s in (0.9, 0.95, 0.98):
            found[f"core_{named(method, s)}"] = partial(mean, method, s)
    for method in ("dense", "predicted", "mixed", "alone"):
        found[f"core_{method}"] = partial(mean, method, 0.0)
    pairs = {"random": ("layer", "random"), "rounds": ("rounds", "one shot")}
    pairs |= {"restarts": ("rounds", "restarts"), "layer": ("global", "layer")}
    for name, (better, worse) in pairs.items():
        for s in (0.9, 0.95, 0.98):
            key = f"core_over_{named(name, s)}"
            found[key] = partial(mean_gap, better, worse, s)
            found[f"{key}_least"] = partial(least_gap, better, worse, s)
    return found


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, numbers(), SOURCES)
