"""Draw who quantizes what: the survey's Fig. 21.

    python experiments/quantization_figures.py

figure-21.svg is the tree of the methods of section 4.2 that this book has, from
data/survey/index.csv. Beside each topic stand the survey's numbers of the works that it
names there. The same code draws the same bytes.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from _figures import draw_tree, method_lines, save_svg
from effdl.plot import use_style

CHAPTER = "04-network-compression"
METHODS = {"quantization", "algorithm", "framework"}  # kinds of rows
BRANCHES = {
    "4.2.1": "Quantized networks",
    "4.2.2": "Quantization extensions and implementations",
}
WORKS = {  # the survey's numbers, first and last; [414] also is the seminal one of QAT
    "Binarized Networks": ((), 394, 400),
    "Ternarized Networks": ((), 401, 408),
    "INT8 Quantization": ((), 409, 414),
    "Mixed-Precision Networks": ((), 415, 421),
    "Quantization-Aware Training": ((), 422, 427),
    "Automated Mixed-Precision Quantization": ((), 428, 436),
    "Quantization-Aware Accelerators": ((), 437, 446),
}


def figure_21() -> Figure:
    """Return the tree, a line for each name."""
    lines = method_lines(BRANCHES, METHODS, WORKS, range(394, 447))
    return draw_tree([(0, "Network quantization"), *lines])


if __name__ == "__main__":
    use_style()
    save_svg(figure_21(), f"{CHAPTER}/figure-21.svg")
