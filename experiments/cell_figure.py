"""Draw one cell twice, as SVG beside the page on cells: the survey's Fig. 7.

    python experiments/cell_figure.py

figure-7.svg shows a cell of two nodes as NASNet describes it, with the operators on
nodes, and as DARTS does, with the operators on edges. Both are drawn from the objects
that search and build with them, the one translated from the other. The same code draws
the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from _figures import save_svg
from effdl.nas.darts_space import DartsCell
from effdl.nas.draw_cells import draw_on_edges, draw_on_nodes
from effdl.nas.nasnet_darts import blocks_from_darts
from effdl.plot import use_style

PAGE = Path(__file__).parents[1] / "book" / "03-automated-networks"
CELL = DartsCell.from_pairs([
    ("sep_conv_3x3", 0),
    ("skip_connect", 1),
    ("max_pool_3x3", 1),
    ("sep_conv_5x5", 2),
])


def main() -> None:
    """Draw the figure and write it beside the page."""
    use_style()
    save_svg(drawing(CELL), "03-automated-networks/figure-7.svg")


def drawing(cell: DartsCell) -> Figure:
    """Return both descriptions of a cell, side by side."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
    draw_on_nodes(left, blocks_from_darts(cell))
    left.set_title("NASNet: operators on nodes")
    draw_on_edges(right, cell)
    right.set_title("DARTS: operators on edges")
    return fig


if __name__ == "__main__":
    main()
