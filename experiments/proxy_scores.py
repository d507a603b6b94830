"""Zero-cost proxies of a sample of the benchmark's classes, three draws of weights.

Batch of 64 training scenes. The kernel is taken of 32 of them; regions are counted in
a network of one and two channels, on 3,000 crops of 3 x 3 pixels.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from _proxies import drawn_, proxies, scores, theory
from _results import Case, fill_table
from effdl.data.digits import Split, small_digits
from effdl.nas.cell_classes import representatives
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.linear_regions import random_crops
from effdl.seed import seeded

CELLS = 300
SEEDS = (0, 1, 2)
BATCH, KERNEL_IMAGES, CROPS = 64, 32, 3000


@cache
def train() -> Split:
    """Return the scenes that batches and crops come from."""
    return small_digits().train


def sample() -> list[Cell]:
    """Return classes of the benchmark, drawn without replacement."""
    cells = [cell for form, cell in representatives().items() if form is not None]
    rows = np.random.default_rng(0).choice(len(cells), CELLS, replace=False)
    return [cells[row] for row in rows]


def measure(cell: str, seed: int) -> Case:
    """Return all scores of one network."""
    with seeded(seed):
        net = small_cell_net(Cell.parse(cell))
        thin = small_cell_net(Cell.parse(cell), widths=(1, 2))
    images, labels = train().inputs[:BATCH], train().targets[:BATCH]
    crops = random_crops(train().inputs, np.random.default_rng(seed), count=CROPS)
    found = scores([proxies(net, images, labels, seed)])
    drawn_(net, "fan_out", seed)
    drawn_(thin, "fan_in", seed)
    return found | scores([theory(net, thin, images[:KERNEL_IMAGES], crops)])


if __name__ == "__main__":
    cases = [{"cell": str(cell), "seed": seed} for seed in SEEDS for cell in sample()]
    fill_table(__file__, cases, measure)
