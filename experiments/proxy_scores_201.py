"""Zero-cost proxies of 200 cells of NAS-Bench-201, in a slim form of its network.

One cell a stage instead of five, 16 channels, and random images and labels: no CIFAR is
at hand, and what a proxy asks of the data is little. The accuracies that the scores are
held against are public; proxy_ranking_201.py does that.
"""

from __future__ import annotations

import numpy as np
import torch

from _proxies import drawn_, proxies, scores, theory
from _results import Case, fill_table
from effdl.nas.cell_classes import functional_form
from effdl.nas.cell_space import Cell, sample_cell
from effdl.nas.nas_bench_201 import nas_bench_201_net
from effdl.nas.proxies.linear_regions import random_crops
from effdl.seed import seeded

CELLS = 200
BATCH, KERNEL_IMAGES, CROPS = 32, 16, 3000


def sample() -> list[Cell]:
    """Return different connected cells, drawn uniformly from all."""
    random = np.random.default_rng(0)
    cells: list[Cell] = []
    while len(cells) < CELLS:
        cell = sample_cell(random)
        if cell not in cells and functional_form(cell) is not None:
            cells.append(cell)
    return cells


def measure(cell: str, seed: int) -> Case:
    """Return all scores of one network."""
    with seeded(seed):
        net = nas_bench_201_net(Cell.parse(cell), cells=1)
        thin = nas_bench_201_net(Cell.parse(cell), cells=1, width=1)
        images, labels = torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH) % 10
    crops = random_crops(images, np.random.default_rng(seed), count=CROPS, size=4)
    found = scores([proxies(net, images, labels, seed)])
    drawn_(net, "fan_out", seed)
    drawn_(thin, "fan_in", seed)
    return found | scores([theory(net, thin, images[:KERNEL_IMAGES], crops)])


if __name__ == "__main__":
    fill_table(__file__, [{"cell": str(cell), "seed": 0} for cell in sample()], measure)
