"""Draw who distils how, and what distilling is: the survey's Fig. 24 and Fig. 25.

    python experiments/distillation_figures.py

figure-24.svg is the tree of the methods of section 4.3 that this book has, from
data/survey/index.csv. Beside each topic stand the survey's numbers of the works that it
names there. figure-25.svg is a drawing of teacher and student with the accuracies that
distillation_gains.py measured. The same tables draw the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import mean

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from _figures import draw_tree, method_lines, save_svg
from _results import read_table
from effdl.data.files import data_path
from effdl.plot import COLOURS, use_style

CHAPTER = "04-network-compression"
BRANCHES = {
    "4.3.1": "Data-dependent knowledge distillation",
    "4.3.2": "Data-efficient knowledge distillation",
}
WORKS = {  # the survey's numbers: works named beside the others, first and last
    "Knowledge from Logits": ((11, 27), 452, 460),
    "Knowledge from Intermediate Layers": ((28,), 461, 466),
    "Multi-Teacher Knowledge Distillation": ((), 467, 474),
    "Teacher-Free Knowledge Distillation": ((), 475, 481),
    "Privileged Knowledge Distillation": ((), 482, 487),
    "GANs-based Knowledge Distillation": ((), 488, 494),
    "Few-Sample Knowledge Distillation": ((33,), 495, 500),
}


def figure_24() -> Figure:
    """Return the tree, a line for each name."""
    lines = method_lines(BRANCHES, {"distillation"}, WORKS, range(452, 501))
    return draw_tree([(0, "Network distillation"), *lines])


def figure_25(measured: dict[str, float]) -> Figure:
    """Return the drawing of teacher and student.

    Args:
        measured: Mean test accuracy, 0 to 1, of ``teacher``, ``alone`` and ``KD``.
    """
    fig, ax = plt.subplots(figsize=(7.2, 3.6))
    percent = {name: f"{100 * value:.1f} %" for name, value in measured.items()}
    _box(ax, (0.2, 2.6), 1.3, "images")
    _box(ax, (2.2, 4.2), 2.2, f"teacher, finished\ntest {percent['teacher']}")
    _box(ax, (2.2, 1.0), 2.2, f"student, learns\ntest {percent['KD']}")
    _box(ax, (5.1, 4.2), 1.9, "softmax at T\np")
    _box(ax, (5.1, 1.0), 1.9, "softmax at T\nq")
    _box(ax, (7.6, 2.6), 2.2, "T$^2$ KL(p || q)")
    _box(ax, (7.6, -0.4), 2.2, "cross-entropy\nwith the label")
    for start, end in (
        ((1.5, 3.3), (2.2, 4.6)),
        ((1.5, 2.7), (2.2, 1.6)),
        ((4.4, 4.8), (5.1, 4.8)),
        ((4.4, 1.6), (5.1, 1.6)),
        ((7.0, 4.6), (7.9, 3.8)),
        ((7.0, 1.8), (7.9, 2.6)),
        ((4.4, 1.1), (7.6, 0.2)),
    ):
        _arrow(ax, start, end)
    ax.text(3.3, 0.4, f"alone it gets {percent['alone']}", ha="center", fontsize=8)
    ax.set(xlim=(0, 10), ylim=(-0.6, 5.6))
    ax.axis("off")
    return fig


def accuracies() -> dict[str, float]:
    """Return the mean test accuracy over seeds of the three networks of Fig. 25."""
    named: dict[str, list[float]] = defaultdict(list)
    for row in read_table(data_path("results/distillation_gains.csv")):
        if row["setting"] == "chosen":
            named[row["method"]].append(float(row["test"]))
    return {name: mean(named[name]) for name in ("teacher", "alone", "KD")}


def _box(ax: Axes, corner: tuple[float, float], width: float, text: str) -> None:
    x, y = corner
    frame = Rectangle(corner, width, 1.2, fill=False, edgecolor=COLOURS.blue)
    ax.add_patch(frame)
    ax.text(x + width / 2, y + 0.6, text, ha="center", va="center", fontsize=9)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "->", "color": COLOURS.blue}
    ax.annotate("", xy=end, xytext=start, arrowprops=style)


if __name__ == "__main__":
    use_style()
    save_svg(figure_24(), f"{CHAPTER}/figure-24.svg")
    save_svg(figure_25(accuracies()), f"{CHAPTER}/figure-25.svg")
