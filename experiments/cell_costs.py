"""What every class of the cell benchmark costs: data/cellbench/costs.csv.

Parameters, multiply-adds and peak activation bytes of one image; the time of a forward
pass of 1 and of 64 images, of a training step, and from these the seconds of a whole
training. One thread. Run it alone: a second program on the machine changes the times.

Classes come in random order, a block in turn, so that a slow minute of the machine
hits all kinds of cells. A run that was interrupted goes on where it was.
"""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import SGD

from _results import DATA, Row, origin, read_table, write_table
from build_cellbench import EPOCHS, scenes, trained_classes
from effdl.data.files import write_sums, write_text_whole
from effdl.measure.count import parameter_count
from effdl.measure.latency import Latency, latency
from effdl.measure.macs import count_macs
from effdl.measure.memory import peak_activation_bytes
from effdl.nas.cell_net import CellNet, small_cell_net
from effdl.nas.cell_space import Cell

COSTS = DATA / "cellbench" / "costs.csv"
BLOCK = 40  # classes timed in turn
REPEATS = 5
SAMPLE = 0.002  # seconds


def main() -> None:
    """Measure the classes that the table lacks."""
    torch.set_num_threads(1)
    cells = [Cell.numbered(number) for number in trained_classes()]
    done = {row["cell"]: row for row in read_table(COSTS)}
    missing = [cell for cell in cells if str(cell) not in done]
    order = np.random.default_rng(0).permutation(len(missing))
    missing = [missing[place] for place in order]
    start = time.monotonic()
    for first in range(0, len(missing), BLOCK):
        block = missing[first : first + BLOCK]
        for cell, row in zip(block, measured(block), strict=True):
            done[str(cell)] = {"cell": str(cell)} | row
        write_table(COSTS, [done[str(c)] for c in cells if str(c) in done])
        spent, count = time.monotonic() - start, first + len(block)
        left = spent / count * (len(missing) - count) / 60
        print(f"{count} of {len(missing)}, {left:.1f} min left", flush=True)
    if missing:
        _write_origin(time.monotonic() - start, len(missing))
    write_sums(DATA)


def measured(cells: list[Cell]) -> list[Row]:
    """Return the costs of some cells, their times taken in turn."""
    nets = {str(cell): small_cell_net(cell) for cell in cells}
    images = scenes().train.inputs
    times = {
        batch: latency(nets, images[:batch], repeats=REPEATS, sample_seconds=SAMPLE)
        for batch in (1, 64)
    }
    steps = {name: training_step(net) for name, net in nets.items()}
    step_times = latency(steps, images[:100], repeats=REPEATS, sample_seconds=SAMPLE)
    rows = []
    for name, net in nets.items():
        one, many = times[1][name], times[64][name]
        passes = (EPOCHS * 1000 + 2000) / 64  # to evaluate
        training = EPOCHS * 30 * step_times[name].median + passes * many.median
        rows.append({
            "parameters": str(parameter_count(net)),
            "macs": str(count_macs(net, images[:1]).total),
            "peak_bytes": str(peak_activation_bytes(net, images[:1])),
            "latency_1": f"{one.median:.3e}",
            "latency_1_spread": f"{_spread(one):.1e}",
            "latency_64": f"{many.median:.3e}",
            "latency_64_spread": f"{_spread(many):.1e}",
            "seconds": f"{training:.3g}",
        })
    return rows


def training_step(net: CellNet) -> Callable[[torch.Tensor], None]:
    """Return a function that does one step of the benchmark's training."""
    targets = scenes().train.targets[:100]
    sgd = SGD(net.parameters(), 1e-3, 0.9, 0, 5e-4, nesterov=True)

    def step(images: torch.Tensor) -> None:
        with torch.inference_mode(mode=False):  # latency() turns gradients off
            net.train()
            sgd.zero_grad()
            F.cross_entropy(net(images.clone()), targets).backward()
            sgd.step()

    return step


def _spread(times: Latency) -> float:
    return times.high - times.low


def _write_origin(seconds: float, classes: int) -> None:
    text = io.StringIO()
    row = {"classes": classes, "seconds": f"{seconds:.0f}"} | origin(Path(__file__))
    row["median_latency_1"] = statistics.median(
        float(line["latency_1"]) for line in read_table(COSTS)
    )
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    write_text_whole(COSTS.with_name("costs_provenance.csv"), text.getvalue())


if __name__ == "__main__":
    main()
