"""What every class of the cell benchmark costs: data/cellbench/costs.csv.

    python experiments/cell_costs.py            classes that the table lacks
    python experiments/cell_costs.py --again    all times again

Parameters, multiply-adds and peak activation bytes of one image; the time of a forward
pass of 1 and of 64 images, of a training step, and from these the seconds of a whole
training. One thread. Run it alone: a second program on the machine changes the times.

Times are taken in two rounds, each in another random order, in blocks of classes that
are timed in turn. A slow minute of the machine then hits half of the samples of a few
classes of all kinds, and shows in their spread. A training step is timed in the first
round only; of an earlier run and this one, the shorter training counts.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import SGD

from _results import DATA, Row, origin, read_table, write_table
from build_cellbench import EPOCHS, scenes, trained_classes
from effdl.data.files import write_sums, write_text_whole
from effdl.measure.count import parameter_count
from effdl.measure.latency import latency
from effdl.measure.macs import count_macs
from effdl.measure.memory import peak_activation_bytes
from effdl.nas.cell_net import CellNet, small_cell_net
from effdl.nas.cell_space import Cell

COSTS = DATA / "cellbench" / "costs.csv"
ROUNDS = 2
BLOCK = 40  # classes timed in turn
STEPS_PER_EPOCH, EVALUATED = 30, EPOCHS * 1000 + 2000  # of one training

Samples = dict[str, dict[str, list[float]]]  # seconds by what was timed and by cell


def main() -> None:
    """Measure, write the table, and note down how."""
    parser = argparse.ArgumentParser(description="Costs of the benchmark's classes.")
    parser.add_argument("--again", action="store_true", help="take all times again")
    torch.set_num_threads(1)
    cells = [Cell.numbered(number) for number in trained_classes()]
    old = {row["cell"]: row for row in read_table(COSTS)}
    again = parser.parse_args().again or len(old) < len(cells)
    if not again:
        return
    start = time.monotonic()
    samples: Samples = {name: {} for name in ("1", "64", "step")}
    for number in range(ROUNDS):
        take_times(cells, samples, number, start)
    rows = [old.get(str(c)) or counts(c) for c in cells]
    for cell, row in zip(cells, rows, strict=True):
        found = times({name: taken[str(cell)] for name, taken in samples.items()})
        before = float(row.get("seconds", "inf"))
        found["seconds"] = f"{min(before, float(found['seconds'])):.3g}"
        row |= found
    write_table(COSTS, rows)
    _write_origin(time.monotonic() - start, len(cells))
    write_sums(DATA)


def take_times(
    cells: Sequence[Cell], samples: Samples, number: int, start: float
) -> None:
    """Add a few samples of every class, in a random order of this round."""
    images = scenes().train.inputs
    order = np.random.default_rng(number).permutation(len(cells))
    for first in range(0, len(cells), BLOCK):
        block = [cells[place] for place in order[first : first + BLOCK]]
        nets = {str(cell): small_cell_net(cell) for cell in block}
        taken = {
            name: latency(nets, images[: int(name)], repeats=3, sample_seconds=1e-3)
            for name in ("1", "64")
        }
        if number == 0:
            steps = {name: training_step(net) for name, net in nets.items()}
            taken["step"] = latency(
                steps, images[:100], repeats=2, warmup=1, sample_seconds=1e-3
            )
        for name, found in taken.items():
            for cell, times_of in found.items():
                samples[name].setdefault(cell, []).extend(times_of.samples)
        done = number + (first + len(block)) / len(cells)
        left = (time.monotonic() - start) * (ROUNDS / done - 1) / 60
        print(
            f"round {number + 1}, {first + len(block)}, {left:.1f} min left", flush=True
        )


def counts(cell: Cell) -> Row:
    """Return what can be counted."""
    net, image = small_cell_net(cell), scenes().train.inputs[:1]
    return {
        "cell": str(cell),
        "parameters": str(parameter_count(net)),
        "macs": str(count_macs(net, image).total),
        "peak_bytes": str(peak_activation_bytes(net, image)),
    }


def times(seconds: dict[str, list[float]]) -> Row:
    """Return medians, quartile distances, and the seconds of a training."""
    one, many, step = (seconds[name] for name in ("1", "64", "step"))
    training = EPOCHS * STEPS_PER_EPOCH * statistics.median(step)
    training += EVALUATED / 64 * statistics.median(many)
    return {
        "latency_1": f"{statistics.median(one):.3e}",
        "latency_1_spread": f"{_spread(one):.1e}",
        "latency_64": f"{statistics.median(many):.3e}",
        "latency_64_spread": f"{_spread(many):.1e}",
        "seconds": f"{training:.3g}",
    }


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


def _spread(samples: list[float]) -> float:
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return high - low


def _write_origin(seconds: float, classes: int) -> None:
    text = io.StringIO()
    row = {"classes": classes, "seconds": f"{seconds:.0f}"} | origin(Path(__file__))
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    write_text_whole(COSTS.with_name("costs_provenance.csv"), text.getvalue())


if __name__ == "__main__":
    main()
