"""The numbers that the pages print about latency tables and penalties.

A page prints {{ key }}. Accuracies are means over three search seeds, each the mean
test accuracy of the cell's trainings in the benchmark; milliseconds are those of the
fitted table. Cells are not charged for dead edges, mixtures are. Some numbers are of
published latencies, which have to be in EFFDL_CACHE. Four are measured with the clock:
run it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.data.digits import Split, small_digits
from effdl.measure.latency import latency
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import OPERATIONS, Cell, all_cells
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.search import search
from effdl.nas.hardware.cell_costs import (
    agreement,
    cell_sums,
    dead_cost,
    fit_cell_costs,
)
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.fbnet import fbnet
from effdl.nas.hardware.latency_mlp import fit_latency_mlp
from effdl.nas.hardware.operator_costs import operator_costs
from effdl.nas.hardware.penalties import add_cost
from effdl.nas.public_tables import load_hw_latencies
from effdl.nas.table import CellTable, Floats
from effdl.seed import seeded

SOURCES = ("cellbench/trainings.npz", "cellbench/costs.csv")
SEEDS, EPOCHS = range(3), 10
SEEN, FRESH = 2000, 40  # cells that predictors learn from; cells measured again
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}


@cache
def costs(unit: str = "ms") -> CostTable:
    """Return the table fitted to the seconds of 64 images, in a unit."""
    table, _ = fit_cell_costs(load_cellbench(), "latency_64")
    return CostTable(UNITS[unit] * table.base, UNITS[unit] * table.extra)


def fitted_r2(cost: str) -> float:
    """Return how much of a column of the benchmark a sum explains."""
    return fit_cell_costs(load_cellbench(), cost)[1].r2


@cache
def fresh() -> dict[str, float]:
    """Return squared correlations and the level with latencies taken in turn."""
    bench = load_cellbench()
    rows = np.random.default_rng(0).choice(len(bench), FRESH, replace=False)
    cells, x = [bench.cells[row] for row in rows], torch.zeros(64, 1, 12, 12)
    nets = {str(cell): small_cell_net(cell) for cell in cells}
    clock = time.process_time_ns  # other programs do not count
    times = latency(nets, x, repeats=25, sample_seconds=0.002, clock=clock)
    measured = np.array([times[str(cell)].median for cell in cells])
    told = {
        "stored": bench.need("latency_64")[rows],
        "fitted": cell_sums(costs("s"), cells),
        "operators": cell_sums(operator_costs(x, clock=clock), cells),
    }
    found = {n: float(np.corrcoef(v, measured)[0, 1] ** 2) for n, v in told.items()}
    return found | {"level": float(told["operators"].mean() / measured.mean())}


@cache
def predicted(name: str) -> dict[str, float]:
    """Return R2 of a sum and of an MLP on cells that neither has seen."""
    if name in load_cellbench().costs:
        cells, truth = load_cellbench().cells, load_cellbench().need(name)
    else:
        cells = tuple(all_cells())
        truth = load_hw_latencies(name, cells)
    order = np.random.default_rng(0).permutation(len(cells))
    some, rest = (tuple(cells[i] for i in part) for part in np.split(order, [SEEN]))
    shown, hidden = (truth[part] / truth.mean() for part in np.split(order, [SEEN]))
    nothing = np.zeros((SEEN, 1))
    known = CellTable("some", some, nothing, None, None, None, {"cost": shown})
    table, _ = fit_cell_costs(known, "cost")
    with seeded(0):
        told = torch.from_numpy(shown).float()
        predictor = fit_latency_mlp(one_hot(some), told, epochs=60)
    learned: Floats = predictor(one_hot(rest)).double().numpy()
    return {
        "sum": agreement(cell_sums(table, rest), hidden).r2,
        "mlp": agreement(learned, hidden).r2,
    }


def one_hot(cells: tuple[Cell, ...]) -> torch.Tensor:
    """Return cells as weights, (n, 6, 5)."""
    return torch.tensor(np.array([cell.one_hot() for cell in cells])).float()


METHODS: dict[str, Callable[[], Method]] = {
    "0": Method,
    "03": lambda: Method(objective=add_cost(0.3, costs())),
    "1": lambda: Method(objective=add_cost(1.0, costs())),
    "fbnet": lambda: fbnet(costs("us")),
}


@cache
def searched(name: str) -> dict[str, float]:
    """Return what the searches of one method found, on average."""
    digits, bench = small_digits(), load_cellbench()
    middle = len(digits.train) // 2
    x, y = digits.train.inputs, digits.train.targets
    halves = Split(x[:middle], y[:middle]), Split(x[middle:], y[middle:])
    rows = []
    for seed in SEEDS:
        with seeded(seed):
            net, found = small_mixed_net(), Architecture([OPERATIONS] * 6)
            parts = [half.batches(64, seed=seed) for half in halves]
            warm_up = 1 if name == "fbnet" else 0
            method = METHODS[name]()
            search(net, found, *parts, epochs=EPOCHS, method=method, warm_up=warm_up)
        cell, weights = found_cell(found), found.masked_logits().softmax(dim=1)
        rows.append({
            "test": float(bench.mean("test")[bench.row(cell)]),
            "mixture": expected_cost(weights, costs()).item(),
            "cell": float(cell_sums(costs(), [cell])[0]) - dead_cost(costs(), cell),
            "skips": float(cell.count("skip_connect")),
        })
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def two(number: float) -> Answer:
    """Return a number as the pages print it."""
    return number, f"{number:.2f}"


def percent(share: float) -> Answer:
    """Return an accuracy as the pages print it."""
    return share, f"{100 * share:.1f} %"


def of_fresh(name: str) -> Answer:
    """Return a comparison with fresh latencies as the pages print it."""
    return two(fresh()[name])


def of_prediction(name: str, model: str) -> Answer:
    """Return an R2 of a predictor as the pages print it."""
    return two(predicted(name)[model])


def of_search(name: str, key: str) -> Answer:
    """Return a mean of the searches of one method as the pages print it."""
    value = searched(name)[key]
    return percent(value) if key == "test" else two(value)


NUMBERS: dict[str, Callable[[], Answer]] = {
    "penalties_fit_1": lambda: two(fitted_r2("latency_1")),
    "penalties_fit_64": lambda: two(fitted_r2("latency_64")),
    "penalties_fit_memory": lambda: two(fitted_r2("peak_bytes")),
    **{
        f"penalties_fresh_{name}": partial(of_fresh, name)
        for name in ("stored", "fitted", "operators", "level")
    },
    **{
        f"penalties_{short}_{model}": partial(of_prediction, name, model)
        for short, name in (
            ("raspi4", "raspi4"),
            ("pixel3", "pixel3"),
            ("memory", "peak_bytes"),
            ("latency", "latency_64"),
        )
        for model in ("sum", "mlp")
    },
    **{
        f"penalties_{name}_{key}": partial(of_search, name, key)
        for name in METHODS
        for key in ("test", "mixture", "cell", "skips")
    },
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are fixed
    fill_numbers(__file__, NUMBERS, SOURCES)
