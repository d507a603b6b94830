"""The numbers that the pages print about temperatures and logits.

A page prints {{ key }}. distillation_temperature.py, logit_students.py and
missing_class.py run before. Temperatures are chosen by mean validation accuracy, and
the mean test accuracy is reported. Gains are mean paired differences of test accuracy,
with a 95 % interval of Student's t over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = (
    "results/distillation_temperature.csv",
    "results/logit_students.csv",
    "results/missing_class.csv",
)
SWEEP, METHODS, MISSING = SOURCES
WIDTHS = {"small": "2", "large": "6"}
TEMPERATURES = ("1", "2", "4", "8", "20")
GAINS = {
    "distilled": ("distilled", "labels"),
    "matched": ("matched", "labels"),
    "matched_less": ("matched", "distilled"),
    "noisy": ("noisy", "matched"),
    "curriculum": ("curriculum", "distilled"),
}


@cache
def column(source: str, name: str, **case: str) -> NDArray[np.float64]:
    """Return a column of the rows of a case, by seed."""
    rows = read_table(data_path(source))
    rows = [row for row in rows if case.items() <= row.items()]
    rows.sort(key=lambda row: int(row["seed"]))
    return np.array([float(row[name]) for row in rows])


def chosen(width: str) -> str:
    """Return the temperature with the highest mean validation accuracy."""
    means = {
        t: column(SWEEP, "validation", width=width, temperature=t).mean()
        for t in TEMPERATURES
    }
    return max(TEMPERATURES, key=lambda t: means[t])


def swept(width: str, temperature: str) -> NDArray[np.float64]:
    """Return test accuracies of the sweep, by seed."""
    return column(SWEEP, "test", width=width, temperature=temperature)


def percent(values: NDArray[np.float64]) -> Answer:
    """Return a mean accuracy as the pages print it."""
    mean = float(values.mean())
    return mean, f"{100 * mean:.1f} %"


def gain(better: NDArray[np.float64], base: NDArray[np.float64]) -> Answer:
    """Return a mean paired difference with its interval, in points."""
    return paired(better, base)


def method(name: str) -> NDArray[np.float64]:
    """Return test accuracies of a method, by seed."""
    return column(METHODS, "test", method=name)


def learned_temperature() -> Answer:
    """Return the mean temperature at the end of the curriculum."""
    mean = float(column(METHODS, "temperature", method="curriculum").mean())
    return mean, f"{mean:.1f}"


def count(source: str) -> Answer:
    """Return how many seeds a table has."""
    number = len({row["seed"] for row in read_table(data_path(source))})
    return number, str(number)


def missing(taught_by: str, name: str) -> Answer:
    """Return a mean of the experiment with the missing digit."""
    return percent(column(MISSING, name, taught_by=taught_by))


def by_seeds(source: str) -> Callable[[], Answer]:
    """Return what counts the seeds of a table."""
    return lambda: count(source)


def best(width: str) -> Callable[[], Answer]:
    """Return what chooses the temperature for a width."""
    return lambda: (int(chosen(width)), chosen(width))


def best_gain(width: str) -> Callable[[], Answer]:
    """Return what compares the chosen temperature with no teacher."""
    return lambda: gain(swept(width, chosen(width)), swept(width, "none"))


NUMBERS: dict[str, Callable[[], Answer]] = {
    "logits_seeds": by_seeds(SWEEP),
    "logits_pairs": by_seeds(METHODS),
    "logits_missing_seeds": by_seeds(MISSING),
    "logits_learned_temperature": learned_temperature,
    "logits_missing_of_teacher": lambda: missing("teacher", "teacher_recall"),
}
for size, width in WIDTHS.items():
    for t in ("none", *TEMPERATURES):
        NUMBERS[f"logits_{size}_{t}"] = lambda w=width, t=t: percent(swept(w, t))
    NUMBERS[f"logits_{size}_chosen"] = best(width)
    NUMBERS[f"logits_{size}_chosen_gain"] = best_gain(width)
for taught in ("labels", "distilled", "matched", "noisy", "curriculum"):
    NUMBERS[f"logits_{taught}_test"] = lambda name=taught: percent(method(name))
for key, (one, other) in GAINS.items():
    NUMBERS[f"logits_{key}_gain"] = lambda a=one, b=other: gain(method(a), method(b))
for by in ("labels", "teacher"):
    for name in ("recall", "recall_after", "test", "test_after"):
        key = f"logits_missing_{by}_{name}"
        NUMBERS[key] = lambda by=by, name=name: missing(by, name)


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
