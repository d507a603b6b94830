"""Figures beside a page: one SVG for both themes, the same bytes in every run."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from effdl.plot import STYLE, rounded

BOOK = Path(__file__).parents[1] / "book"


def save_svg(fig: Figure, place: str) -> None:
    """Write a figure to a place below book/, its coordinates rounded."""
    text = io.StringIO()
    keys = ("svg.fonttype", "svg.hashsalt")
    with plt.rc_context({key: STYLE[key] for key in keys}):
        fig.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: rounded(path[0]), text.getvalue())
    (BOOK / place).write_text(svg, encoding="utf-8")
