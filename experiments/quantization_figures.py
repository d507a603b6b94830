"""Draw who quantizes what: the survey's Fig. 21.

    python experiments/quantization_figures.py

figure-21.svg is the tree of the methods of section 4.2 that this book has, from
data/survey/index.csv. Beside each topic stand the survey's numbers of the works that it
names there. The same code draws the same bytes.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

from matplotlib.figure import Figure

from _figures import draw_tree, save_svg
from effdl.plot import use_style

INDEX = Path(__file__).parents[1] / "data" / "survey" / "index.csv"
CHAPTER = "04-network-compression"
METHODS = {"quantization", "algorithm", "framework"}  # kinds of rows
BRANCHES = {
    "4.2.1": "Quantized networks",
    "4.2.2": "Quantization extensions and implementations",
}
WORKS = {  # the survey's numbers, first and last; [414] also is the seminal one of QAT
    "Binarized Networks": (394, 400),
    "Ternarized Networks": (401, 408),
    "INT8 Quantization": (409, 414),
    "Mixed-Precision Networks": (415, 421),
    "Quantization-Aware Training": (422, 427),
    "Automated Mixed-Precision Quantization": (428, 436),
    "Quantization-Aware Accelerators": (437, 446),
}
Tree = dict[str, dict[str, list[str]]]


def methods(rows: list[dict[str, str]]) -> Tree:
    """Return the names of methods by section and topic, each of them once.

    Raises:
        ValueError: If the index has none, or a topic that the survey does not.
    """
    tree: Tree = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["section"] in BRANCHES and row["kind"] in METHODS:
            tree[row["section"]][row["topic"]].append(row["name"])
    found = {topic for topics in tree.values() for topic in topics}
    if found != set(WORKS):
        differ = ", ".join(sorted(found ^ set(WORKS)))
        raise ValueError(f"the topics of index and survey differ: {differ}")
    return {section: tree[section] for section in BRANCHES}


def check_works() -> None:
    """Require that every work of section 4.2, [394] to [446], stands once.

    Raises:
        ValueError: If it does not.
    """
    seen = Counter(n for low, high in WORKS.values() for n in range(low, high + 1))
    wrong = [n for n in range(394, 447) if seen[n] != 1]
    if wrong:
        raise ValueError(f"works {wrong} do not stand in the tree once")


def figure_21(index: Path = INDEX) -> Figure:
    """Return the tree, a line for each name."""
    check_works()
    with index.open(encoding="utf-8", newline="") as file:
        tree = methods(list(csv.DictReader(file)))
    lines = [(0, "Network quantization")]
    for section, topics in tree.items():
        lines.append((1, BRANCHES[section]))
        for topic, names in topics.items():
            first, last = WORKS[topic]
            lines.append((2, f"{topic} [{first}-{last}]"))
            lines += [(3, name) for name in names]
    return draw_tree(lines)


if __name__ == "__main__":
    use_style()
    save_svg(figure_21(), f"{CHAPTER}/figure-21.svg")
