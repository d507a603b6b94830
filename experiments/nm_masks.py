"""What half of the weights costs, by where they may be taken.

Each network is trained once and pruned once by magnitude, every layer to a half, but
for a first convolution with one input channel, which no group of four divides; then
all train on for the same few epochs. ``kept`` is the share of the magnitude of the
pruned layers that their masks keep.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Digits, Split, moved_digits
from effdl.prune.channel_permutation import greedy_order
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import Masks, prune_
from effdl.prune.nm import nm_masks
from effdl.prune.permute_channels import permute_channels_
from effdl.prune.thresholds import layer_masks
from effdl.prune.transposable import greedy_transposable_mask, transposable_mask
from effdl.prune.vector_sparsity import vector_mask
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

NETS = {"mlp": plain_mlp, "net": lambda: plain_net(8)}
RATES = {"mlp": 0.05, "net": 0.1}
EPOCHS, RATE = 3, 0.02  # after pruning; neither was tuned
MASKS = (
    "unstructured",
    "4:8",
    "2:4",
    "2:4 permuted",
    "2:4 pixels too",
    "vector",
    "transposable",
    "greedy",
)


@cache
def trained(net: str, seed: int) -> tuple[nn.Module, Digits]:
    """Return a trained network and its data."""
    data = moved_digits()
    with seeded(seed):
        model = NETS[net]()
    train_classifier(model, data.train, learning_rate=RATES[net], seed=seed)
    return model, data


def permute_(net: str, model: nn.Module) -> None:
    """Change the order of all hidden channels to one that 2:4 likes better."""
    if net == "mlp":
        pairs = [(model[1], model[3], None), (model[3], model[5], None)]
    else:
        blocks = [*model[:5], [model[7]]]
        pairs = [(a[0], b[0], a[1]) for a, b in pairwise(blocks)]
    for producer, consumer, norm in pairs:
        order = greedy_order(consumer.weight)
        permute_channels_(producer, consumer, order, norm=norm)


def with_pixels(data: Digits, order: list[int]) -> Digits:
    """Return images whose pixels are in another order, row by row."""
    parts = []
    for part in data:
        moved = part.inputs.flatten(1)[:, order].view_as(part.inputs)
        parts.append(Split(moved, part.targets))
    return Digits(*parts)


def masks_for(kind: str, scores: dict[str, Tensor]) -> Masks:
    """Return the masks of one kind for the layers that four divides."""

    def both_ways(find: Callable[[Tensor], Tensor]) -> Masks:
        plain = nm_masks(scores)
        return {
            n: find(s) if s.shape[0] % 4 == 0 else plain[n] for n, s in scores.items()
        }

    return {
        "unstructured": lambda: layer_masks(scores, 0.5),
        "4:8": lambda: {n: nm_masks({n: s}, *ratio(s))[n] for n, s in scores.items()},
        "vector": lambda: {n: vector_mask(s, 0.5) for n, s in scores.items()},
        "transposable": lambda: both_ways(transposable_mask),
        "greedy": lambda: both_ways(greedy_transposable_mask),
    }.get(kind, lambda: nm_masks(scores))()


def ratio(scores: Tensor) -> tuple[int, int]:
    """Return 4:8, or 2:4 for the layer whose inputs 8 does not divide."""
    return (4, 8) if scores.shape[1] % 8 == 0 else (2, 4)


def measure(net: str, masks: str, seed: int) -> Case:
    """Return what is kept, and accuracies before and after training on."""
    model, data = trained(net, seed)
    model = copy.deepcopy(model)
    if "permuted" in masks or "pixels" in masks:
        permute_(net, model)
    if "pixels" in masks:
        order = greedy_order(model[1].weight)
        data = with_pixels(data, order)
        with torch.no_grad():
            model[1].weight.copy_(model[1].weight[:, order])
    result: dict[str, float] = {}
    if masks != "dense":
        every = magnitude_scores(model)
        scores = {n: s for n, s in every.items() if s.shape[1] % 4 == 0}
        chosen = masks_for(masks, scores)
        kept = sum(float(scores[n][m].sum()) for n, m in chosen.items())
        result["kept"] = kept / sum(float(s.sum()) for s in scores.values())
        prune_(model, chosen)
    else:
        result["kept"] = 1.0
    parts = {"validation": data.validation, "test": data.test}
    for name, part in parts.items():
        result[f"pruned_{name}"] = accuracy(model, part.batches(500))
    train_classifier(
        model, data.train, epochs=EPOCHS, learning_rate=RATE, seed=seed + 100
    )
    for name, part in parts.items():
        result[name] = accuracy(model, part.batches(500))
    return result


if __name__ == "__main__":
    cases = [
        {"net": net, "masks": masks, "seed": seed}
        for seed in seeds_from_command_line(__doc__)
        for net in NETS
        for masks in ("dense", *MASKS)
        if net == "mlp" or masks != "2:4 pixels too"
    ]
    fill_table(__file__, cases, measure)
