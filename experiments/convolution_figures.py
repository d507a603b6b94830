"""Draw the two figures of the page on convolutions, as SVG beside the page.

    python experiments/convolution_figures.py

operators.svg shows what an output depends on, measured by gradients; ghost-saving.svg
is equation 4 of the Ghost paper. The same code draws the same bytes.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from effdl.conv.depthwise import DepthwiseConv2d
from effdl.conv.dilated import DilatedConv2d
from effdl.conv.ghost import ghost_saving
from effdl.conv.group import GroupConv2d
from effdl.conv.partial import PartialConv2d
from effdl.conv.pointwise import PointwiseConv2d
from effdl.plot import COLOURS, rounded, use_style

PAGE = Path(__file__).resolve().parents[1] / "book" / "02-manual-networks"
CHANNELS, SIDE = 8, 7


def main() -> None:
    """Write both figures."""
    use_style()
    save(operators(), "operators.svg")
    save(savings(), "ghost-saving.svg")


def operators() -> Figure:
    """Return two rows of squares: channels above, pixels below."""
    layers = {
        "ordinary": nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
        "pointwise": PointwiseConv2d(CHANNELS, CHANNELS),
        "2 groups": GroupConv2d(CHANNELS, CHANNELS, groups=2),
        "depthwise": DepthwiseConv2d(CHANNELS),
        "dilated, rate 2": DilatedConv2d(CHANNELS, CHANNELS),
        "partial, 1/4": PartialConv2d(CHANNELS),
    }
    fig, axes = plt.subplots(2, len(layers), figsize=(7.2, 2.8))
    for column, (name, layer) in zip(axes.T, layers.items(), strict=True):
        seen = dependence(layer).float()  # (out, in, H, W)
        pictures = seen.amax(dim=(2, 3)), seen.amax(dim=1).mean(dim=0)
        for ax, picture in zip(column, pictures, strict=True):
            draw_squares(ax, picture)
        column[0].set_title(name, fontsize="small")
    axes[0, 0].set_ylabel("output channel")
    axes[0, 0].set_xlabel("input channel")
    axes[1, 0].set_ylabel("pixels seen")
    return fig


def draw_squares(ax: Axes, picture: Tensor) -> None:
    """Draw a grid and fill the squares that are seen, paler if by few channels."""
    height, width = picture.shape
    lines = {"color": COLOURS.grey, "linewidth": 0.4}
    ax.hlines(range(height + 1), 0, width, **lines)
    ax.vlines(range(width + 1), 0, height, **lines)
    for row, column in picture.nonzero().tolist():
        corner, alpha = (column, row), float(picture[row, column])
        ax.add_patch(Rectangle(corner, 1, 1, color=COLOURS.blue, alpha=alpha, lw=0))
    ax.set(xticks=[], yticks=[], aspect="equal", ylim=(height, 0))
    ax.spines[:].set_visible(False)


def dependence(layer: nn.Module) -> Tensor:
    """Return which input reaches the central pixel of which output channel."""
    for parameter in layer.parameters():
        nn.init.ones_(parameter)  # nothing can cancel
    x = torch.ones(1, CHANNELS, SIDE, SIDE, requires_grad=True)
    centre = layer(x)[0, :, SIDE // 2, SIDE // 2]
    rows = [torch.autograd.grad(value, x, retain_graph=True)[0][0] for value in centre]
    return torch.stack(rows) != 0  # (out, in, H, W)


def savings() -> Figure:
    """Return the saving of a Ghost convolution over the input channels."""
    channels = list(range(4, 257, 4))
    fig, ax = plt.subplots(figsize=(5, 3))
    curves = ((3, COLOURS.blue, 2.04), (1, COLOURS.vermillion, 1.5))
    for kernel_size, colour, height in curves:
        saving = [ghost_saving(c, kernel_size) for c in channels]
        ax.plot(channels, saving, color=colour)
        label = "3 x 3 primary" if kernel_size == 3 else "pointwise primary"
        ax.text(45, height, label, color=colour)
    ax.axhline(2, color=COLOURS.grey, linestyle=":")
    ax.text(180, 2.03, "ratio s = 2", color=COLOURS.grey)
    ax.axhline(1, color=COLOURS.grey, linewidth=0.8)
    ax.text(180, 1.03, "no saving", color=COLOURS.grey)
    ax.set(xlabel="input channels c", ylabel="times fewer MACs", ylim=(0.5, 2.2))
    return fig


def save(fig: Figure, name: str) -> None:
    """Write a figure that is the same on every run."""
    text = io.StringIO()
    fig.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: rounded(path[0]), text.getvalue())
    (PAGE / name).write_text(svg, encoding="utf-8")
    plt.close(fig)
    print(f"wrote {name}")


if __name__ == "__main__":
    main()
