"""Train the cells of the benchmark: data/cellbench/trainings.npz.

    python experiments/build_cellbench.py                     all classes, seeds 0 1 2
    python experiments/build_cellbench.py --seeds 3 4 --top 300
    python experiments/build_cellbench.py --card              on a graphics card

Classes of cells that compute the same are trained once. First come those without
average pooling. Every training is written to a shard, and the shards into the table, so
that an interrupted run goes on where it was; run it again with nothing to do and it
ends at once. One process a core, one thread each, through joblib: inside
``joblib.parallel_config(backend="dask")`` or ``"ray"`` the same code uses a cluster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import torch

from _results import DATA, origin
from _shards import Arrays, as_numbers, pack, read_table, write_shard
from effdl.data.digits import Digits, small_digits
from effdl.data.files import write_sums
from effdl.nas.cell_classes import representatives
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.cellbench import MISSING, SECONDS_UNIT
from effdl.nas.together import train_together
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

FOLDER = DATA / "cellbench"
EPOCHS = 10
SHARD = 40  # trainings, about two minutes of one core
STACK = 5043  # trainings at once on a graphics card

Job = tuple[int, int]  # number of a cell, seed


def main() -> None:
    """Train what is missing, pack it, and say how much is done."""
    options = _options()
    (FOLDER / "shards").mkdir(parents=True, exist_ok=True)
    classes = trained_classes()
    pack(FOLDER, classes)
    jobs = missing_jobs(classes, options.seeds, options.top)
    print(f"{len(jobs)} trainings to do", flush=True)
    how = on_card(jobs) if options.card else on_cores(jobs, options.jobs)
    start, done = time.monotonic(), 0
    for count in how:
        done += count
        spent = time.monotonic() - start
        left = spent / done * (len(jobs) - done)
        told = f"{done} of {len(jobs)}, {spent / 60:.0f} min, {left / 60:.0f} min left"
        print(told, flush=True)
        if spent > 60 * options.minutes:
            break
    total = pack(FOLDER, classes)
    write_sums(DATA)
    print(f"{total} trainings in the table")


@cache
def trained_classes() -> list[int]:
    """Return the cell of each of the 5,043 classes, those without pooling first."""
    cells = [cell for form, cell in representatives().items() if form is not None]
    return [c.index for c in sorted(cells, key=lambda c: c.count("avg_pool_3x3") > 0)]


def missing_jobs(classes: list[int], seeds: Iterable[int], top: int) -> list[Job]:
    """Return the trainings that the table lacks, seed by seed.

    Args:
        classes: All cells of the table, in its order.
        seeds: Of the first weights and the order of images.
        top: Only the so many best by mean validation accuracy; 0 means all.
    """
    table = read_table(FOLDER, classes)
    chosen = np.arange(len(classes))
    if top:
        last = table["curves"][:, :, -1].astype(float)
        last[last == MISSING] = np.nan
        chosen = np.argsort(-np.nanmean(last, axis=1), kind="stable")[:top]
    lacking = table["test"] == MISSING
    return [
        (classes[row], seed) for seed in seeds for row in chosen if lacking[row, seed]
    ]


def on_cores(jobs: Sequence[Job], cores: int) -> Iterator[int]:
    """Train shard by shard, several at once; yield how many trainings each had."""
    work = (joblib.delayed(train_shard)(shard) for shard in _slices(jobs, SHARD))
    parallel = joblib.Parallel(n_jobs=cores, return_as="generator_unordered")
    yield from parallel(work)


def on_card(jobs: Sequence[Job]) -> Iterator[int]:
    """Train many at once on the graphics card; yield how many."""
    for stack in _slices(jobs, STACK):
        start = time.monotonic()
        cells, seeds = [Cell.numbered(cell) for cell, _ in stack], [s for _, s in stack]
        card = torch.device("cuda")
        made = train_together(cells, seeds, scenes(), epochs=EPOCHS, device=card)
        seconds = np.full(len(stack), (time.monotonic() - start) / len(stack))
        numbers = as_numbers(made.losses, made.curves, made.test)
        keep(stack, numbers, seconds, torch.cuda.get_device_name())
        yield len(stack)


def train_shard(jobs: Sequence[Job]) -> int:
    """Train the networks one after another on one core and keep the results."""
    torch.set_num_threads(1)
    rows, seconds = [], []
    for number, seed in jobs:
        start = time.process_time()
        rows.append(train_one(Cell.numbered(number), seed, scenes()))
        seconds.append(time.process_time() - start)
    columns = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    keep(jobs, as_numbers(*columns), np.array(seconds), None)
    return len(jobs)


def train_one(
    cell: Cell, seed: int, digits: Digits
) -> tuple[list[float], list[float], float]:
    """Return losses, validation accuracies of all epochs, and the test accuracy."""
    with seeded(seed):
        net = small_cell_net(cell)
    curve: list[float] = []
    steps = 0

    def after_step() -> None:
        nonlocal steps
        steps += 1
        if steps % len(digits.train.batches(100)) == 0:
            curve.append(accuracy(net, digits.validation.batches(500)))

    losses = train_classifier(
        net, digits.train, epochs=EPOCHS, seed=seed, after_step=after_step
    )
    return losses, curve, accuracy(net, digits.test.batches(500))


def keep(
    jobs: Sequence[Job], numbers: Arrays, seconds: np.ndarray, device: str | None
) -> None:
    """Write a shard of trainings."""
    cells, seeds = zip(*jobs, strict=True)
    numbers |= {"cell": np.array(cells), "seed": np.array(seeds)}
    numbers["seconds"] = np.rint(seconds / SECONDS_UNIT).astype(np.int64)
    made_by = origin(Path(__file__)) | ({"processor": device} if device else {})
    name = f"{cells[0]:05d}-{seeds[0]}-{len(jobs)}.npz"
    write_shard(FOLDER / "shards" / name, numbers, made_by)


@cache
def scenes() -> Digits:
    """Return the data of all trainings."""
    return small_digits()


def _slices(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    for first in range(0, len(jobs), size):
        yield jobs[first : first + size]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the benchmark's cells.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--top", type=int, default=0, help="only the best so many")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count())
    parser.add_argument("--card", action="store_true", help="use a graphics card")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after")
    return parser.parse_args()


if __name__ == "__main__":
    main()
