"""Three kinds of learned gates against the simplest thing that does the same.

Gates on single weights (hard concrete, variational dropout) in a network of linear
layers are set beside pruning by magnitude to the same sparsity in as many epochs.
Polarized gates on the channels of a convolutional network are set beside a network of
the same channels, trained as long from new weights.

    left         share of the weights, or of the multiply-adds for GDP, that is left
    test         of the network with gates, after they were taken out
    control      of the other one, each with its validation accuracy

Rows without a strength are networks that are trained without any choice: the whole
ones, and a convolutional one that is narrower everywhere.
"""

from __future__ import annotations

from torch import nn

from _gates import (
    IMAGE,
    WIDTH,
    all_gates,
    digits,
    dropout_net,
    gdp_net,
    l0_net,
    magnitude_net,
    plain_training,
)
from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.measure.macs import count_macs
from effdl.prune.gate_removal import remove_closed
from effdl.prune.gated_layers import gate_masks, without_gates
from effdl.prune.pruned import count_kept
from effdl.prune.variational_dropout import noise_masks, without_noise
from effdl.seed import seeded
from effdl.train import accuracy

SETTINGS = (
    ("hard concrete", 0.5),
    ("hard concrete", 1.0),
    ("variational dropout", 0.2),
    ("variational dropout", 0.3),
    ("GDP", 0.5),
    ("dense, linear", 0.0),
    ("dense", 0.0),
    ("narrow", 0.0),
)
NARROW = 5  # about the multiply-adds that GDP leaves


def measure(method: str, strength: float, seed: int) -> Case:
    """Return what one training and its control come to."""
    if method == "GDP":
        return channels(strength, seed)
    if strength == 0:
        return dense(method, seed)
    return weights(method, strength, seed)


def weights(method: str, strength: float, seed: int) -> Case:
    """Return the row of a method for single weights."""
    data = digits()
    if method == "hard concrete":
        net = l0_net(data, strength, seed)
        plain, masks = without_gates(net), gate_masks(net)
    else:
        net = dropout_net(data, strength, seed)
        plain, masks = without_noise(net), noise_masks(net)
    kept = count_kept(masks)
    control = magnitude_net(data, kept.sparsity, seed)
    return {
        "left": kept.kept / kept.total,
        **scores(plain),
        **{f"control_{name}": value for name, value in scores(control).items()},
        "between": 0.0,
        "shape": " ".join(str(int(mask.sum())) for mask in masks.values()),
    }


def channels(strength: float, seed: int) -> Case:
    """Return the row of polarized gates."""
    data = digits()
    net = gdp_net(data, strength, seed)
    smaller = remove_closed(net)
    with seeded(seed):
        control = remove_closed(net)
        for module in control.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
    plain_training(control, data, seed)
    gates = all_gates(net)
    whole = count_macs(plain_net(WIDTH), IMAGE).total
    convs = [m for m in smaller.modules() if isinstance(m, nn.Conv2d)]
    return {
        "left": count_macs(smaller, IMAGE).total / whole,
        **scores(smaller),
        **{f"control_{name}": value for name, value in scores(control).items()},
        "between": ((gates > 0) & (gates < 0.95)).float().mean().item(),
        "shape": " ".join(str(conv.out_channels) for conv in convs),
    }


def dense(method: str, seed: int) -> Case:
    """Return the row of a network in which nothing was chosen."""
    data = digits()
    if method == "dense, linear":
        net: nn.Module = magnitude_net(data, 0.0, seed)
        left = 1.0
    else:
        with seeded(seed):
            net = plain_net(WIDTH if method == "dense" else NARROW)
        plain_training(net, data, seed)
        whole = count_macs(plain_net(WIDTH), IMAGE).total
        left = count_macs(net, IMAGE).total / whole
    found = scores(net)
    both = found | {f"control_{name}": value for name, value in found.items()}
    return {"left": left, **both, "between": 0.0, "shape": ""}


def scores(net: nn.Module) -> dict[str, float]:
    """Return the validation and the test accuracy."""
    data = digits()
    return {
        name: accuracy(net, split.batches(500))
        for name, split in (("validation", data.validation), ("test", data.test))
    }


if __name__ == "__main__":
    fill_table(
        __file__,
        [
            {"method": method, "strength": strength, "seed": seed}
            for seed in seeds_from_command_line(__doc__)
            for method, strength in SETTINGS
        ],
        measure,
    )
