"""Does a Ghost network beat a plain one of the same cost? Four networks.

    python experiments/ghost.py --seeds 0 1 2 3 4

    plain       plain_net(16), the network of most chapters
    ghost       the same with Ghost convolutions (3 x 3 primary) but for the first layer
    narrow      plain_net(12): ordinary convolutions, hardly dearer than the ghost
    pointwise   as ghost with the pointwise primary convolution of GhostNet

The notebook ghost-convolution trains the first three with one seed for 4 epochs. The
rows with 12 epochs show whether the order is one of short trainings only.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.conv.ghost import GhostConv2d
from effdl.data.digits import Digits, moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier


def ghost_net(width: int, kernel_size: int = 3) -> nn.Sequential:
    """Return ``plain_net`` with Ghost convolutions from its second layer on."""
    net = plain_net(width)
    for number in range(1, 5):
        conv = net[number][0]
        net[number] = GhostConv2d(
            conv.in_channels, conv.out_channels, kernel_size, stride=conv.stride[0]
        )
    return net


NETS = {
    "plain": lambda: plain_net(16),
    "ghost": lambda: ghost_net(16),
    "narrow": lambda: plain_net(12),
    "pointwise": lambda: ghost_net(16, kernel_size=1),
}


@cache
def digits() -> Digits:
    """Return the data, made once."""
    return moved_digits()


def measure(net: str, epochs: int, seed: int) -> Case:
    """Return accuracies and cost of one trained network."""
    with seeded(seed):
        model = NETS[net]()
    data = digits()
    train_classifier(model, data.train, epochs=epochs, seed=seed)
    return {
        "validation": accuracy(model, data.validation.batches(500)),
        "test": accuracy(model, data.test.batches(500)),
        "parameters": parameter_count(model),
        "macs": count_macs(model, torch.zeros(1, 1, 16, 16)).total,
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    short = [{"net": n, "epochs": 4, "seed": s} for s in seeds for n in NETS]
    long = [
        {"net": n, "epochs": 12, "seed": s}
        for s in seeds[:3]
        for n in ("plain", "ghost", "narrow")
    ]
    fill_table(__file__, short + long, measure)
