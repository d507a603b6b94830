"""Draw the survey's Table 1 and its Fig. 14, beside the pages on search strategies.

    python experiments/search_table_figures.py

table-1.csv is the table with words for its heads and links to the methods;
search-results.svg has accuracy over hours and over multiply-adds, by strategy;
figure-14.svg shows the three freedoms of TF-NAS. The same code draws the same bytes.
"""

from __future__ import annotations

import csv

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from convolution_figures import PAGE, save
from effdl.labels import label_points
from effdl.plot import COLOURS, use_style
from effdl.tables import SearchMethod, load_search_methods

FOLDER = "../03-automated-networks"  # beside the folder of the other figures
STRATEGIES = {  # colour and mark, so that either is enough
    "Gradient": (COLOURS.blue, "o"),
    "Evolution": (COLOURS.green, "s"),
    "Reinforce": (COLOURS.vermillion, "^"),
}
COSTS = {"hours": "hours of search", "mega_macs": "multiply-adds, million"}
LOWEST = 74  # per cent; a row below is drawn at the edge
LABELS = {  # of the places on the pages where a method is explained
    "MnasNet": "erratum-mnasnet-space-1e39",
    "ProxylessNAS": "proxylessnas",
    "FBNet": "fbnet",
    "SP-NAS": "sp-nas",
    "LA-DARTS": "la-darts",
    "MDARTS": "mdarts",
    "EH-DNAS": "eh-dnas",
    "E-DNAS": "e-dnas",
    "SNAS": "s3nas-table1",
    "HSCoNAS": "hsconas",
    "DenseNAS": "densenas",
    "TF-NAS": "tf-nas",
    "HardCoRe-NAS": "hardcore-nas",
    "LightNAS": "lightnas",
    "SurgeNAS": "surgenas",
    "HURRICANE": "hurricane",
    "ProxyNAS": "proxynas-one-device",
}
HEADS = ("Method", "Space, strategy", "Searched on, hours", "Aimed at, costs from")
HEADS += ("MACs, million", "Top-1, %")
UNKNOWN = "n/a"


def main() -> None:
    """Write the table and both figures."""
    use_style()
    path = PAGE / FOLDER / "table-1.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerows([HEADS, *map(cells, load_search_methods())])
    save(results(), f"{FOLDER}/search-results.svg")
    save(freedoms(), f"{FOLDER}/figure-14.svg")


def cells(method: SearchMethod) -> tuple[str, ...]:
    """Return a row of the table as text; a dagger marks a row with an error."""
    name, label = method.method, LABELS.get(method.method)
    linked = f"{{ref}}`{name} <{label}>`" if label else name
    hours = f"{method.hours:,.1f} h".replace(".0 ", " ") if method.hours else UNKNOWN
    device = f" ({method.device})" if method.device else ""
    aims = ", ".join(method.targets).replace("Mobile P", "p").replace("Edge", "edge")
    costs = {"LUT": "table", "Predictor": "predictor"}.get(method.cost_model, UNKNOWN)
    return (
        linked + " †" * ("erratum" in method.note),
        f"{method.search_space}, {method.strategy}".lower(),
        f"{method.dataset}, {hours}{device}",
        f"{aims.replace('Customized A', 'customised a')}; {costs}",
        f"{method.mega_macs:.0f}" if method.mega_macs else UNKNOWN,
        f"{method.top1:.1f}" if method.top1 else UNKNOWN,
    )


def results() -> Figure:
    """Return accuracy over either cost, for the rows that have both."""
    fig, axes = plt.subplots(2, 1, figsize=(7.2, 6.4), sharey=True)
    for ax, (cost, words) in zip(axes, COSTS.items(), strict=True):
        rows = [m for m in load_search_methods() if getattr(m, cost) and m.top1]
        points = {}
        for method in rows:
            place = getattr(method, cost), max(method.top1 or 0, LOWEST + 0.1)
            mark(ax, method, place)
            low = f", {method.top1} %" * ((method.top1 or 0) < LOWEST)
            points[f"{method.method}{low}"] = place
        ax.set(xscale="log", xlabel=words, ylabel="top-1 accuracy, %")
        ax.set(ylim=(LOWEST - 0.1, 80.1))
        if cost == "mega_macs":
            ticks = (200, 300, 500, 800, 1300)
            ax.set_xticks(ticks, map(str, ticks))
            ax.set_xticks([], minor=True)
        ax.margins(x=0.12 if cost == "hours" else 0.06)
        label_points(ax, points, size=7)
    legend(axes[0])
    return fig


