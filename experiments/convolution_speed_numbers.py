"""The measured times of chapter 2's pages on convolutions.

128 channels in and out, maps of 28 x 28, a batch of one, 32-bit floats, one thread, all
layers in turn. A rate is a property of layer and machine, and whatever disturbs it only
lowers it: so the fastest of many samples counts, as for a roofline. The counts that do
not depend on the machine are in convolution_numbers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from _results import Case, fill_table
from effdl.conv.cost import ConvCost, conv_cost
from effdl.conv.depthwise import DepthwiseConv2d, depthwise_cost
from effdl.conv.group import GroupConv2d, group_cost
from effdl.conv.partial import PartialConv2d, partial_cost
from effdl.conv.pointwise import PointwiseConv2d, pointwise_cost
from effdl.measure.latency import latency
from effdl.seed import seeded

LAYERS: dict[str, tuple[Callable[[], nn.Module], ConvCost]] = {
    "dense": (
        lambda: nn.Conv2d(128, 128, 3, padding=1, bias=False),
        conv_cost(128, 128, 3, 28),
    ),
    "pointwise": (lambda: PointwiseConv2d(128, 128), pointwise_cost(128, 128, 28)),
    "partial": (lambda: PartialConv2d(128), partial_cost(128, 3, 28)),
    "group": (
        lambda: GroupConv2d(128, 128, groups=8),
        group_cost(128, 128, 3, 28, groups=8),
    ),
    "depthwise": (lambda: DepthwiseConv2d(128), depthwise_cost(128, 3, 28)),
}


@cache
def times() -> dict[str, float]:
    """Return the least seconds of all layers, measured once, in turn."""
    with seeded(0):
        layers = {name: build() for name, (build, _) in LAYERS.items()}
        maps = torch.randn(1, 128, 28, 28)
    measured = latency(layers, maps, repeats=150, warmup=20)
    return {name: min(time.samples) for name, time in measured.items()}


def number(key: str) -> tuple[float, str]:
    """Return a number and the text that a page prints."""
    if key == "depthwise_time_ratio":
        ratio = times()["dense"] / times()["depthwise"]
        return ratio, f"{ratio:.0f}"
    _, name, *what = key.split("_")
    cost = LAYERS[name][1]
    if what == ["macs"]:
        return cost.macs / 1e6, f"{cost.macs / 1e6:.1f}"
    if what == ["intensity"]:
        return cost.intensity / 4, f"{cost.intensity / 4:.1f}"
    rate = cost.macs / times()[name] / 1e9
    return rate, f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def measure(key: str, seed: int) -> Case:  # noqa: ARG001  (every table has a seed)
    """Return one number and its text."""
    value, text = number(key.removeprefix("conv_"))
    return {"value": value, "text": text}


if __name__ == "__main__":
    ends = ("", "_macs", "_intensity")
    keys = [f"rate_{name}{end}" for name in LAYERS for end in ends]
    keys.append("depthwise_time_ratio")
    fill_table(__file__, [{"key": f"conv_{key}", "seed": 0} for key in keys], measure)
