"""Many small branches or a short chain: traffic, intensity and time at equal MACs.

Two groups of three forms, on 28 x 28 maps, one image, one thread:

    dense       two cells of six 3x3 convolutions on 32 channels; the same twelve in a
                chain; three on 64 channels in a chain. Equal MACs, exactly
    separable   a cell of four nodes with eight branches, as in DARTS, each twice
                depthwise and pointwise on 32 channels, the nodes put side by side; the
                same eight in a chain; one dense 3x3 on 48 channels, within 2 %

The second form has the cell's layers and no branches, the third has few, wide layers.
Bytes: input, weights and output of every layer, then the sums and concatenations
between layers. Times are taken in turn, and the quotients of one round with a bootstrap
interval. Run it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.measure.latency import Latency, latency
from effdl.measure.macs import torch_flops
from effdl.measure.roofline import layer_costs
from effdl.nas.cell_net import CellBlock, ReluConvBn
from effdl.nas.cell_space import Cell
from effdl.seed import seeded

SIDE, NARROW, WIDE, DENSE = 28, 32, 64, 48
BYTES = 4  # of one number


def separable(channels: int) -> nn.Sequential:
    """Return DARTS's separable convolution: ReLU, depthwise, pointwise, norm; twice."""
    layers: list[nn.Module] = []
    for _ in range(2):
        depthwise = nn.Conv2d(
            channels, channels, 3, padding=1, groups=channels, bias=False
        )
        pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        layers += [nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers)


class BranchCell(nn.Module):
    """Four nodes, each the sum of two branches from earlier ones; all side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(separable(channels) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 4 c, H, W) for x of (N, c, H, W)."""
        states = [x, x]
        for node in range(4):
            first, second = self.branches[2 * node], self.branches[2 * node + 1]
            states.append(first(states[node]) + second(states[node + 1]))
        return torch.cat(states[2:], dim=1)


def cells() -> nn.Module:
    """Return two cells with a dense convolution on all six edges."""
    cell = Cell(("nor_conv_3x3",) * 6)
    return nn.Sequential(CellBlock(cell, NARROW), CellBlock(cell, NARROW))


def chain(channels: int, layers: int) -> Callable[[], nn.Module]:
    """Return what makes dense convolutions one after another."""
    return lambda: nn.Sequential(
        *(ReluConvBn(channels, channels, 3) for _ in range(layers))
    )


def separable_chain() -> nn.Module:
    """Return eight separable convolutions one after another."""
    return nn.Sequential(*(separable(NARROW) for _ in range(8)))


# What makes it, channels of its input, and maps that sums and concatenations move.
FORMS: dict[tuple[str, str], tuple[Callable[[], nn.Module], int, int]] = {
    ("dense", "cell"): (cells, NARROW, 2 * 3 * 3),
    ("dense", "same layers"): (chain(NARROW, 12), NARROW, 0),
    ("dense", "wide chain"): (chain(WIDE, 3), WIDE, 0),
    ("separable", "cell"): (lambda: BranchCell(NARROW), NARROW, 4 * 3 + 8),
    ("separable", "same layers"): (separable_chain, NARROW, 0),
    ("separable", "wide chain"): (chain(DENSE, 1), DENSE, 0),
}


@cache
def built(group: str, form: str) -> tuple[nn.Module, Tensor]:
    """Return a form with random weights, and its input."""
    make, channels, _ = FORMS[group, form]
    with seeded(0):
        return make().eval(), torch.randn(1, channels, SIDE, SIDE)


@cache
def timings() -> dict[str, Latency]:
    """Return the latency of all forms, measured once, in turn."""
    forms = {f"{g}, {f}": built(g, f) for g, f in FORMS}
    return latency(
        {name: net for name, (net, _) in forms.items()},
        {name: x for name, (_, x) in forms.items()},
        repeats=100,
        warmup=10,
    )


def quotient(first: Latency, second: Latency) -> tuple[float, float, float]:
    """Return the median of time over time, round by round, with a 95 % interval."""
    rounds = np.array(first.samples) / np.array(second.samples)
    random = np.random.default_rng(0)
    medians = np.median(random.choice(rounds, (2000, len(rounds))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(np.median(rounds)), float(low), float(high)


def measure(group: str, form: str, seed: int) -> Case:
    """Return counts and times of one form; the seed plays no part."""
    del seed
    net, x = built(group, form)
    costs = layer_costs(net, x)
    layers = sum(cost.bytes for cost in costs)
    joins = FORMS[group, form][2] * x.numel() * BYTES
    macs = torch_flops(net, x) // 2
    taken = timings()[f"{group}, {form}"]
    ratio, low, high = quotient(timings()[f"{group}, cell"], taken)
    return {
        "layers": len(costs),
        "macs": macs,
        "conv_bytes": sum(cost.bytes for cost in costs if cost.kind == "Conv2d"),
        "layer_bytes": layers,
        "join_bytes": joins,
        "intensity": macs / (layers + joins),
        "milliseconds": 1e3 * taken.median,
        "low": 1e3 * taken.low,
        "high": 1e3 * taken.high,
        "cell_ratio": ratio,
        "cell_ratio_low": low,
        "cell_ratio_high": high,
    }


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_table(
        __file__, [{"group": g, "form": f, "seed": 0} for g, f in FORMS], measure
    )
