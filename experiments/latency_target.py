"""What latency a search with a learned multiplier ends at, asked for a target.

Four tables of latencies that add up: a Pixel 1 (22 layers), and a Raspberry Pi 4, a
Pixel 3 and Eyeriss (six edges of NAS-Bench-201, least squares). On these the utilities
are made up, and nothing is trained. On the book's own benchmark ("cellbench", latency
of 64 images) the search is real: supernet, digits, 20 epochs, and a cell that is looked
up. None is not among the candidates, since no search may choose it.

A target lies between the cheapest (0) and the most expensive architecture (1). Rules:

    plain       equation 12
    slow        equation 12 with a tenth of the rate
    augmented   the term in rho with it
    authors     latency of the argmax, negative values reset, late damping
    sharpened   augmented, and a temperature that falls (on the benchmark)
    inside      no multiplier: Frank-Wolfe within the target (on the benchmark)

All ratios are over the target: of the mixture at the end, the lowest and the highest of
it in the last tenth, of the architecture that is kept by the table, and as it was
measured.

The tables of the four devices are published files in the folder EFFDL_CACHE;
effdl.data.download says which.
"""

from __future__ import annotations

from functools import cache, partial
from typing import NamedTuple

import torch

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import OPERATIONS, Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.choice_front import best_within
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.hardware.additive_toy import exact_front, seeded_toy
from effdl.nas.hardware.budget_programme import sparsest
from effdl.nas.hardware.cell_costs import fit_cell_costs
from effdl.nas.hardware.expected_cost import CostTable, cost_range, expected_cost
from effdl.nas.hardware.hardcore_nas import FrankWolfeStep, probabilities
from effdl.nas.hardware.lightnas import (
    LearnedMultiplier,
    sharpened_softmax,
    strongest_cost,
)
from effdl.nas.hardware.pixel1_table import load_pixel1
from effdl.nas.hardware.toy_descent import descend
from effdl.nas.public_tables import load_nas_bench_201
from effdl.nas.table import CellTable
from effdl.seed import seeded

DEVICES = ("pixel1", "raspi4", "pixel3", "eyeriss")
BENCH = "cellbench"
NAMES = tuple(name for name in OPERATIONS if name != "none")
TARGETS = (0.3, 0.5, 0.7)
FRONT = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the rule with which the front is made
NEAR = 0.15 / 24  # of the target: the authors' 0.15 ms, of 24 ms
RATE, RHO = 0.05, 10.0
STEPS, TOY_RATE = 2000, 0.02
EPOCHS, HALF, BATCH = 20, 1500, 64
BENCH_RATE = 0.01
BENCH_RATES = Rates(weights=0.05, architecture=0.03)
TICKS = 1000  # in the range of a table


class Searched(NamedTuple):
    """Where a search ended."""

    space: Architecture
    table: CostTable
    target: float
    ratios: list[float]  # of the mixture to the target, after each step
    multiplier: float | str


@cache
def published() -> CellTable:
    """Return NAS-Bench-201, read once."""
    return load_nas_bench_201()


@cache
def costs(device: str) -> CostTable:
    """Return the latencies that add up, in seconds."""
    if device == "pixel1":
        return load_pixel1()
    if device == BENCH:
        return fit_cell_costs(load_cellbench(), "latency_64", NAMES)[0]
    return fit_cell_costs(published(), f"latency_{device}", NAMES)[0]


def multiplier(
    rule: str, table: CostTable, target: float, space: Architecture, rate: float
) -> LearnedMultiplier:
    """Return the multiplier of one rule."""
    make = partial(LearnedMultiplier, table, target, space)
    if rule == "slow":
        return make(rate=rate / 10)
    if rule in ("augmented", "sharpened"):
        return make(rate=rate, rho=RHO)
    if rule == "authors":
        return make(
            rate=rate, of=strongest_cost, reset_negative=True, damp_within=NEAR * target
        )
    return make(rate=rate)


def seconds(table: CostTable, share: float, space: Architecture) -> float:
    """Return the target in seconds."""
    low, high = cost_range(table, space)
    return low + share * (high - low)


def toy_search(device: str, share: float, rule: str, seed: int) -> Searched:
    """Return where a search of made-up utilities ends."""
    toy = seeded_toy(costs(device), seed)
    with seeded(seed):
        space = toy.space()
    target = seconds(toy.table, share, space)
    it = multiplier(rule, toy.table, target, space, RATE)
    method = Method(objective=it.objective, after_step=it.after_step)
    descend(toy, space, method=method, steps=STEPS, rate=TOY_RATE)
    ratios = [ratio for _, ratio in it.history]
    return Searched(space, toy.table, target, ratios, it.value)


