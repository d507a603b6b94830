"""The numbers that the pages print about the collapse of DARTS and its cures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from statistics import mean

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.cell_space import EDGES, Cell
from effdl.nas.cellbench import load_cellbench

SOURCES = (
    "results/darts_collapse.csv",
    "results/darts_collapse_causes.csv",
    "cellbench/trainings.npz",
)
KEYS = {
    "plain": "DARTS",
    "minus": "DARTS-",
    "fair": "FairDARTS",
    "open": "FairDARTS, open gates",
    "beta": "beta-DARTS",
    "plus": "DARTS+",
    "robust": "RobustDARTS, stop",
    "decay": "RobustDARTS, L2",
    "removal": "PT-DARTS",
    "one_level": "one level",
    "partial": "PC-DARTS",
}


@cache
def rows(method: str) -> tuple[Row, ...]:
    """Return the searches of a method, by seed."""
    table = read_table(data_path("results/darts_collapse.csv"))
    found = [row for row in table if row["method"] == method]
    return tuple(sorted(found, key=lambda row: int(row["seed"])))


@cache
def falling() -> tuple[Row, ...]:
    """Return the searches with plain DARTS and a learning rate that falls."""
    table = read_table(data_path("results/darts_collapse_causes.csv"))
    return tuple(row for row in table if row["change"] == "falling rate")


def percent(share: float) -> Answer:
    """Return a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def average(column: str, found: tuple[Row, ...]) -> float:
    """Return the mean of a column."""
    return mean(float(row[column]) for row in found)


def few(number: float) -> Answer:
    """Return a mean count as the pages print it."""
    return number, f"{number:.1f}"


def wins(column: str, method: str, *, fewer: bool = False) -> Answer:
    """Return in how many seeds a method has more (or fewer) than DARTS."""
    pairs = zip(rows(method), rows("DARTS"), strict=True)
    ahead = [float(ours[column]) - float(theirs[column]) for ours, theirs in pairs]
    count = sum(value < 0 if fewer else value > 0 for value in ahead)
    return count, f"{count} of {len(ahead)}"


def worst(column: str, found: tuple[Row, ...]) -> float:
    """Return the lowest value of a column."""
    return min(float(row[column]) for row in found)


def of_all_skips(part: str) -> float:
    """Return the accuracy of the cell of six skips."""
    table = load_cellbench()
    return float(table.mean(part)[table.row(Cell(("skip_connect",) * len(EDGES)))])


def below_all_skips() -> float:
    """Return the share of the cells that are worse, by validation."""
    scores = load_cellbench().mean("validation")
    return float((scores < of_all_skips("validation")).mean())


def eigenvalue(place: int) -> float:
    """Return the mean first (0) or last (-1) eigenvalue that was noted down."""
    notes = [row["note"].split() for row in rows("RobustDARTS, stop")]
    return mean(float(note[place]) for note in notes)


def seeds() -> Answer:
    """Return the number of seeds."""
    return len(rows("DARTS")), str(len(rows("DARTS")))


def median_cell() -> float:
    """Return the test accuracy of the median cell."""
    return float(np.median(load_cellbench().mean("test")))


Number = Callable[[], Answer]


def of_methods() -> dict[str, Number]:
    """Return the numbers of every method; the cures are compared with DARTS."""
    numbers: dict[str, Number] = {}
    for key, method in KEYS.items():
        numbers |= {
            f"cures_{key}_test": lambda m=method: percent(average("test", rows(m))),
            f"cures_{key}_skips": lambda m=method: few(average("skips", rows(m))),
        }
        if method != "DARTS":
            numbers |= {
                f"cures_{key}_better": partial(wins, "test", method),
                f"cures_{key}_fewer": partial(wins, "skips", method, fewer=True),
            }
    return numbers


NUMBERS: dict[str, Number] = of_methods() | {
    "cures_seeds": seeds,
    "cures_plain_early_test": lambda: percent(average("early_test", rows("DARTS"))),
    "cures_plain_early_skips": lambda: few(average("early_skips", rows("DARTS"))),
    "cures_plain_skip_weight": lambda: percent(average("skip_weight", rows("DARTS"))),
    "cures_beta_skip_weight": lambda: percent(
        average("skip_weight", rows("beta-DARTS"))
    ),
    "cures_plus_kept": lambda: few(average("kept", rows("DARTS+"))),
    "cures_falling_test": lambda: percent(average("test", falling())),
    "cures_falling_skips": lambda: few(average("skips", falling())),
    "cures_minus_worst": lambda: percent(worst("test", rows("DARTS-"))),
    "cures_median_cell": lambda: percent(median_cell()),
    "cures_all_skips": lambda: percent(of_all_skips("test")),
    "cures_below_all_skips": lambda: percent(below_all_skips()),
    "cures_first_eigenvalue": lambda: (eigenvalue(0), f"{eigenvalue(0):.2f}"),
    "cures_last_eigenvalue": lambda: (eigenvalue(-1), f"{eigenvalue(-1):.1f}"),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
