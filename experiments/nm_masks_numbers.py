"""The numbers that the pages print about N:M masks.

Accuracies are means over the seeds of nm_masks.py, on the test part. The rest is
counted on the weights of the dense networks, trained again here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nm_masks
from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.digits import moved_digits
from effdl.data.files import data_path
from effdl.prune.bidirectional import (
    backward_mask,
    bidirectional_linear,
    drawn_order,
    overlap,
)
from effdl.prune.channel_permutation import greedy_order, kept_magnitude
from effdl.prune.nm import nm_mask
from effdl.prune.transposable import greedy_transposable_mask, transposable_mask
from effdl.prune.vector_sparsity import removed_runs, vector_mask
from effdl.seed import seeded

SOURCES = ("results/nm_masks.csv",)
MASKS = {
    "dense": "dense",
    "free": "unstructured",
    "4_8": "4:8",
    "2_4": "2:4",
    "permuted": "2:4 permuted",
    "pixels": "2:4 pixels too",
    "vector": "vector",
    "both": "transposable",
    "greedy": "greedy",
}
SEEDS = 3  # of the networks that are trained here
DRAWN = 100_000  # blocks of normal weights


def mean(net: str, masks: str, column: str) -> float:
    """Return the mean of a column over the seeds."""
    rows = read_table(data_path(SOURCES[0]))
    values = [float(r[column]) for r in rows if (r["net"], r["masks"]) == (net, masks)]
    return sum(values) / len(values)


def percent(share: float) -> Answer:
    """Return a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


@cache
def trained(seed: int) -> nn.Sequential:
    """Return a trained MLP."""
    return nm_masks.trained("mlp", seed)[0]


def over_seeds(measured: Callable[[int], float]) -> float:
    """Return the mean over the networks."""
    return sum(measured(seed) for seed in range(SEEDS)) / SEEDS


def weight_of(seed: int, layer: int) -> Tensor:
    """Return the weight of a layer."""
    return trained(seed)[layer].weight.detach()


def runs_of_one(kind: Callable[[Tensor], Tensor]) -> float:
    """Return the share of removed weights of the first layer that stand alone."""

    def share(seed: int) -> float:
        mask = kind(weight_of(seed, 1).abs())
        return removed_runs(mask)[1] / int((~mask).sum())

    return over_seeds(share)


def longest(kind: Callable[[Tensor], Tensor]) -> Answer:
    """Return the longest run that is removed in the first network."""
    length = max(removed_runs(kind(weight_of(0, 1).abs())))
    return length, str(length)


def gap_closed(layer: int) -> float:
    """Return the share of the distance to free rows that an order gains."""

    def share(seed: int) -> float:
        weight = weight_of(seed, layer)
        start = kept_magnitude(weight)
        end = kept_magnitude(weight[:, greedy_order(weight)])
        half = weight.shape[1] // 2
        free = weight.abs().sort(dim=1).values[:, half:].sum().item()
        return (end - start) / (free - start)

    return over_seeds(share)


def kept(kind: Callable[[Tensor], Tensor]) -> float:
    """Return the share of the magnitude of the second layer that a mask keeps."""

    def share(seed: int) -> float:
        size = weight_of(seed, 3).abs()
        return float(size[kind(size)].sum() / size.sum())

    return over_seeds(share)


ORDERS = {
    "none": lambda weight: list(range(len(weight))),
    "drawn": drawn_order,
    "swaps": lambda weight: greedy_order(weight.T),
}


@cache
def backwards(name: str, seed: int) -> tuple[float, float]:
    """Return overlap and cosine of the second layer of a network."""
    net, part = trained(seed), moved_digits().validation
    weight = weight_of(seed, 3)
    mask = nm_mask(weight.abs())
    hidden = net[:3](part.inputs).detach()

    def gradient(back: Tensor) -> Tensor:
        x = hidden.clone().requires_grad_()
        out = bidirectional_linear(x, weight, mask, back) + net[3].bias.detach()
        loss = F.cross_entropy(net[4:](out), part.targets)
        return torch.autograd.grad(loss, x)[0].flatten()

    with seeded(seed):
        order = ORDERS[name](weight * mask)
    shared = overlap(weight * mask, order) / int(mask.sum())
    found = gradient(backward_mask(weight * mask, order))
    exact = gradient(torch.ones_like(mask))
    return shared, float(F.cosine_similarity(found, exact, dim=0))


@cache
def normal_blocks() -> tuple[float, float]:
    """Return the shares of blocks that greedy leaves short, or does better in."""
    with seeded(0):
        scores = torch.randn(4, 4 * DRAWN).abs()
    masks = [find(scores) for find in (transposable_mask, greedy_transposable_mask)]
    exact, greedy = (
        (m * scores).double().view(4, -1, 4).sum(dim=(0, 2)) for m in masks
    )
    short = masks[1].view(4, -1, 4).sum(dim=(0, 2)) < 8
    return float(short.double().mean()), float((greedy > exact).double().mean())


def half_vector(scores: Tensor) -> Tensor:
    """Return the vector mask of half of the runs."""
    return vector_mask(scores, 0.5)


def accuracies() -> dict[str, Callable[[], Answer]]:
    """Return what to print of the stored table, by key."""
    found: dict[str, Callable[[], Answer]] = {}
    columns = {"kept": "kept", "pruned": "pruned_test", "tuned": "test"}
    for net in ("mlp", "net"):
        for short, masks in MASKS.items():
            if (net, short) == ("net", "pixels"):
                continue
            for word, column in columns.items():
                key = f"nmmasks_{net}_{short}_{word}"
                found[key] = lambda n=net, m=masks, c=column: percent(mean(n, m, c))
    return found


NUMBERS: dict[str, Callable[[], Answer]] = {
    **accuracies(),
    "nmmasks_alone_2_4": lambda: percent(runs_of_one(nm_mask)),
    "nmmasks_longest_vector": lambda: longest(half_vector),
    "nmmasks_gap_pixels": lambda: percent(gap_closed(1)),
    "nmmasks_gap_hidden": lambda: percent(gap_closed(3)),
    "nmmasks_layer_2_4": lambda: percent(kept(nm_mask)),
    "nmmasks_layer_both": lambda: percent(kept(transposable_mask)),
    "nmmasks_layer_greedy": lambda: percent(kept(greedy_transposable_mask)),
    "nmmasks_greedy_short": lambda: percent(normal_blocks()[0]),
    "nmmasks_greedy_better": lambda: percent(normal_blocks()[1]),
    **{
        f"nmmasks_overlap_{name}": lambda n=name: percent(
            over_seeds(lambda seed: backwards(n, seed)[0])
        )
        for name in ORDERS
    },
    **{
        f"nmmasks_cosine_{name}": lambda n=name: (
            over_seeds(lambda seed: backwards(n, seed)[1]),
            f"{over_seeds(lambda seed: backwards(n, seed)[1]):.4f}",
        )
        for name in ORDERS
    },
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; its networks have fixed seeds
    fill_numbers(__file__, NUMBERS, SOURCES)
