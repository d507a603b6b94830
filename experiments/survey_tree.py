"""Draw the survey as a tree: its sections, and what this book promises for each.

Reads data/survey/sections.csv and writes book/figures/survey-tree.svg. Nothing is
measured, so there is no table of results.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from _results import seeds_from_command_line
from effdl.plot import COLOURS, use_style
from effdl.survey import load_sections

FIGURE = Path(__file__).resolve().parents[1] / "book/figures/survey-tree.svg"
TARGETS = {
    "implement": COLOURS.blue,
    "demonstrate": COLOURS.green,
    "measure": COLOURS.vermillion,
    "tabulate": COLOURS.purple,
    "explain": COLOURS.grey,
}
TAIL = " for Embedded Computing Systems"  # of every chapter's title


def draw() -> None:
    """Draw one line for each heading, from the top down."""
    use_style()
    sections = load_sections()
    fig, (names, ax) = plt.subplots(
        1, 2, figsize=(7.2, 8.6), width_ratios=(3.2, 4), sharey=True
    )
    for row, section in enumerate(sections):
        depth = section.number.count(".")
        title = f"{section.number}  {section.title.removesuffix(TAIL)}"
        weight = "normal" if depth else "bold"
        names.text(0.05 * depth, row, title, va="center", fontsize=8, weight=weight)
        start = 0
        for target, colour in TARGETS.items():
            width = getattr(section, target)
            ax.barh(row, width, left=start, color=colour, height=0.72)
            start += width
        if start:
            ax.text(start + 1, row, f"{start}", va="center", fontsize=8)
    for target, colour in TARGETS.items():
        ax.barh(0, 0, color=colour, label=target)
    ax.legend(loc="lower right", fontsize=8)
    ax.set(xlabel="things that the section names", xlim=(0, 112))
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False, labelleft=False)
    names.axis("off")
    ax.set_ylim(len(sections) - 0.4, -0.6)
    FIGURE.parent.mkdir(exist_ok=True)
    with plt.rc_context({"svg.fonttype": "none"}):  # letters as text: a tenth the size
        fig.savefig(FIGURE, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    draw()
