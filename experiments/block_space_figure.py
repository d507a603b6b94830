"""Draw a block space with one of its networks, as SVG beside the page on such spaces.

    python experiments/block_space_figure.py

figure-8.svg is the survey's Fig. 8, drawn from the space that counts: a box for every
candidate, a line through those of one network. The same code draws the same bytes.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from effdl.nas.block_space import BlockSpace, Choices
from effdl.nas.mbconv_space import SMALL_STAGES, mbconv_space
from effdl.plot import COLOURS, rounded, use_style

PAGE = Path(__file__).parents[1] / "book" / "03-automated-networks"


def main() -> None:
    """Draw the figure and write it beside the page."""
    use_style()
    space = mbconv_space(8, SMALL_STAGES)
    save(drawing(space, space.sample(np.random.default_rng(6))), "figure-8.svg")


def drawing(space: BlockSpace, chosen: Choices) -> Figure:
    """Return a column of boxes for every layer, and a line through the chosen ones."""
    fig, ax = plt.subplots(figsize=(7, 3.4))
    middle, last = max(space.sizes) // 2, len(space.layers)
    for x, layer in enumerate(space.layers):
        for y, name in enumerate(layer):
            colour = COLOURS.vermillion if chosen[x] == y else COLOURS.grey
            box = {"boxstyle": "round", "facecolor": "none", "edgecolor": colour}
            ax.text(
                x, y, name, color=colour, ha="center", va="center", size=9, bbox=box
            )
    ax.plot(
        [-0.9, *range(last), last - 0.1],
        [middle, *chosen, middle],
        color=COLOURS.vermillion,
        linewidth=4,
        alpha=0.3,
    )
    ax.text(-0.95, middle, "stem", ha="right", va="center")
    ax.text(last - 0.05, middle, "head", va="center")
    ax.set(xlim=(-1.5, last + 0.5), ylim=(max(space.sizes) - 0.4, -0.6))
    ax.axis("off")
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
