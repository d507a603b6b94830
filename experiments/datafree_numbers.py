"""The numbers that the pages print about students without data and mixed precision.

A page prints {{ key }}. data_free.py and autocast_parity.py run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.table import Floats

SOURCES = ("results/data_free.csv", "results/autocast_parity.csv")
INPUTS = ("real", "noise", "still", "DAFL", "ABM", "L1")
PRECISIONS = ("autocast", "weights", "float8")


@cache
def column(source: str, key: str, case: str, value: str) -> Floats:
    """Return a column of a table, for one case, by seed."""
    rows = [row for row in read_table(data_path(source)) if row[key] == case]
    return np.array([
        float(r[value]) for r in sorted(rows, key=lambda r: int(r["seed"]))
    ])


def method(name: str, value: str) -> Floats:
    """Return a column of data_free.csv."""
    return column(SOURCES[0], "method", name, value)


def precision(name: str, value: str) -> Floats:
    """Return a column of autocast_parity.csv."""
    return column(SOURCES[1], "precision", name, value)


def whole(number: int) -> Answer:
    """Return a count as the pages print it."""
    return number, f"{number}"


def percent(values: Floats) -> Answer:
    """Return the mean share as the pages print it."""
    share = float(values.mean())
    return share, f"{100 * share:.1f} %"


def decimals(values: Floats) -> Answer:
    """Return the mean as the pages print it."""
    return float(values.mean()), f"{values.mean():.2f}"


def slower(name: str) -> Answer:
    """Return the time of a step over that of a step in float32."""
    seconds = [np.median(precision(n, "step_seconds")) for n in (name, "float32")]
    factor = float(seconds[0] / seconds[1])
    return factor, f"{factor:.1f}"


def gain(name: str, over: str) -> Answer:
    """Return the difference of test accuracies of two sources of inputs."""
    return paired(method(name, "test"), method(over, "test"))


def cost(name: str) -> Answer:
    """Return the difference of test accuracies to float32."""
    return paired(precision(name, "test"), precision("float32", "test"))


def of_method(name: str, value: str) -> Answer:
    """Return the mean of a column for one source of inputs."""
    values = method(name, value)
    return percent(values) if value == "test" else decimals(values)


NUMBERS: dict[str, Callable[[], Answer]] = {
    "datafree_teacher_test": partial(of_method, "teacher", "test"),
    **{
        f"datafree_{name.lower()}_{short}": partial(of_method, name, value)
        for name in INPUTS
        for short, value in (("test", "test"), ("error", "transition_error"))
    },
    "datafree_seeds": lambda: whole(len(method("real", "test"))),
    "datafree_dafl_noise": partial(gain, "DAFL", "noise"),
    "datafree_abm_noise": partial(gain, "ABM", "noise"),
    "datafree_still_noise": partial(gain, "still", "noise"),
    "datafree_dafl_gain": partial(gain, "DAFL", "still"),
    "datafree_abm_gain": partial(gain, "ABM", "still"),
    "datafree_l1_gain": partial(gain, "L1", "still"),
    "datafree_abm_dafl": partial(gain, "ABM", "DAFL"),
    "datafree_real_abm": partial(gain, "real", "ABM"),
    "datafree_float32_test": lambda: percent(precision("float32", "test")),
    **{f"datafree_{name}_cost": partial(cost, name) for name in PRECISIONS},
    **{f"datafree_{name}_time": partial(slower, name) for name in PRECISIONS},
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
