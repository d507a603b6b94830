"""What the pruning search of TE-NAS finds, for several draws of everything random.

Eight images for the kernel, 1,000 crops for the regions, three draws a round. The cell
that is left is looked up in the cell benchmark.
"""

from __future__ import annotations

import numpy as np

from _results import Case, fill_table
from effdl.data.digits import small_digits
from effdl.nas.proxies.linear_regions import random_crops
from effdl.nas.te_nas import prune_by_ntk_and_regions
from effdl.seed import seeded

IMAGES, CROPS = 8, 1000
SEEDS = range(8)


def measure(setting: str, seed: int) -> Case:
    """Return the cell that one search ends with."""
    del setting
    inputs = small_digits().train.inputs
    crops = random_crops(inputs, np.random.default_rng(seed), count=CROPS)
    with seeded(seed):
        found = prune_by_ntk_and_regions(inputs[IMAGES * seed :][:IMAGES], crops)
    return {"cell": str(found.cell), "evaluations": found.evaluations}


if __name__ == "__main__":
    cases = [{"setting": "three draws", "seed": seed} for seed in SEEDS]
    fill_table(__file__, cases, measure)
