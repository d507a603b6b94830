"""The numbers that the pages print about searches that draw one path at a time.

A page prints {{ key }}. What a step keeps is a count of elements, for three layers of N
equal blocks. A time is a ratio of processor times on one machine, and rough. A search
chooses on validation; what it found is looked up by its mean test accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from torch import nn

from _numbers import Answer, fill_numbers
from effdl.blocks import mean_linear
from effdl.data.digits import Split, small_digits
from effdl.nas.block_space import BlockSpace
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.fair_order import fair_method
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.gdas import GDAS
from effdl.nas.gradient.gumbel import one_hot_of_largest, straight_through
from effdl.nas.gradient.method import DARTS
from effdl.nas.gradient.mixed_chain import (
    MixedChain,
    chain_architecture,
    small_mixed_chain,
)
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.proxyless import (
    PROXYLESS,
    pair_probabilities,
    sampled_pair,
    sampled_path,
)
from effdl.nas.gradient.saved import saved_elements
from effdl.nas.gradient.search import SMALL_RATES, Rates, search
from effdl.nas.gradient.snas import SNAS
from effdl.nas.mbconv_space import MBConv
from effdl.nas.supernet import SuperNet
from effdl.seed import seeded

METHODS = {"darts": DARTS, "snas": SNAS, "gdas": GDAS, "proxyless": PROXYLESS}
SEEDS, EPOCHS = 3, 20
# With one path a step, a weight is trained in a fifth of the steps: higher rates.
ONE_PATH_RATES = Rates(weights=0.2, architecture=0.01)


def equal_chain(n: int) -> MixedChain:
    """Return three layers of n equal blocks, so that only their number matters."""
    layer = {f"block {k}": partial(MBConv, 8, 8, 3, expansion=3) for k in range(n)}
    space = BlockSpace((layer,) * 3)
    return MixedChain(SuperNet(nn.Identity(), space, mean_linear(8, 10)))


@cache
def kept(n: int) -> dict[str, int]:
    """Return how many elements a step keeps, by the kind of step."""
    with seeded(0):
        net = equal_chain(n)
        edges = Architecture([[f"block {k}" for k in range(n)]] * 3)
        pair = sampled_pair(edges)
        q = pair_probabilities(edges, pair)
        gates = straight_through(q, one_hot_of_largest(q))
        runs = [row.nonzero().flatten().tolist() for row in pair]
        x = torch.zeros(16, 8, 12, 12)
        weights = {
            "darts": edges().softmax(dim=1),
            "snas": SNAS.relax(edges, 0.0),
            "gdas": GDAS.relax(edges, 0.0),
            "one": sampled_path(edges),
        }
        found = {k: saved_elements(partial(net, x, w)) for k, w in weights.items()}
        return found | {"two": saved_elements(partial(net, x, gates, runs))}


def paths(kind: str, n: int) -> Answer:
    """Return what a step keeps, in paths: what one step of the weights keeps."""
    ratio = kept(n)[kind] / kept(n)["one"]
    return ratio, f"{ratio:.2f}"


def halves() -> tuple[Split, Split]:
    """Return two halves of the training part: for weights, for the architecture."""
    train = small_digits().train
    half = len(train) // 2
    return (
        Split(train.inputs[:half], train.targets[:half]),
        Split(train.inputs[half:], train.targets[half:]),
    )


@cache
def step_seconds(place: str, name: str, steps: int = 8) -> float:
    """Return the processor time of a step of search, the smallest of three means."""
    means = []
    for _ in range(3):
        with seeded(0):
            if place == "cell":
                net, edges = small_mixed_net(), Architecture([OPERATIONS] * 6)
            else:
                net = small_mixed_chain()
                edges = chain_architecture(net.space)
            parts = [list(s.batches(64, seed=0))[:steps] for s in halves()]
            start = time.process_time()
            search(net, edges, *parts, epochs=1, method=METHODS[name])
        means.append((time.process_time() - start) / steps)
    return min(means)


def share_of_darts(place: str, name: str) -> Answer:
    """Return the time of a step, DARTS = 1, to one digit: it is rough."""
    ratio = step_seconds(place, name) / step_seconds(place, "darts")
    return ratio, f"{ratio:.1f}"


@cache
def searched(name: str) -> tuple[list[float], list[float], float]:
    """Return test accuracies, percentiles and the mean last loss of three searches."""
    table = load_cellbench()
    test = table.mean("test")
    found, losses = [], []
    train, validation = halves()
    for seed in range(SEEDS):
        with seeded(seed):
            net, edges = small_mixed_net(), Architecture([OPERATIONS] * 6)
            method = fair_method(edges) if name == "fair" else METHODS[name]
            parts = train.batches(64, seed=seed), validation.batches(64, seed=seed)
            rates = SMALL_RATES if name == "snas" else ONE_PATH_RATES
            done = search(net, edges, *parts, epochs=EPOCHS, method=method, rates=rates)
        found.append(float(test[table.row(found_cell(edges))]))
        losses.append(done[-1].loss)
    ranks = [100 * float((test < accuracy).mean()) for accuracy in found]
    return found, ranks, float(np.mean(losses))


def mean_test(name: str) -> Answer:
    """Return the mean test accuracy of the cells found."""
    mean = float(np.mean(searched(name)[0]))
    return mean, f"{100 * mean:.1f} %"


def spread(name: str) -> Answer:
    """Return the lowest and the highest test accuracy of the cells found."""
    low, high = (100 * f(searched(name)[0]) for f in (min, max))
    return low, f"{low:.1f} to {high:.1f} %"


def last_loss(name: str) -> Answer:
    """Return the mean training loss of the last epoch; chance is 2.30."""
    loss = searched(name)[2]
    return loss, f"{loss:.2f}"


def random_cell() -> Answer:
    """Return the mean test accuracy of all cells: what a random draw has."""
    mean = float(load_cellbench().mean("test").mean())
    return mean, f"{100 * mean:.1f} %"


NUMBERS: dict[str, Callable[[], Answer]] = {"sampling_random": random_cell}
for _kind in ("darts", "snas", "gdas", "two"):
    for _n in (2, 4, 8):
        NUMBERS[f"sampling_paths_{_kind}_{_n}"] = partial(paths, _kind, _n)
for _name in ("snas", "gdas", "proxyless"):
    for _place in ("cell", "chain"):
        key = f"sampling_time_{_place}_{_name}"
        NUMBERS[key] = partial(share_of_darts, _place, _name)
for _name in ("gdas", "snas", "proxyless", "fair"):
    NUMBERS[f"sampling_test_{_name}"] = partial(mean_test, _name)
    NUMBERS[f"sampling_range_{_name}"] = partial(spread, _name)
    NUMBERS[f"sampling_loss_{_name}"] = partial(last_loss, _name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fill_numbers(__file__, NUMBERS, ("cellbench/trainings.npz", "cellbench/costs.csv"))
