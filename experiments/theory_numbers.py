"""The numbers that the pages print about two levels, one level and gradual pruning.

A page prints {{ key }}. The gradients are those of the small supernet after a short
search. What GOLD-NAS finds is looked up in the benchmark; a search stops when what is
left costs at most as much as two convolutions 3 x 3.
"""

from __future__ import annotations

import time
from functools import cache
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adam

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.bilevel import (
    TwoLevels,
    first_order_gradient,
    implicit_gradient,
    unrolled_gradient,
)
from effdl.nas.gradient.bilevel_toys import MixtureRidge
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.gate_pruning import Pace
from effdl.nas.gradient.gold_nas import GoldNas
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.second_order import (
    exact_second_order_gradient,
    second_order_gradient,
    second_order_step,
)
from effdl.nas.gradient.steps import Searching, first_order_step, loss_alone
from effdl.nas.hardware.expected_cost import CostTable
from effdl.seed import seeded

Pair = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]  # to train on, to validate
SEARCHES = 3
RADII = (0.1, 0.01, 0.001)  # the second is the paper's
SKIPS = Cell(("skip_connect",) * len(EDGES))
CONVOLUTION = OPERATIONS.index("nor_conv_3x3")


class Slopes(NamedTuple):
    """Gradients of one architecture on one pair of batches, flat.

    Attributes:
        exact: By autograd through the step ahead.
        tried: Of first order, "first", and by finite differences, named by the radius.
    """

    exact: Tensor
    tried: dict[str, Tensor]


def begun() -> tuple[Searching, list[Pair]]:
    """Return a search after 12 steps, and 12 further pairs of batches, in float64."""
    net, found = small_mixed_net().double(), Architecture([OPERATIONS] * 6).double()
    scenes = small_digits().train
    halves = [
        Split(scenes.inputs[part::2].double(), scenes.targets[part::2])
        for part in (0, 1)
    ]
    pairs = list(zip(*(half.batches(64, seed=0) for half in halves), strict=True))
    sgd = SGD(net.parameters(), 0.05, 0.9, weight_decay=3e-4)
    adam = Adam(found.parameters(), 3e-3, (0.5, 0.999), weight_decay=1e-3)
    searching = Searching(net, found, softmax_weights, loss_alone, sgd, adam)
    for pair in pairs[:12]:
        first_order_step(searching, *pair)
    return searching, pairs[12:]


@cache
def slopes() -> tuple[Slopes, ...]:
    """Return gradients of the small supernet on five pairs of batches."""
    with seeded(0):
        searching, pairs = begun()
        return tuple(slopes_of(searching, pair) for pair in pairs[:5])


def slopes_of(searching: Searching, pair: Pair) -> Slopes:
    """Return all gradients on one pair of batches."""
    tried = {"first": second_order_gradient(searching, *pair, rate=0)[0].flatten()}
    for radius in RADII:
        [slope] = second_order_gradient(searching, *pair, radius=radius)
        tried[f"{radius}"] = slope.flatten()
    [exact] = exact_second_order_gradient(searching, *pair)
    return Slopes(exact.flatten(), tried)


@cache
def times() -> tuple[float, float]:
    """Return median seconds of a step of first and of second order, taken in turn."""
    with seeded(0):
        searching, pairs = begun()
        taken: tuple[list[float], list[float]] = ([], [])
        for pair in pairs:
            for step, seconds in zip(
                (first_order_step, second_order_step), taken, strict=True
            ):
                start = time.process_time()
                step(searching, *pair)
                seconds.append(time.process_time() - start)
    return median(taken[0]), median(taken[1])


@cache
def ridge_errors() -> dict[str, float]:
    """Return the relative error of each gradient of the ridge problem, at w*."""
    with seeded(0):
        parts = []
        for count in (40, 30):
            x = torch.randn(count, 5, dtype=torch.float64)
            parts.append((x, x[:, :3].sum(dim=1) + 0.3 * torch.randn(count).double()))
        alpha = torch.randn(5, dtype=torch.float64)
    ridge = MixtureRidge(parts[0], parts[1], ridge=0.1)
    levels, w = TwoLevels(ridge.training, ridge.validation), ridge.best_weights(alpha)
    rate = 1 / float(torch.linalg.eigvalsh(ridge.curvature(alpha)).max())
    exact = implicit_gradient(levels, w, alpha)
    tried = {"first": first_order_gradient(levels, w, alpha)}
    for steps in (1, 10, 50):
        tried[f"{steps}"] = unrolled_gradient(levels, w, alpha, rate=rate, steps=steps)
    return {
        name: float((slope - exact).norm() / exact.norm())
        for name, slope in tried.items()
    }


