"""Figures beside a page: one SVG for both themes, the same bytes in every run."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from effdl.plot import COLOURS, STYLE, rounded

BOOK = Path(__file__).parents[1] / "book"
INDEX = Path(__file__).parents[1] / "data" / "survey" / "index.csv"


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


def method_lines(
    branches: Mapping[str, str],
    kinds: set[str],
    works: Mapping[str, tuple[tuple[int, ...], int, int]],
    every: range,
) -> list[tuple[int, str]]:
    """Return the lines below the root of a tree of methods, from the book's index.

    Args:
        branches: Names of sections, by their numbers.
        kinds: Of rows that are methods.
        works: The survey's numbers of each topic: those named alone, first and last.
        every: The numbers that have to stand in one topic each.

    Raises:
        ValueError: If topics of index and survey differ, or if one of these numbers
            does not stand in one topic.
    """
    with INDEX.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["section"] in branches]
    rows = [row for row in rows if row["kind"] in kinds]
    differ = {row["topic"] for row in rows} ^ set(works)
    if differ:
        names = ", ".join(sorted(differ))
        raise ValueError(f"the topics of index and survey differ: {names}")
    spans = [range(first, last + 1) for _, first, last in works.values()]
    seen = Counter(number for span in spans for number in span)
    wrong = [number for number in {*every, *seen} if seen[number] != 1]
    if wrong:
        raise ValueError(f"works {wrong} do not stand in the tree once")
    lines = []
    for section, branch in branches.items():
        lines.append((1, branch))
        own = [row for row in rows if row["section"] == section]
        for topic in dict.fromkeys(row["topic"] for row in own):
            alone, first, last = works[topic]
            cited = ", ".join([*map(str, alone), f"{first}-{last}"])
            lines.append((2, f"{topic} [{cited}]"))
            lines += [(3, row["name"]) for row in own if row["topic"] == topic]
    return lines
