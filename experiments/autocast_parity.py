"""Float32, bfloat16 and 8 bits: the accuracy of one small network, seed by seed.

    float32     everything in 32 bits
    autocast    torch.autocast with bfloat16: products in 16 bits, weights in 32
    weights     the weights themselves in bfloat16, and so is all that is made of them
    float8      products of E4M3 numbers, gradients E5M2, simulated; weights in 32 bits

The same first weights, order of images and learning rates in all four. ``step_seconds``
is processor time of a training step on the machine of the last columns, and says
nothing about others; that of float8 is the price of a simulation.
"""

from __future__ import annotations

import copy
import time
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.compress.float8 import cast_layers_
from effdl.data.digits import Digits, Split, cluttered_digits
from effdl.distill.recipe import Recipe, train_student
from effdl.seed import seeded
from effdl.train import accuracy

PRECISIONS = ("float32", "autocast", "weights", "float8")
EPOCHS = 10
MORE_SEEDS = (3, 4)


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


def train(precision: str, net: nn.Module, split: Split, seed: int) -> list[float]:
    """Train the network; return its losses."""
    if precision == "float8":
        cast_layers_(net)
    if precision == "weights":
        net.bfloat16()

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        lower = precision == "autocast"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
            logits = net(inputs.bfloat16() if precision == "weights" else inputs)
        return F.cross_entropy(logits.float(), targets)

    return train_student(net, split, loss_of, Recipe(EPOCHS, seed=seed))


def measure(precision: str, seed: int) -> Case:
    """Return losses, accuracies and the time of a step."""
    with seeded(seed):
        net = plain_net(4)
    few = Split(data().train.inputs[:300], data().train.targets[:300])
    train(precision, copy.deepcopy(net), few, seed)  # what comes first takes longer
    start = time.process_time()
    losses = train(precision, net, data().train, seed)
    seconds = time.process_time() - start
    net.float()  # judged in 32 bits, whatever it was trained in
    return {
        "loss": losses[-1],
        "validation": accuracy(net, data().validation.batches(500)),
        "test": accuracy(net, data().test.batches(500)),
        "step_seconds": seconds / (EPOCHS * len(data().train.batches(100))),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [
            {"precision": precision, "seed": seed}
            for seed in sorted({*seeds, *MORE_SEEDS})
            for precision in PRECISIONS
        ],
        measure,
    )
