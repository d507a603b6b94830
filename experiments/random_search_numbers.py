"""The numbers that the pages print about random search, halving and recipes.

A page prints {{ key }}. A search chooses by the validation accuracy of seed 0; what it
found is reported as the mean test accuracy of the other seeds. recipes.py runs before.
"""

from __future__ import annotations

from functools import cache
from itertools import count, product

import numpy as np

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.random_search import expected_best
from effdl.nas.search import SimulatedClock
from effdl.nas.successive_halving import successive_halving
from effdl.nas.table import Floats

SOURCES = ("cellbench/trainings.npz", "cellbench/costs.csv", "results/recipes.csv")
SEARCHES, CELLS = 1000, 16
NEAR = 0.03  # three points


@cache
def seen_and_real() -> tuple[Floats, Floats, Floats]:
    """Return validation with seed 0, and validation and test with the others."""
    table = load_cellbench()
    validation, test = table.need("validation"), table.need("test")
    return (
        validation[:, 0],
        np.nanmean(validation[:, 1:], axis=1),
        np.nanmean(test[:, 1:], axis=1),
    )


def best() -> float:
    """Return the test accuracy of the best cell by mean validation accuracy."""
    _, _, test = seen_and_real()
    return float(test[load_cellbench().mean("validation").argmax()])


def draws_for(accuracy: float) -> int:
    """Return how many draws find so good a cell in expectation."""
    seen, _, test = seen_and_real()
    return next(
        n for n in count(1) if expected_best(seen, n, reported=test) >= accuracy
    )


@cache
def halved() -> tuple[float, float]:
    """Return mean seconds and mean test accuracy of halving, over many searches."""
    table = load_cellbench()
    _, _, test = seen_and_real()
    found = []
    for seed in range(SEARCHES):
        drawn = np.random.default_rng(seed).choice(len(table), CELLS, replace=False)
        clock = SimulatedClock(table)
        cells = [table.cells[i] for i in drawn]
        done = successive_halving(cells, clock, epochs=10, rounds=3)
        found.append((clock.seconds, test[table.row(done[-1].cells[0])]))
    seconds, accuracy = np.mean(found, axis=0)
    return float(seconds), float(accuracy)


@cache
def without(operation: str) -> list[int]:
    """Return the rows that some string without the operation describes."""
    table, left = load_cellbench(), [o for o in OPERATIONS if o != operation]
    cells = (Cell(chosen) for chosen in product(left, repeat=len(EDGES)))
    return sorted({table.row(cell) for cell in cells if table.has_row(cell)})


def best_without(operation: str) -> float:
    """Return the test accuracy of the best cell without it, chosen by validation."""
    _, _, test = seen_and_real()
    rows = without(operation)
    return float(test[rows][load_cellbench().mean("validation")[rows].argmax()])


@cache
def recipes() -> Floats:
    """Return test accuracies, (cells, recipes, seeds)."""
    rows = read_table(data_path("results/recipes.csv"))
    value = {(r["cell"], r["recipe"], r["seed"]): float(r["test"]) for r in rows}
    cells, names = ("light", "heavy"), ("short", "long", "shifted")
    seeds = sorted({r["seed"] for r in rows})
    return np.array([[[value[c, n, s] for s in seeds] for n in names] for c in cells])


def shares() -> dict[str, float]:
    """Return the parts of the sum of squares: cell, recipe, interaction, seed."""
    y = recipes()
    mean, cells, names = y.mean(), y.mean((1, 2)), y.mean((0, 2))
    both = y.mean(2)
    together = both - cells[:, None] - names[None] + mean
    total = ((y - mean) ** 2).sum()
    return {
        "cell": float(y[0].size * ((cells - mean) ** 2).sum() / total),
        "recipe": float(y[:, 0].size * ((names - mean) ** 2).sum() / total),
        "interaction": float(y.shape[2] * (together**2).sum() / total),
        "seed": float(((y - both[..., None]) ** 2).sum() / total),
    }


def percent(share: float) -> Answer:
    """Return an accuracy or a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def points(difference: float) -> Answer:
    """Return a difference of accuracies as the pages print it."""
    return difference, f"{100 * difference:.1f} points"


def whole(number: int) -> Answer:
    """Return a count as the pages print it."""
    return number, f"{number:,}"


def luck() -> float:
    """Return by how much 256 draws overrate their pick's validation accuracy."""
    seen, again, _ = seen_and_real()
    return expected_best(seen, 256) - expected_best(seen, 256, reported=again)


def halving_factor() -> Answer:
    """Return how many seconds random search needs for one of halving's."""
    seconds, accuracy = halved()
    price = float(load_cellbench().need("seconds").mean())
    factor = draws_for(accuracy) * price / seconds
    return factor, f"{factor:.1f}"


NUMBERS = {
    "rs_near_draws": lambda: whole(draws_for(best() - NEAR)),
    "rs_best": lambda: percent(best()),
    "rs_median": lambda: percent(float(np.median(seen_and_real()[2]))),
    "rs_luck": lambda: points(luck()),
    "rs_no_conv3_best": lambda: percent(best_without("nor_conv_3x3")),
    "rs_no_pool_best": lambda: percent(best_without("avg_pool_3x3")),
    "rs_no_pool_classes": lambda: whole(len(without("avg_pool_3x3"))),
    "rs_halving_factor": halving_factor,
    "rs_recipe_share": lambda: percent(shares()["recipe"]),
    "rs_cell_share": lambda: percent(shares()["cell"]),
    "rs_interaction_share": lambda: percent(shares()["interaction"]),
    "rs_seed_share": lambda: percent(shares()["seed"]),
    "rs_cell_gap": lambda: points(float(np.diff(recipes().mean((1, 2)))[0])),
    "rs_recipe_gap": lambda: points(float(np.ptp(recipes().mean((0, 2))))),
    "rs_shift_gain": lambda: points(float(np.diff(recipes().mean((0, 2)))[1])),
    "rs_long_gain": lambda: points(float(np.diff(recipes().mean((0, 2)))[0])),
    "rs_light_shifted": lambda: percent(float(recipes()[0, 2].mean())),
    "rs_heavy_short": lambda: percent(float(recipes()[1, 0].mean())),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