def multiply_adds() -> CostTable:
    """Return what each operation adds to the small network, exactly."""
    table = load_cellbench()
    macs = table.need("macs")
    base = float(macs[table.row(SKIPS)])
    extra = torch.zeros(len(EDGES), len(OPERATIONS))
    for edge in range(len(EDGES)):
        for place, name in enumerate(OPERATIONS):
            if name != "none":
                chosen = list(SKIPS.operations)
                chosen[edge] = name
                cost = float(macs[table.row(Cell(tuple(chosen)))])
                extra[edge, place] = cost - base
    return CostTable(base, extra)


class Pruned(NamedTuple):
    """What one search of GOLD-NAS left."""

    members: int
    epochs: int
    seconds: float
    cell: Cell


@cache
def pruned() -> tuple[Pruned, ...]:
    """Return three searches on all training images."""
    costs = multiply_adds()
    cheapest = costs.base + 2 * float(costs.extra[0, CONVOLUTION])
    rates = Rates(weights=0.05, architecture=0.1, architecture_decay=0.0)
    done = []
    for seed in range(SEARCHES):
        with seeded(seed):
            net, found = small_mixed_net(), Architecture([OPERATIONS] * 6, spread=0)
            nodes = [target for _, target in EDGES]
            pace = Pace(start=1e-2, enough=2)
            gold = GoldNas(found, costs, nodes, pace=pace, cheapest=cheapest)
            train = small_digits().train.batches(64, seed=seed)
            epochs = search(
                net, found, train, train, epochs=20, method=gold.method(), rates=rates
            )
        last = epochs[-1].seconds
        done.append(Pruned(len(gold.family), len(epochs), last, found_cell(found)))
    return tuple(done)


@cache
def gold_tests() -> tuple[float, float, float]:
    """Return mean and lowest test accuracy, and the mean share of cells below.

    Below are those of no more multiply-adds that have a lower accuracy.
    """
    table = load_cellbench()
    macs, test = table.need("macs"), table.mean("test")
    accuracies, shares = [], []
    for one in pruned():
        row = table.row(one.cell)
        light = test[macs <= macs[row]]
        accuracies.append(float(test[row]))
        shares.append((light < test[row]).mean())
    return float(np.mean(accuracies)), min(accuracies), float(np.mean(shares))


def percent(share: float, digits: int = 1) -> Answer:
    """Return a share as the pages print it."""
    return share, f"{100 * share:.{digits}f} %"


def plain(value: float, digits: int = 1) -> Answer:
    """Return a number as the pages print it."""
    return value, f"{value:.{digits}f}"


def missing(name: str) -> float:
    """Return the relative error of one way to the gradient, in the median."""
    return median(
        float((s.tried[name] - s.exact).norm() / s.exact.norm()) for s in slopes()
    )


def cosine() -> float:
    """Return the cosine between first order and the exact gradient, in the median."""
    return median(
        float(torch.cosine_similarity(s.tried["first"], s.exact, dim=0))
        for s in slopes()
    )


NUMBERS = {
    "theory_difference_error": lambda: percent(missing("0.01"), 0),
    "theory_difference_wide": lambda: percent(missing("0.1"), 0),
    "theory_difference_narrow": lambda: percent(missing("0.001"), 0),
    "theory_left_out": lambda: percent(missing("first"), 0),
    "theory_cosine": lambda: plain(cosine(), 2),
    "theory_step_factor": lambda: plain(times()[1] / times()[0]),
    "theory_ridge_first": lambda: percent(ridge_errors()["first"], 0),
    "theory_ridge_one": lambda: percent(ridge_errors()["1"], 0),
    "theory_ridge_ten": lambda: percent(ridge_errors()["10"], 2),
    "theory_gold_members": lambda: plain(median(p.members for p in pruned()), 0),
    "theory_gold_seconds": lambda: plain(max(p.seconds for p in pruned()), 0),
    "theory_gold_test": lambda: percent(gold_tests()[0]),
    "theory_gold_worst": lambda: percent(gold_tests()[1]),
    "theory_gold_below": lambda: percent(gold_tests()[2], 0),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are fixed
    torch.set_num_threads(1)
    fill_numbers(__file__, NUMBERS, ("cellbench/trainings.npz", "cellbench/costs.csv"))
