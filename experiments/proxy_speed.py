"""The passes and the time of every zero-cost proxy, on one thread.

Two networks of the cell benchmark: the largest, and that of a cell in the middle. Batch
of 64 scenes, 32 of them for the kernel; four draws of 16 noise images for Zen; 3,000
crops of 3 x 3 pixels for the regions, in a network of one and two channels. All proxies
are timed in turn, so that a busy moment of the machine hits all of them. Run it alone.
"""

from __future__ import annotations

import statistics
import time
from functools import cache

import numpy as np
import torch

from _proxies import Proxy, drawn_, proxies, theory
from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import small_digits
from effdl.nas.cell_net import CellNet, small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.linear_regions import random_crops
from effdl.nas.proxies.passes import count_passes
from effdl.seed import seeded

BATCH, KERNEL_IMAGES, CROPS = 64, 32, 3000
WARM_UP, ROUNDS = 2, 20
CELLS = {
    "largest": Cell(("nor_conv_3x3",) * 6),
    "middle": Cell.parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|"
        "+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    ),
}
NAMES = (
    *("snip", "grad_norm", "grasp", "fisher", "synflow", "jacov", "epe", "naswot"),
    *("zen", "ntk", "regions"),
)


@cache
def calls(cell: str) -> tuple[CellNet, CellNet, dict[str, Proxy]]:
    """Return a network, its thin form, and what to call for each proxy."""
    train = small_digits().train
    with seeded(0):
        net = small_cell_net(CELLS[cell])
        thin = drawn_(small_cell_net(CELLS[cell], widths=(1, 2)), "fan_in", 0)
    images, labels = train.inputs[:BATCH], train.targets[:BATCH]
    crops = random_crops(train.inputs, np.random.default_rng(0), count=CROPS)
    found = proxies(net, images, labels, 0)
    return net, thin, found | theory(net, thin, images[:KERNEL_IMAGES], crops)


@cache
def timings(cell: str) -> dict[str, list[float]]:
    """Return seconds of every proxy, ascending, measured once, in turn."""
    torch.set_num_threads(1)
    _, _, proxies_of_cell = calls(cell)
    samples: dict[str, list[float]] = {name: [] for name in proxies_of_cell}
    for number in range(WARM_UP + ROUNDS):
        for name, call in proxies_of_cell.items():
            start = time.perf_counter()
            call()
            if number >= WARM_UP:
                samples[name].append(time.perf_counter() - start)
    return {name: sorted(taken) for name, taken in samples.items()}


def measure(cell: str, proxy: str, seed: int) -> Case:
    """Return passes and times of one proxy; the seed plays no part."""
    del seed
    net, thin, proxies_of_cell = calls(cell)
    passes = count_passes(thin if proxy == "regions" else net, proxies_of_cell[proxy])
    low, median, high = statistics.quantiles(timings(cell)[proxy], n=4)
    return {
        "forward": passes.forward,
        "backward": passes.backward,
        "inputs": passes.inputs,
        "milliseconds": 1e3 * median,
        "low": 1e3 * low,
        "high": 1e3 * high,
    }


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    cases = [{"cell": c, "proxy": p, "seed": 0} for c in CELLS for p in NAMES]
    fill_table(__file__, cases, measure)
