"""What the public tables of architecture search hold, read off the published files.

    EFFDL_CACHE=folder python experiments/nas_table_counts.py

The files are not in this book. Without them the table of results stays as it is: one
row for each number, by its key. Accuracies are shares, times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.download import cache_folder
from effdl.nas.cell_classes import live_edges
from effdl.nas.fbnet_table import AdditiveTable, fit_additive, largest_error, load_fbnet
from effdl.nas.graph_table import load_graph_table
from effdl.nas.public_files import (
    CELL_ACCURACIES,
    CELL_LATENCIES,
    CELL_NUMBERS,
    FBNET_ARCHITECTURES,
    FBNET_LATENCIES,
    GRAPH_NETWORKS,
)
from effdl.nas.public_tables import DATASETS, load_nas_bench_201
from effdl.nas.ranking import pareto_front, spearman
from effdl.nas.table import CellTable, Floats

FILES = (
    *(CELL_ACCURACIES, CELL_NUMBERS, *CELL_LATENCIES.values()),
    *(FBNET_ARCHITECTURES, *FBNET_LATENCIES.values(), GRAPH_NETWORKS),
)
FITTED = 1000  # FBNet architectures that the additive table is fitted to
EXACT = 1e-9  # numbers that differ by less are one number: rounding
FAILING = 0.7  # accuracy on Cora below which an architecture does not work

Number = Callable[[], float]

# Cells.

cells = cache(load_nas_bench_201)


def accuracy(dataset: str) -> Floats:
    """Return the validation accuracies of all cells."""
    return cells(dataset).mean("validation")


def guessing(dataset: str) -> float:
    """Return how many cells are disconnected and have the accuracy of a guess."""
    table = cells(dataset)
    dead = [row for row, cell in enumerate(table.cells) if not live_edges(cell)]
    guess = 1 / DATASETS[dataset][0]
    return int(np.isclose(accuracy(dataset)[dead], guess, atol=1e-4).sum())


def latency_of_best(device: str) -> float:
    """Return the seconds of the best cell on CIFAR-10."""
    return float(costs(device)[accuracy("cifar10").argmax()])


def costs(name: str) -> Floats:
    """Return a cost on CIFAR-10."""
    table: CellTable = cells("cifar10")
    return table.need(name if name in ("macs", "parameters") else f"latency_{name}")


def front(device: str) -> set[int]:
    """Return the cells that no other beats in accuracy and in latency."""
    return set(pareto_front(costs(device), accuracy("cifar10")).tolist())


def cheaper(device: str, points: float) -> float:
    """Return the share of the best cell's time that suffices for points less."""
    accuracies = accuracy("cifar10")
    enough = accuracies >= accuracies.max() - points / 100
    return float(costs(device)[enough].min() / latency_of_best(device))


CELLS: dict[str, Number] = {
    "cells": lambda: len(cells("cifar10")),
    "cells_guess": lambda: guessing("ImageNet16-120"),
    "cells_two_sets": lambda: spearman(accuracy("cifar10"), accuracy("cifar100")),
    "cells_parameters": lambda: spearman(costs("parameters"), accuracy("cifar100")),
    "cells_two_devices": lambda: spearman(costs("raspi4"), costs("eyeriss")),
    "cells_both_fronts": lambda: len(front("raspi4") & front("eyeriss")),
}
for name in DATASETS:
    short = name.split("-")[0].lower()
    CELLS[f"cells_best_{short}"] = lambda name=name: float(accuracy(name).max())
for device in CELL_LATENCIES:
    CELLS |= {
        f"cells_macs_{device}": lambda d=device: spearman(costs("macs"), costs(d)),
        f"cells_front_{device}": lambda d=device: len(front(d)),
        f"cells_best_{device}": partial(latency_of_best, device),
        f"cells_cheaper_{device}": partial(cheaper, device, 1),
    }

# FBNet's space.


@cache
def additive(device: str) -> AdditiveTable:
    """Return the table that fits the first architectures."""
    architectures, latencies = load_fbnet(device)
    return fit_additive(architectures[:FITTED], latencies[:FITTED])


def error(device: str) -> float:
    """Return the largest error on the architectures that were not fitted."""
    architectures, latencies = load_fbnet(device)
    return largest_error(additive(device), architectures[FITTED:], latencies[FITTED:])


def distinct_rows(device: str) -> int:
    """Return how many layers of different cost there are."""
    extra = additive(device).extra
    return len({tuple(np.rint(row / EXACT).tolist()) for row in extra})


FBNET: dict[str, Number] = {}
for device in FBNET_LATENCIES:
    FBNET |= {
        f"fbnet_error_{device}": partial(error, device),
        f"fbnet_base_{device}": lambda d=device: additive(d).base,
        f"fbnet_slowest_{device}": lambda d=device: additive(d).latency(
            additive(d).slowest()
        ),
        f"fbnet_rows_{device}": partial(distinct_rows, device),
    }
FBNET["fbnet_architectures"] = lambda: len(load_fbnet("raspi4")[0])

# Graph networks.

graphs = cache(load_graph_table)


def regret() -> float:
    """Return the test accuracy that choosing on validation accuracy gives away."""
    table = graphs()
    return float(table.test.max() - table.test[table.validation.argmax()])


def rank_in_better_half() -> float:
    """Return the rank correlation among the half that is better on validation."""
    table = graphs()
    half = table.validation.argsort()[len(table) // 2 :]
    return spearman(table.validation[half], table.test[half])


GRAPHS: dict[str, Number] = {
    "graphs": lambda: len(graphs()),
    "graphs_linear": lambda: float(
        np.corrcoef(graphs().validation, graphs().test)[0, 1]
    ),
    "graphs_rank": lambda: spearman(graphs().validation, graphs().test),
    "graphs_rank_half": rank_in_better_half,
    "graphs_failing": lambda: float((graphs().validation < FAILING).mean()),
    "graphs_best": lambda: float(graphs().validation.max()),
    "graphs_regret": regret,
    "graphs_parameters": lambda: spearman(graphs().parameters, graphs().validation),
    "graphs_front": lambda: len(pareto_front(graphs().latency, graphs().validation)),
}

NUMBERS = CELLS | FBNET | GRAPHS


def measure(key: str, seed: int) -> Case:
    """Return one number."""
    del seed  # nothing here is random
    return {"value": float(NUMBERS[key]())}


def main() -> None:
    """Read everything off, if the files are there."""
    seeds_from_command_line(__doc__)
    missing = [f.name for f in FILES if not (cache_folder() / f.name).is_file()]
    if missing:
        print(f"{missing[0]} is not in the cache: nothing measured")
        return
    fill_table(__file__, [{"key": key, "seed": 0} for key in NUMBERS], measure)


if __name__ == "__main__":
    main()
