"""Draw the two figures of the page on efficient networks, as SVG beside the page.

    python experiments/block_figures.py

block-profiles.svg shows what each family's block does to the number of channels, read
off the modules while they compute; figure-3.svg is the survey's Fig. 3 with costs as
counted here, from data/survey/networks.csv. The same code draws the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter
from torch import nn

from convolution_figures import save
from effdl.measure.macs import count_macs
from effdl.nets.densenet import DenseLayer
from effdl.nets.fasternet import FasterBlock
from effdl.nets.ghost_bottleneck import GhostBottleneck
from effdl.nets.inverted_residual import InvertedResidual
from effdl.nets.mobilenet_v1 import SeparableBlock
from effdl.nets.residual import Bottleneck
from effdl.nets.sandglass import Sandglass
from effdl.nets.shufflenet_v1 import ShuffleUnit
from effdl.nets.shufflenet_v2 import BasicUnit
from effdl.nets.squeezenet import Fire
from effdl.networks_table import Network, load_networks
from effdl.plot import COLOURS, use_style

CHANNELS, SIDE = 96, 14
BLOCKS: dict[str, Callable[[], nn.Module]] = {  # as in the papers, 96 channels in
    "bottleneck": lambda: Bottleneck(96, 96),
    "Fire": lambda: Fire(96, 12, 48, 48),
    "separable": lambda: SeparableBlock(96, 96),
    "inverted residual": lambda: InvertedResidual(96, 96),
    "sandglass": lambda: Sandglass(96, 96),
    "shuffle unit, V1": lambda: ShuffleUnit(96, 96),
    "shuffle unit, V2": lambda: BasicUnit(96),
    "dense layer": lambda: DenseLayer(96, 32, 128),
    "Ghost bottleneck": lambda: GhostBottleneck(96, 576, 96),
    "Faster block": lambda: FasterBlock(96),
}
KINDS = {
    "pointwise": COLOURS.blue,
    "depthwise": COLOURS.green,
    "dense, larger than pointwise": COLOURS.vermillion,
}

FLOOR = 69.5  # per cent; lower accuracies are marked at the edge
LABELS_LEFT = {  # panel and network: where the right side is taken
    *((0, key) for key in ("condensenet_v1", "shufflenet_v1", "shufflenet_v2")),
    (0, "squeezenet"),
    *((1, key) for key in ("mobilenet_v2", "shufflenet_v1")),
}


class Profile(NamedTuple):
    """What a block did: output channels and kind of each layer, and the rest."""

    layers: list[tuple[str, int]]
    channels: int  # of the block's output
    passed: (
        float  # share of the output that is the input, all convolutions switched off
    )
    macs_per_pixel: float


def main() -> None:
    """Write both figures."""
    use_style()
    save(profiles(), "block-profiles.svg")
    save(figure_3(), "figure-3.svg")


def profiles() -> Figure:
    """Return one panel a block: a bar as high as the channels, for each layer."""
    fig, axes = plt.subplots(2, len(BLOCKS) // 2, figsize=(7.2, 4.4), sharey=True)
    for ax, (name, make) in zip(axes.flat, BLOCKS.items(), strict=True):
        profile = profile_of(make().eval())
        draw(ax, profile)
        ax.set_title(name, fontsize="small")
        ax.set_xlabel(f"{profile.macs_per_pixel:,.0f} MACs", fontsize="small")
    handles = [Patch(color=colour, label=kind) for kind, colour in KINDS.items()]
    handles.append(Patch(color=COLOURS.grey, label="the block's input and output"))
    fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return fig


def draw(ax: Axes, profile: Profile) -> None:
    """Draw bars around a middle line, and above them the way around the layers."""
    bars = [(COLOURS.grey, CHANNELS), *((KINDS[kind], n) for kind, n in profile.layers)]
    bars.append((COLOURS.grey, profile.channels))
    for place, (colour, channels) in enumerate(bars):
        height = channels / CHANNELS
        ax.bar(place, height, width=0.7, bottom=-height / 2, color=colour)
    if profile.passed:
        last, top = len(bars) - 1, max(n for _, n in bars) / CHANNELS / 2 + 0.4
        style = "-" if profile.passed == 1 else ":"
        path = [0.6, top, top, 0.6 + profile.channels / CHANNELS / 2 - 0.5]
        ax.plot([0, 0, last, last], path, color=COLOURS.grey, linestyle=style)
    ax.set(xticks=[], yticks=[], ylim=(-3.1, 3.6), xlim=(-0.8, 6.8))
    ax.spines[:].set_visible(False)


def profile_of(block: nn.Module) -> Profile:
    """Return what each convolution puts out, in the order of computation."""
    layers: list[tuple[str, int]] = []

    def note(layer: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        layers.append((kind_of(layer), output.shape[1]))

    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in convolutions]
    x = torch.rand(1, CHANNELS, SIDE, SIDE)
    macs = count_macs(block, x).total / SIDE**2
    layers.clear()
    with torch.no_grad():
        channels = block(x).shape[1]
        for hook in hooks:
            hook.remove()
        for parameter in (p for layer in convolutions for p in layer.parameters()):
            parameter.zero_()
        passed = float((block(x) != 0).any(dim=(2, 3)).float().mean())
    return Profile(layers, channels, passed, macs)


def kind_of(layer: nn.Conv2d) -> str:
    """Return the kind of a convolution, by kernel and groups."""
    if layer.kernel_size == (1, 1):
        return "pointwise"
    depthwise = layer.groups == layer.in_channels > 1
    return "depthwise" if depthwise else "dense, larger than pointwise"


def figure_3() -> Figure:
    """Return accuracy over multiply-adds and parameters, with the Pareto fronts."""
    shown = [n for n in load_networks() if n.figure == "3" or n.key == "fasternet_t1"]
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), sharey=True)
    costs = ("our_macs", "million multiply-adds"), ("our_params", "million parameters")
    for ax, (column, label) in zip(axes, costs, strict=True):
        points = [(getattr(n, column) / 1e6, n.survey_top1) for n in shown]
        front = sorted(point for point in points if not beaten(point, points))
        ax.step(*zip(*front, strict=True), where="post", color=COLOURS.vermillion, lw=1)
        for network, point in zip(shown, points, strict=True):
            mark(ax, network, point, on_front=point in front)
        ax.set(xscale="log", xlabel=label, ylim=(FLOOR, 76.8))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set(
        ylabel="top-1 accuracy, %", xlim=(55, 1000), xticks=[100, 200, 400, 800]
    )
    axes[1].set(xlim=(1.1, 9), xticks=[2, 4, 8])
    return fig


def mark(
    ax: Axes, network: Network, point: tuple[float, float], *, on_front: bool
) -> None:
    """Draw one network and its name; one below the floor gets an arrow down."""
    cost, accuracy = point
    colour = COLOURS.vermillion if on_front else COLOURS.blue
    below = accuracy < FLOOR
    marker, height = ("v", FLOOR + 0.2) if below else ("o", accuracy)
    ax.plot(cost, height, marker, color=colour, markersize=4)
    name = f"{network.network}, {accuracy} %" if below else network.network
    panel = ax.get_subplotspec().colspan.start
    left = (panel, network.key) in LABELS_LEFT or (on_front and not below)
    ax.annotate(
        name,
        (cost, height),
        xytext=(-5 if left else 5, 4 if on_front else 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize="x-small",
    )


def beaten(point: tuple[float, float], points: list[tuple[float, float]]) -> bool:
    """Return whether another network is as good in both and better in one."""
    cost, accuracy = point
    return any(c <= cost and a >= accuracy and (c, a) != point for c, a in points)


if __name__ == "__main__":
    main()
