"""Pruning, fewer bits and distillation, each alone and all together.

A narrow network is trained for ten epochs. Whatever is combined comes in this order:

    distilled    all trainings follow a wide teacher's soft answers as well
    pruned       80 % of the weights of every layer go; five more epochs
    shared       15 values a layer, codes of 4 bits; three more epochs

Networks without a branch train for as many epochs without it. ``bits`` is what all
weights need, masks and tables included.
"""

from __future__ import annotations

import copy
import itertools
from functools import cache

import torch
from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import moved_digits
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, prune_
from effdl.prune.pruned import weights_of
from effdl.prune.stored_bits import stored_bits
from effdl.prune.thresholds import layer_masks
from effdl.prune.weight_sharing import share_weights_, shared_of
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

NARROW, WIDE, SPARSITY, BITS = 6, 24, 0.8, 4
TEMPERATURE, SOFT = 4.0, 0.5
DIGITS = moved_digits()


@cache
def teacher() -> nn.Module:
    """Return the wide network, trained."""
    with seeded(0):
        net = plain_net(WIDE)
    train_classifier(net, DIGITS.train)
    return net.eval()


def train(net: nn.Module, epochs: int, rate: float, seed: int, *, soft: bool) -> None:
    """Train as always, with the teacher's answers beside the labels or without."""
    alpha = SOFT if soft else 0.0
    recipe = Recipe(epochs, rate, seed=seed)
    distil(net, teacher(), DIGITS.train, recipe, temperature=TEMPERATURE, alpha=alpha)


@cache
def started(seed: int, *, soft: bool) -> nn.Module:
    """Return the narrow network after ten epochs."""
    with seeded(seed):
        net = plain_net(NARROW)
        train(net, 10, 0.1, seed, soft=soft)
    return net


def measure(distilled: int, pruned: int, shared: int, seed: int) -> Case:
    """Return accuracies and bits of one combination."""
    soft = bool(distilled)
    net = copy.deepcopy(started(seed, soft=soft))
    with seeded(seed):
        if pruned:
            prune_(net, layer_masks(magnitude_scores(net), SPARSITY))
        train(net, 5, 0.02, seed, soft=soft)
        if shared:
            make_permanent_(net)
            share_weights_(net, lambda _weight: BITS)
        train(net, 3, 0.002, seed, soft=soft)
    weights = (
        {name: codes for name, (_, codes) in shared_of(net).items()}
        if shared
        else weights_of(net)
    )
    bits = BITS if shared else 32
    table = 2**BITS - 1 if shared else 0
    return {
        "validation": accuracy(net, DIGITS.validation.batches(1000)),
        "test": accuracy(net, DIGITS.test.batches(1000)),
        "bits": stored_bits(weights, bits, table=table),
        "teacher_test": accuracy(teacher(), DIGITS.test.batches(1000)),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    torch.set_num_threads(1)
    cases = [
        {"distilled": d, "pruned": p, "shared": s, "seed": seed}
        for seed in seeds
        for d, p, s in itertools.product((0, 1), repeat=3)
    ]
    fill_table(__file__, cases, measure)
