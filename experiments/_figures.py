"""Figures beside a page: one SVG for both themes, the same bytes in every run."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from effdl.plot import COLOURS, STYLE, rounded

BOOK = Path(__file__).parents[1] / "book"


def save_svg(fig: Figure, place: str) -> None:
    """Write a figure to a place below book/, its coordinates rounded."""
    text = io.StringIO()
    keys = ("svg.fonttype", "svg.hashsalt")
    with plt.rc_context({key: STYLE[key] for key in keys}):
        fig.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: rounded(path[0]), text.getvalue())
    (BOOK / place).write_text(svg, encoding="utf-8")


def draw_tree(lines: Sequence[tuple[int, str]]) -> Figure:
    """Return a tree as lines of text from top to bottom, each joined to its parent.

    Args:
        lines: Depth and name, parents first; depth 3 is not bold.
    """
    fig, ax = plt.subplots(figsize=(7.2, 0.19 * len(lines)))
    for row, (depth, text) in enumerate(lines):
        weight = "normal" if depth == 3 else "bold"
        ax.text(0.6 * depth + 0.15, row, text, va="center", fontsize=8, weight=weight)
        if depth:
            parent = max(r for r in range(row) if lines[r][0] == depth - 1)
            x = 0.6 * (depth - 1) + 0.3
            ax.plot([x, x, x + 0.35], [parent + 0.5, row, row], color=COLOURS.blue)
    ax.set(xlim=(0, 8), ylim=(len(lines) - 0.5, -0.5))
    ax.axis("off")
    return fig
