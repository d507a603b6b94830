"""What the pages print of ternary networks and of accelerators for few bits.

A page prints {{ key }}. Accuracies are means over seeds, on the test part, with batch
norm's means taken anew; ternary_training.py runs before.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import moved_digits
from effdl.data.files import data_path
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.bit_roofline import (
    BitMachine,
    LayerNumbers,
    layer_numbers,
    serial_cost,
)
from effdl.quant.syq import LAYER, PIXELS, SymmetricWeight
from effdl.quant.ternary import best_threshold, rule_of_thumb, ternary_error
from effdl.quant.trits import entropy
from effdl.quant.twn import TernaryWeight, in_groups, whole
from effdl.seed import seeded
from effdl.train import train_classifier

SOURCES = ("results/ternary_training.csv",)
DRAWS, FEW = 2000, 8
PRODUCTS, BITS = 4096e9, 64e9  # of one bit by one bit, and moved, in a second
WAYS = {
    "float": "float",
    "signs": "signs",
    "layer": "TWN, layer",
    "twn": "TWN",
    "best": "TWN, best",
    "fgq": "FGQ, 4",
    "ttq": "TTQ",
    "sttn": "STTN",
    "syq_layer": "SYQ 1, layer",
    "syq_pixels": "SYQ 1, pixels",
    "syq_two": "SYQ 2, pixels",
    "both_signs": "signs, inputs signs",
    "tbn": "TBN",
    "both_twn": "TWN, inputs ternary",
    "both_sttn": "STTN, inputs ternary",
}


def percent(share: float) -> Answer:
    """Return an accuracy or a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def times(factor: float) -> Answer:
    """Return a factor as the pages print it."""
    return factor, f"{factor:.1f}"


def hundredths(number: float) -> Answer:
    """Return a number with two digits behind the point."""
    return number, f"{number:.2f}"


def whole_number(number: int) -> Answer:
    """Return a count."""
    return number, f"{number}"


def mean(way: str, column: str = "test") -> float:
    """Return the mean over the seeds."""
    rows = read_table(data_path("results/ternary_training.csv"))
    return float(np.mean([float(r[column]) for r in rows if r["way"] == way]))


def spread(way: str) -> float:
    """Return the largest minus the smallest test accuracy over the seeds."""
    rows = read_table(data_path("results/ternary_training.csv"))
    return float(np.ptp([float(r["test"]) for r in rows if r["way"] == way]))


@cache
def kernels() -> list[torch.Tensor]:
    """Return the weights of four trained convolutions, without the first."""
    with seeded(0):
        net = plain_net(4)
    train_classifier(net, moved_digits().train)
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    return [conv.weight.detach().double() for conv in convs[1:]]


def wanted_factors() -> list[float]:
    """Return the best threshold over the mean size, for each trained convolution."""
    rows = [whole(kernel) for kernel in kernels()]
    return [(best_threshold(w) / w.abs().mean()).item() for w in rows]


def excess(w: torch.Tensor) -> float:
    """Return by which share the rule's error is above the least, over all rows."""
    thumb = ternary_error(w, rule_of_thumb(w)).mean()
    return float(thumb / ternary_error(w, best_threshold(w)).mean() - 1)


def excess_of_few() -> float:
    """Return the excess for rows of eight Gaussian weights."""
    with seeded(0):
        return excess(torch.randn(DRAWS, FEW, dtype=torch.double))


def group_error(size: int) -> float:
    """Return the error in groups of the last kernel as a share of its squares."""
    kernel = kernels()[-1]
    near = TernaryWeight(in_groups(size), best_threshold)(kernel)
    return float((kernel - near).square().sum() / kernel.square().sum())


def syq_error(shared: tuple[int, ...]) -> float:
    """Return SYQ's error with signs for the last kernel as a share of its squares."""
    kernel = kernels()[-1]
    near = SymmetricWeight(kernel, shared)(kernel).detach()
    return float((kernel - near).square().sum() / kernel.square().sum())


def code_entropy() -> float:
    """Return the entropy of TWN's codes, over all four convolutions."""
    codes = [TernaryWeight().codes(kernel)[0].flatten() for kernel in kernels()]
    return entropy(torch.cat(codes))


@cache
def layers() -> list[LayerNumbers]:
    """Return the layers of the small MobileNetV2 for one image."""
    return layer_numbers(small_mobilenet_v2(), torch.zeros(1, 1, 16, 16))


def gain(bits: int) -> float:
    """Return how many times faster a few bits are than 16, on a bit-serial machine."""
    machine = BitMachine(PRODUCTS, BITS, serial_cost)
    sixteen, few = (sum(x.seconds(machine, b, b) for x in layers()) for b in (16, bits))
    return sixteen / few


def waiting(bits: int) -> int:
    """Return how many layers are limited by their data."""
    ridge = BitMachine(PRODUCTS, BITS, serial_cost).roofline(bits, bits).ridge
    return sum(x.intensity(bits, bits) < ridge for x in layers())


NUMBERS = {
    **{f"ternary_{k}": lambda w=w: percent(mean(w)) for k, w in WAYS.items()},
    **{f"ternary_{k}_spread": lambda w=w: percent(spread(w)) for k, w in WAYS.items()},
    **{
        f"ternary_{k}_zeros": lambda w=WAYS[k]: percent(mean(w, "zeros"))
        for k in ("twn", "ttq", "sttn")
    },
    "ternary_twn_running": lambda: percent(mean("TWN", "running")),
    "ternary_float_running": lambda: percent(mean("float", "running")),
    "ternary_twn_at_once": lambda: percent(mean("TWN", "at_once")),
    "ternary_factor_low": lambda: hundredths(min(wanted_factors())),
    "ternary_factor_high": lambda: hundredths(max(wanted_factors())),
    "ternary_rule_excess": lambda: percent(max(excess(whole(k)) for k in kernels())),
    "ternary_few_excess": lambda: percent(excess_of_few()),
    "ternary_group_whole": lambda: percent(group_error(kernels()[-1].numel())),
    "ternary_group_9": lambda: percent(group_error(9)),
    "ternary_group_4": lambda: percent(group_error(4)),
    "ternary_syq_layer_error": lambda: percent(syq_error(LAYER)),
    "ternary_syq_pixels_error": lambda: percent(syq_error(PIXELS)),
    "ternary_entropy": lambda: hundredths(code_entropy()),
    "ternary_bits_layers": lambda: whole_number(len(layers())),
    **{f"ternary_bits_gain_{b}": lambda b=b: times(gain(b)) for b in (8, 4, 2)},
    **{
        f"ternary_bits_waiting_{b}": lambda b=b: whole_number(waiting(b))
        for b in (16, 8, 4, 2)
    },
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
