"""Small networks at one budget: which family makes the most of its multiply-adds?

Every family gets the width at which it comes closest to the budget on a digit scene of
16 x 16 pixels; the CondenseNets are counted as they are deployed, and condense while
they train. The first seed is trained with three learning rates; the one that is best on
the column validation serves the other seeds, too. Report the column test. The scenes
are the same for all seeds.

The search for the width begins where the work would be if it grew with the square of
the width. For CondenseNetV2 it does not, and its width comes out a fifth too costly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from _results import Case, Row, fill_table, read_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.conv.condensing import condense_fully_, condense_on_schedule, deploy
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.condensenet_v1 import small_condensenet_v1
from effdl.nets.condensenet_v2 import small_condensenet_v2
from effdl.nets.densenet import small_densenet
from effdl.nets.fasternet import small_fasternet
from effdl.nets.ghostnet_v1 import small_ghostnet_v1
from effdl.nets.ghostnet_v2 import small_ghostnet_v2
from effdl.nets.mobilenet_v1 import small_mobilenet_v1
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.nets.mobilenext import small_mobilenext
from effdl.nets.resnet import small_resnet
from effdl.nets.shufflenet_v1 import small_shufflenet_v1
from effdl.nets.shufflenet_v2 import small_shufflenet_v2
from effdl.nets.squeezenet import small_squeezenet
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

BUDGET = 369_040  # multiply-adds of one image in the plain network of width 10
RATES = (0.03, 0.1, 0.3)
WIDTHS = [n / 40 for n in range(12, 121)]  # 0.3, 0.325, ... 3
CONDENSING = ("CondenseNetV1", "CondenseNetV2")


def plain(width: float) -> nn.Sequential:
    """Return the plain network of 10 channels at width 1."""
    return plain_net(round(10 * width))


BUILDERS: dict[str, Callable[[float], nn.Module]] = {
    "plain": plain,
    "ResNet": small_resnet,
    "DenseNet": small_densenet,
    "SqueezeNet": small_squeezenet,
    "MobileNetV1": small_mobilenet_v1,
    "MobileNetV2": small_mobilenet_v2,
    "MobileNeXt": small_mobilenext,
    "ShuffleNetV1": small_shufflenet_v1,
    "ShuffleNetV2": small_shufflenet_v2,
    "CondenseNetV1": small_condensenet_v1,
    "CondenseNetV2": small_condensenet_v2,
    "GhostNetV1": small_ghostnet_v1,
    "GhostNetV2": small_ghostnet_v2,
    "FasterNet": small_fasternet,
}


def deployed(family: str, net: nn.Module) -> nn.Module:
    """Return the network as it is used: without the zeros, if it condenses."""
    if family not in CONDENSING:
        return net
    condense_fully_(net)  # does nothing after a training
    return deploy(net)


@cache
def width_for(family: str) -> float:
    """Return the width whose multiply-adds are closest to the budget."""
    image = torch.zeros(1, 1, 16, 16)

    def macs(width: float) -> int:
        net = deployed(family, BUILDERS[family](width))
        return count_macs(net, image).total

    guess = (BUDGET / macs(1.0)) ** 0.5  # most of the work grows with the square
    nearby = sorted(WIDTHS, key=lambda width: abs(width - guess))[:9]
    return min(nearby, key=lambda width: abs(macs(width) - BUDGET))


def measure(family: str, rate: float, seed: int) -> Case:
    """Return accuracies and cost of one trained network."""
    digits = moved_digits()
    width = width_for(family)
    with seeded(seed):
        net = BUILDERS[family](width)
    steps = 10 * len(digits.train.batches(100))
    condense = condense_on_schedule(net, steps) if family in CONDENSING else None
    try:
        train_classifier(
            net, digits.train, learning_rate=rate, seed=seed, after_step=condense
        )
    except FloatingPointError:  # the rate is too high for this network
        return {"width": width} | dict.fromkeys(
            ("validation", "test", "parameters", "macs"), ""
        )
    net = deployed(family, net)
    return {
        "width": width,
        "validation": accuracy(net, digits.validation.batches(500)),
        "test": accuracy(net, digits.test.batches(500)),
        "parameters": parameter_count(net),
        "macs": count_macs(net, digits.test.inputs[:1]).total,
    }


def best_rate(rows: list[Row], family: str) -> str:
    """Return the rate with the highest validation accuracy, as the table writes it."""
    own = [row for row in rows if row["family"] == family and row["validation"]]
    return max(own, key=lambda row: float(row["validation"]))["rate"]


if __name__ == "__main__":
    first, *others = seeds_from_command_line(__doc__)
    cases = [
        {"family": family, "rate": rate, "seed": first}
        for family in BUILDERS
        for rate in RATES
    ]
    path = fill_table(__file__, cases, measure)
    tried = [row for row in read_table(path) if row["seed"] == str(first)]
    cases += [
        {"family": family, "rate": float(best_rate(tried, family)), "seed": seed}
        for seed in others
        for family in BUILDERS
    ]
    fill_table(__file__, cases, measure)