def mark(ax: Axes, method: SearchMethod, place: tuple[float, float]) -> None:
    """Draw one search; hollow if its row has an error, an arrow if it is far below."""
    colour, shape = STRATEGIES[method.strategy]
    face = "none" if "erratum" in method.note else colour
    shape = "v" if (method.top1 or 0) < LOWEST else shape
    ax.plot(*place, shape, color=colour, markerfacecolor=face, markersize=5)


def legend(ax: Axes) -> None:
    """Say what colours, marks and hollow marks mean."""
    styles = {
        name.lower(): {"color": colour, "marker": shape}
        for name, (colour, shape) in STRATEGIES.items()
    }
    hollow = {"color": COLOURS.grey, "marker": "o", "markerfacecolor": "none"}
    styles["a row with an error"] = hollow
    handles = [Line2D([], [], linestyle="", label=n, **s) for n, s in styles.items()]
    ax.legend(handles=handles, fontsize="small", loc="upper right")


def freedoms() -> Figure:
    """Return one panel for each freedom: operator, depth and width."""
    fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9))
    draw_operators(axes[0])
    draw_depth(axes[1])
    draw_width(axes[2])
    for ax, name in zip(axes, ("operator", "depth", "width"), strict=True):
        ax.set(title=name, xlim=(0, 10), ylim=(0, 10))
        ax.axis("off")
    return fig


def draw_operators(ax: Axes) -> None:
    """Draw a layer with four candidates, two of them drawn for one step."""
    names = ("k3 e3", "k3 e6", "k5 e3", "k5 e6")
    for y, name in zip((8.4, 6.2, 4.0, 1.8), names, strict=True):
        colour = {"k3 e6": COLOURS.blue, "k5 e3": COLOURS.vermillion}.get(name)
        width = 2.0 if colour else 0.8
        colour = colour or COLOURS.grey
        box(ax, (5, y), name, colour, width)
        for start, end in (((0.6, 5), (3.7, y)), ((6.3, y), (9.4, 5))):
            line(ax, start, end, colour, width)


def draw_depth(ax: Axes) -> None:
    """Draw a stage of three blocks; each of them may be the last one."""
    heights = (8.4, 5.9, 3.4)
    for number, y in enumerate(heights, start=1):
        chosen = number <= 2
        colour = COLOURS.blue if chosen else COLOURS.grey
        box(ax, (3, y), f"block {number}", colour, 2.0 if chosen else 0.8)
        above = heights[number - 2] - 0.8 if number > 1 else 10
        line(ax, (3, above), (3, y + 0.8), colour, 2.0 if chosen else 0.8)
        out = COLOURS.vermillion if number == 2 else COLOURS.grey
        line(ax, (4.4, y), (7.6, 1.2), out, 2.0 if number == 2 else 0.8)
    ax.text(8.2, 0.9, "sink", ha="center", va="top", size=9)


def draw_width(ax: Axes) -> None:
    """Draw the channels of two blocks before and after they were scaled to fit."""
    ax.plot([7.3, 7.3], [1.2, 8.2], color=COLOURS.grey, linestyle=":")
    ax.text(7.3, 8.5, "target", ha="center", size=9)
    ax.text(0.8, 0.5, "time of two blocks", size=9)
    for y, length, words in ((6.2, 8.4, "too slow"), (2.4, 6.2, "fits")):
        colour = COLOURS.vermillion if length > 7.3 else COLOURS.blue
        for row, share in ((0.75, 0.55), (-0.75, 0.45)):
            left = 0.8 if row > 0 else 0.8 + 0.55 * (length - 0.8)
            size = share * (length - 0.8)
            corner = (left, y - 0.35)
            ax.add_patch(Rectangle(corner, size, 0.7, fill=False, ec=colour, lw=1.5))
        ax.text(0.8, y + 0.75, words, size=9, color=colour)


def box(
    ax: Axes, middle: tuple[float, float], name: str, colour: str, width: float
) -> None:
    """Write a name in a round box."""
    style = {"boxstyle": "round", "facecolor": "none", "edgecolor": colour}
    ax.text(
        *middle,
        name,
        color=colour,
        ha="center",
        va="center",
        size=9,
        bbox=style | {"linewidth": width},
    )


def line(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    width: float,
) -> None:
    """Draw an arrow."""
    style = {"arrowstyle": "->", "color": colour, "linewidth": width}
    ax.annotate("", end, start, arrowprops=style)


if __name__ == "__main__":
    main()
