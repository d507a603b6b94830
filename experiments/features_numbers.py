"""The numbers that the pages print about teachers' features: do they help?

A page prints {{ key }}. A gain is the mean difference of test accuracies of the same
seed, in points, with the 95 % interval of Student's t. distillation_gains.py runs
before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from statistics import mean

import numpy as np

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/distillation_gains.csv",)
NAMES = {
    "alone": "alone",
    "smoothing": "smoothing",
    "kd": "KD",
    "hints": "hints",
    "both": "hints + KD",
    "attention": "attention",
    "rkd": "RKD",
    "sp": "SP",
    "cwd": "CWD",
}
PAPERS = "1000"  # the weight of attention transfer in its paper


@cache
def rows() -> list[Row]:
    """Return the rows of the table."""
    return read_table(data_path(SOURCES[0]))


def tests(method: str) -> dict[str, float]:
    """Return the test accuracies of the chosen setting, by seed."""
    return {
        row["seed"]: float(row["test"])
        for row in rows()
        if row["method"] == method and row["setting"] == "chosen"
    }


def percent(share: float) -> Answer:
    """Return an accuracy as the pages print it."""
    return share, f"{100 * share:.1f} %"


def test_of(method: str) -> Answer:
    """Return the mean test accuracy."""
    return percent(mean(tests(method).values()))


def validation_at(method: str, setting: str) -> Answer:
    """Return the validation accuracy of a trial."""
    wanted = {"method": method, "setting": setting}
    (found,) = (row for row in rows() if wanted.items() <= row.items())
    return percent(float(found["validation"]))


def weight_of(method: str) -> Answer:
    """Return the setting that was used."""
    (used,) = {
        float(row["used"])
        for row in rows()
        if row["method"] == method and row["setting"] == "chosen"
    }
    return used, f"{used:g}"


def gain(method: str, other: str) -> Answer:
    """Return by how many points a method is better, and the interval."""
    own, others = tests(method), tests(other)
    if own.keys() != others.keys():
        raise ValueError(f"{method} and {other} must have the same seeds")
    return paired([own[s] for s in own], [others[s] for s in own])


def spread() -> Answer:
    """Return the deviation of the student that learns alone, over seeds."""
    value = float(np.std(list(tests("alone").values()), ddof=1))
    return value, f"{100 * value:.1f} points"


def seeds() -> Answer:
    """Return how many seeds there are."""
    count = len(tests("alone"))
    return count, str(count)


NUMBERS: dict[str, Callable[[], Answer]] = {
    "features_gain_seeds": seeds,
    "features_spread": spread,
    "features_teacher_test": partial(test_of, "teacher"),
    **{f"features_{key}_test": partial(test_of, name) for key, name in NAMES.items()},
    **{
        f"features_{key}_gain": partial(gain, name, "alone")
        for key, name in NAMES.items()
        if key != "alone"
    },
    "features_hints_over_kd": partial(gain, "hints", "KD"),
    "features_both_over_kd": partial(gain, "hints + KD", "KD"),
    **{
        f"features_{key}_weight": partial(weight_of, NAMES[key])
        for key in ("attention", "rkd", "sp", "cwd")
    },
    "features_attention_paper": partial(validation_at, "attention", PAPERS),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
