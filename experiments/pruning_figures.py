"""Draw what pruning is, and who does it: the survey's Figs. 17 and 19.

    python experiments/pruning_figures.py

figure-17.svg is one small network, trained on digit scenes of nine numbers each, after
four kinds of pruning; every line is a weight that is left. figure-19.svg is the tree of
the methods of section 4.1 that this book has, from data/survey/index.csv. The same code
draws the same bytes.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from _figures import draw_tree, save_svg
from effdl.blocks import plain_mlp
from effdl.data.digits import Split, moved_digits
from effdl.plot import use_style
from effdl.prune.draw_masks import draw_masks, without_unit
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.thresholds import layer_masks
from effdl.seed import seeded
from effdl.train import train_classifier

INDEX = Path(__file__).parents[1] / "data" / "survey" / "index.csv"
CHAPTER = "04-network-compression"
WIDTHS = (9, 6, 6, 6, 10)
METHODS = {"pruning", "algorithm", "framework", "llm-pruning"}  # kinds of rows
BRANCHES = {"4.1.1": "Non-structured pruning", "4.1.2": "Structured pruning"}


def trained_weights() -> dict[str, Tensor]:
    """Return the sizes of the weights of a small trained network."""
    scenes = moved_digits(n_train=2000).train
    pooled = F.adaptive_avg_pool2d(scenes.inputs, 3)
    with seeded(0):
        net = plain_mlp(WIDTHS)
    train_classifier(net, Split(pooled, scenes.targets), epochs=10)
    return magnitude_scores(net)


def figure_17() -> Figure:
    """Return four drawings of one network."""
    scores = trained_weights()
    weights = tuple(scores.values())
    smaller = weights
    for layer in range(len(weights) - 1):
        for _ in range(2):
            weakest = int(smaller[layer].sum(dim=1).argmin())
            smaller = without_unit(smaller, layer, weakest)
    kinds = {
        "no pruning": weights,
        "weights": tuple(layer_masks(scores, 0.6).values()),
        "channels": smaller,
        "a layer": (*weights[:1], *weights[2:]),
    }
    fig, axes = plt.subplots(1, 4, figsize=(8, 2.4), sharex=True, sharey=True)
    for ax, (name, left) in zip(axes, kinds.items(), strict=True):
        lines = draw_masks(ax, [weight > 0 for weight in left])
        ax.set_title(f"{name}\n{lines} weights")
    return fig


def methods(rows: list[dict[str, str]]) -> dict[str, dict[str, list[str]]]:
    """Return the names of methods by section and topic, each of them once."""
    tree: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["section"] in BRANCHES and row["kind"] in METHODS:
            tree[row["section"]][row["topic"]].append(row["name"])
    return tree


def figure_19() -> Figure:
    """Return the tree, a line for each name."""
    with INDEX.open(encoding="utf-8", newline="") as file:
        tree = methods(list(csv.DictReader(file)))
    lines = [(0, "Network pruning")]
    for section, topics in tree.items():
        lines.append((1, BRANCHES[section]))
        for topic, names in topics.items():
            lines.append((2, topic))
            lines += [(3, name) for name in names]
    return draw_tree(lines)


if __name__ == "__main__":
    use_style()
    torch.set_num_threads(1)
    save_svg(figure_17(), f"{CHAPTER}/figure-17.svg")
    save_svg(figure_19(), f"{CHAPTER}/figure-19.svg")
