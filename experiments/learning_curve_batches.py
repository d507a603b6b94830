"""Training losses batch by batch: the first two epochs of cells of the benchmark.

The benchmark keeps the mean loss of every epoch. Proxies that look at batches need
more: here are 60 losses of 24 cells for each seed, which also decides on the cells.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import Digits, small_digits
from effdl.nas.cell_classes import representatives
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.seed import seeded
from effdl.train import fit, warm_up_cosine

CELLS, EPOCHS, OF_EPOCHS, BATCH = 24, 2, 10, 100


@cache
def scenes() -> Digits:
    """Return the images of the benchmark."""
    return small_digits()


def drawn(seed: int) -> list[Cell]:
    """Return cells of different function, drawn at random."""
    known = sorted(cell for form, cell in representatives().items() if form is not None)
    chosen = np.random.default_rng(seed).choice(len(known), CELLS, replace=False)
    return [known[place] for place in chosen]


def measure(cell: str, seed: int) -> Case:
    """Return the losses of a training that ends early, with the whole's schedule."""
    with seeded(seed):
        net = small_cell_net(Cell.parse(cell))
    batches = scenes().train.batches(BATCH, seed=seed)
    steps = OF_EPOCHS * len(batches)
    sgd = SGD(net.parameters(), 0.1, 0.9, 0, 5e-4, nesterov=True)
    schedule = LambdaLR(sgd, lambda step: warm_up_cosine(step, steps))
    losses: list[float] = []

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        loss = F.cross_entropy(net(inputs), targets)
        losses.append(loss.item())
        return loss

    fit(net, loss_of, batches, sgd, epochs=EPOCHS, after_step=schedule.step)
    return {"losses": " ".join(f"{loss:.5f}" for loss in losses)}


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases = [{"cell": str(cell), "seed": s} for s in seeds for cell in drawn(s)]
    fill_table(__file__, cases, measure)
