"""Surrogates of whole tables: their exact error, and where they lead a search.

    EFFDL_CACHE=folder python experiments/surrogate_error.py

One row for each table, number of cells that the surrogate has seen, and seed; the
column "data" holds the sum of the table, so that another table makes other rows. Errors
are over the cells that it has not seen, or over all of the own table if it has seen
all, with trees as deep as they need to be. A hill climb goes to the best neighbour as
long as there is a better one; columns climb_table and climb_surrogate are the true
accuracy where it ends, over the same starting cells.

NAS-Bench-201 is a file on the internet: without it nothing is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from _results import DATA, Case, fill_table, seeds_from_command_line
from effdl.data.download import cache_folder
from effdl.data.files import read_sums
from effdl.nas.cell_space import Cell, neighbours
from effdl.nas.cellbench import TRAININGS, load_cellbench
from effdl.nas.public_files import CELL_ACCURACIES
from effdl.nas.public_tables import load_nas_bench_201
from effdl.nas.surrogate import Rows, fit_surrogate
from effdl.nas.table import CellTable, Floats

TABLES: dict[str, Callable[[], CellTable]] = {
    "own": load_cellbench,
    "NAS-Bench-201": lambda: load_nas_bench_201("cifar100"),
}
SEEN = (100, 500, 2500)
DEPTH, TREES = 5, 300
STARTS = 50


@cache
def table_of(name: str) -> CellTable:
    """Return one of the tables."""
    return TABLES[name]()


def measure(table: str, seen: str, data: str, seed: int) -> Case:
    """Return the errors of one surrogate."""
    del data  # says which table it was
    truth, random = table_of(table), np.random.default_rng(seed)
    everything = seen == "all"
    count = len(truth) if everything else int(seen)
    rows = random.choice(len(truth), count, replace=False)
    surrogate = fit_surrogate(
        truth, rows, random, trees=TREES, depth=None if everything else DEPTH
    )
    error = surrogate.error(rows if everything else surrogate.unseen())
    starts = random.choice(len(truth), STARTS, replace=False)
    accuracies = truth.mean("validation")
    return {
        "cells": len(truth),
        **error._asdict(),
        "best": float(accuracies.max()),
        "climb_table": climb(truth, accuracies, starts),
        "climb_surrogate": climb(truth, surrogate.predictions, starts),
    }


def climb(truth: CellTable, believed: Floats, starts: Rows) -> float:
    """Return the mean true accuracy where hill climbs by another accuracy end."""
    ends = [top(truth, believed, int(row)) for row in starts]
    return float(truth.mean("validation")[ends].mean())


def top(truth: CellTable, believed: Floats, row: int) -> int:
    """Return the row where a climb ends that begins at a row."""
    while True:
        near = rows_near(truth, truth.cells[row])
        best = max(near, key=lambda other: believed[other], default=row)
        if believed[best] <= believed[row]:
            return row
        row = best


def rows_near(truth: CellTable, cell: Cell) -> list[int]:
    """Return the rows of the neighbours that the table knows."""
    return [truth.row(other) for other in neighbours(cell) if truth.has_row(other)]


def main() -> None:
    """Measure every case whose table is there."""
    seeds = seeds_from_command_line(__doc__)
    if not (cache_folder() / CELL_ACCURACIES.name).is_file():
        print(f"{CELL_ACCURACIES.name} is not in the cache: nothing measured")
        return
    own, public = read_sums(DATA)[TRAININGS], CELL_ACCURACIES.sha256
    data = {"own": own[:8], "NAS-Bench-201": public[:8]}
    cases = [
        {"table": name, "seen": str(seen), "data": data[name], "seed": seed}
        for seed in seeds
        for name in TABLES
        for seen in SEEN
        if seen < len(table_of(name))
    ]
    last = {"table": "own", "seen": "all", "data": data["own"], "seed": seeds[0]}
    cases.append(last)
    fill_table(__file__, cases, measure)


if __name__ == "__main__":
    main()
