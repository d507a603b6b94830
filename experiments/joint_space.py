"""Every width, share of channels and number of bits, trained: the joint space's table.

A row is a member of the space. The ways to it are those of the pipeline:

    6 epochs      plain_net(width)
    2 epochs      some channels removed, or none
    2 epochs      with rounding, or without (32 bits)

So all members are trained for ten epochs, of 4,000 images. "bytes" are those of the
weights.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.compress.joint_space import FLOAT, weight_count
from effdl.compress.orders import pruned, quantized
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WIDTHS, KEEPS, BITS = (4, 6, 8, 12), (1.0, 0.75, 0.5), (2, 3, 4, 8, FLOAT)
EPOCHS, STEP, RATE = 6, 2, 0.06


@cache
def digits() -> Digits:
    """Return the images."""
    return cluttered_digits(n_train=4000)


@cache
def wide(width: int, seed: int) -> nn.Module:
    """Return the network before anything is taken from it."""
    with seeded(seed):
        net = plain_net(width)
        train_classifier(net, digits().train, epochs=EPOCHS, seed=seed)
    return net.eval()


@cache
def cut(width: int, keep: float, seed: int) -> nn.Module:
    """Return the network with fewer channels."""
    with seeded(seed):
        recipe = Recipe(STEP, RATE, seed=seed)
        return pruned(wide(width, seed), digits().train, recipe, keep=keep)


def measure(width: int, keep: float, bits: int, seed: int) -> Case:
    """Return accuracies and bytes of one member."""
    before, recipe = cut(width, keep, seed), Recipe(STEP, RATE, seed=seed)
    with seeded(seed):
        if bits == FLOAT:
            net = pruned(before, digits().train, recipe, keep=1.0)
        else:
            net = quantized(before, digits().train, recipe, bits=bits)
    return {
        "validation": accuracy(net, digits().validation.batches(500)),
        "test": accuracy(net, digits().test.batches(500)),
        "bytes": weight_count(width, keep) * bits / 8,
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    torch.set_num_threads(1)
    cases: list[Case] = [
        {"width": width, "keep": keep, "bits": bits, "seed": seed}
        for seed in seeds
        for width in WIDTHS
        for keep in KEEPS
        for bits in BITS
    ]
    fill_table(__file__, cases, measure)