def bench_search(share: float, rule: str, seed: int) -> Searched:
    """Return where a search on the benchmark's cell ends."""
    train = small_digits().train
    first, second = (
        Split(train.inputs[part], train.targets[part])
        for part in (slice(HALF), slice(HALF, None))
    )
    table = costs(BENCH)
    with seeded(seed):
        net, space = small_mixed_net(NAMES), Architecture([NAMES] * 6)
        target = seconds(table, share, space)
        inside = FrankWolfeStep(table, target, space) if rule == "inside" else None
        it = multiplier(rule, table, target, space, BENCH_RATE)
        relax = sharpened_softmax if rule == "sharpened" else softmax_weights
        method = Method(relax, it.objective, after_step=it.after_step)
        if inside is not None:
            method = Method(probabilities, step=inside)
        batches = first.batches(BATCH, seed=seed), second.batches(BATCH, seed=seed + 1)
        search(net, space, *batches, epochs=EPOCHS, rates=BENCH_RATES, method=method)
    if inside is None:
        ratios = [ratio for _, ratio in it.history]
        return Searched(space, table, target, ratios, it.value)
    with torch.no_grad():
        space.logits.copy_(sparsest(space.logits, table, target))
    return Searched(space, table, target, inside.history, "")


def measure(device: str, share: float, rule: str, seed: int) -> Case:
    """Return what one search ends at."""
    if device == BENCH:
        found = bench_search(share, rule, seed)
    else:
        found = toy_search(device, share, rule, seed)
    space, target = found.space, found.target
    last = found.ratios[-len(found.ratios) // 10 :]
    kept = float(expected_cost(space.one_hot(space.strongest()), found.table))
    return {
        "target_ms": 1e3 * target,
        "mixture": found.ratios[-1],
        "lowest": min(last),
        "highest": max(last),
        "kept": kept / target,
        "multiplier": found.multiplier,
    } | judged(device, found, kept, seed)


def judged(
    device: str, found: Searched, kept: float, seed: int
) -> dict[str, str | float]:
    """Return what is known about the architecture that is kept, and what it is."""
    space, table = found.space, found.table
    known: dict[str, str | float] = dict.fromkeys(
        ("measured", "validation", "test", "utility", "best_utility"), ""
    )
    names = space.strongest()
    if device != "pixel1":
        cell = cell_of(device, space)
        bench = load_cellbench() if device == BENCH else published()
        row = bench.row(cell)
        column = "latency_64" if device == BENCH else f"latency_{device}"
        known["measured"] = float(bench.need(column)[row]) / found.target
        names = cell.operations
        if device == BENCH:
            known["validation"] = float(bench.mean("validation")[row])
            known["test"] = float(bench.mean("test")[row])
    if device != BENCH:
        toy = seeded_toy(table, seed)
        low, high = cost_range(table, space)
        tick = (high - low) / TICKS
        budget = (kept - table.base) / tick + len(space.candidates) / 2
        known["utility"] = toy.utility([int(k) for k in space.strongest()])
        best = best_within(exact_front(toy, tick=tick), budget)
        known["best_utility"] = best.value
    return known | {"architecture": "+".join(names)}


def cell_of(device: str, space: Architecture) -> Cell:
    """Return the cell that a search found; toys name candidates by number."""
    if device == BENCH:
        return found_cell(space)
    return Cell(tuple(NAMES[int(number)] for number in space.strongest()))


def cases(seeds: list[int]) -> list[Case]:
    """Return all searches, the quick ones first."""
    rules: tuple[str, ...] = ("plain", "slow", "augmented", "authors")
    settings = [(d, share, r) for d in DEVICES for share in TARGETS for r in rules]
    settings += [(BENCH, share, "sharpened") for share in FRONT]
    rules = ("plain", "augmented", "inside")
    settings += [(BENCH, share, rule) for share in TARGETS for rule in rules]
    return [
        {"device": device, "share": share, "rule": rule, "seed": seed}
        for device, share, rule in settings
        for seed in seeds
    ]


if __name__ == "__main__":
    fill_table(__file__, cases(seeds_from_command_line(__doc__)), measure)
