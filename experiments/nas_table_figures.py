"""Draw the survey's Tables 1 and 2, as SVG beside the page on benchmarks.

    python experiments/nas_table_figures.py

benchmark-sizes.svg has the number of architectures of each benchmark by its kind;
search-costs.svg has the accuracy of each search over its hours. Rows with an error are
hollow. The same code draws the same bytes.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from convolution_figures import save
from effdl.plot import COLOURS, use_style
from effdl.tables import SearchMethod, load_benchmarks, load_search_methods

FOLDER = "../03-automated-networks"  # beside the folder of the other figures
LAPTOP = 8e9 / 4  # architectures, with four bytes for each in 8 GB
KINDS = {"table": COLOURS.blue, "model": COLOURS.vermillion}
STRATEGIES = {
    "Gradient": COLOURS.blue,
    "Evolution": COLOURS.green,
    "Reinforce": COLOURS.vermillion,
}
RAISED = {"DenseNAS": 6, "TF-NAS": -6, "SP-NAS": 4}  # labels, in printer's points


def main() -> None:
    """Write both figures."""
    use_style()
    save(sizes(), f"{FOLDER}/benchmark-sizes.svg")
    save(searches(), f"{FOLDER}/search-costs.svg")


def sizes() -> Figure:
    """Return one row for each benchmark with a size, the smallest first."""
    rows = [row for row in load_benchmarks() if row.size and row.exact_size]
    rows.sort(key=lambda row: row.exact_size or 0)
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    for place, row in enumerate(rows):
        colour = KINDS["table" if row.tabular else "model"]
        face = "none" if "erratum" in row.note else colour
        ax.plot(row.exact_size, place, "o", color=colour, markerfacecolor=face)
    ax.axvline(LAPTOP, color=COLOURS.grey, linestyle=":")
    ax.text(2 * LAPTOP, 0, "8 GB, at four bytes each", fontsize="small")
    names = [f"{r.benchmark}{' (FBNet)' * (r.exact_size == 9.85e20)}" for r in rows]
    ax.set(xscale="log", xlabel="architectures", yticks=range(len(rows)))
    ax.set_yticklabels(names, fontsize="small")
    legend(
        ax, {f"the survey says: {kind}": c for kind, c in KINDS.items()}, "lower right"
    )
    return fig


def searches() -> Figure:
    """Return accuracy over hours for every row of Table 1 that has both."""
    rows = [m for m in load_search_methods() if m.hours and m.top1]
    fig, ax = plt.subplots(figsize=(7.2, 3.6))
    for method in rows:
        mark(ax, method)
    ax.set(xscale="log", xlabel="hours of search, each row on its own device")
    ax.set(ylabel="top-1 accuracy, %", ylim=(73.9, 80.1), xlim=(6, 120_000))
    legend(ax, STRATEGIES, "upper right")
    return fig


def mark(ax: Axes, method: SearchMethod) -> None:
    """Draw one search and its name; one far below gets an arrow down."""
    colour = STRATEGIES[method.strategy]
    low = (method.top1 or 0) < 74
    height = 74.1 if low else method.top1
    face = "none" if "erratum" in method.note else colour
    ax.plot(method.hours, height, "v" if low else "o", color=colour, mfc=face, ms=4)
    name = f"{method.method}, {method.top1} %" if low else method.method
    left = method.method == "SP-NAS"
    ax.annotate(
        name,
        (method.hours or 0, height or 0),
        xytext=(-5 if left else 5, RAISED.get(method.method, 0)),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize="x-small",
    )


def legend(ax: Axes, colours: dict[str, str], place: str) -> None:
    """Say what colours and hollow points mean."""
    points = {name: {"color": colour} for name, colour in colours.items()}
    points["a row with an error"] = {"color": COLOURS.grey, "markerfacecolor": "none"}
    handles = [
        Line2D([], [], linestyle="", marker="o", label=name, **style)
        for name, style in points.items()
    ]
    ax.legend(handles=handles, fontsize="small", loc=place)


if __name__ == "__main__":
    main()
