"""Train many cells of the small network in one go, each as it would train alone.

Paper: the trainings that fill a table such as Dong and Yang's "NAS-Bench-201", ICLR
2020, https://arxiv.org/abs/2001.00326, are independent; see :mod:`effdl.nas.stacked`
for how they share each call.

A training of cell c and seed s is, by definition,

    with seeded(s): net = small_cell_net(c)
    train_classifier(net, digits.train, epochs=10, seed=s)

and this module runs R of them in one loop: the same first weights, the same order of
the images, the same schedule. On a graphics card, R in the thousands pays; on a
processor, one after the other is faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from effdl.checks import check_positive
from effdl.data.digits import Digits, Split
from effdl.nas.cell_space import Cell
from effdl.nas.stacked_nets import StackedNets
from effdl.train import warm_up_cosine

EVALUATED = 250  # images at once


@dataclass(frozen=True)
class Trainings:
    """What R trainings gave, in the order in which they were asked for.

    Attributes:
        losses: Mean training loss of each epoch, (R, epochs).
        curves: Validation accuracy after each epoch, (R, epochs).
        test: Test accuracy after the last epoch, (R,).
    """

    losses: NDArray[np.float32]
    curves: NDArray[np.float32]
    test: NDArray[np.float32]


def train_together(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    digits: Digits,
    *,
    epochs: int = 10,
    device: torch.device | None = None,
) -> Trainings:
    """Train the small network of every cell, with the seed at the same place.

    Raises ``ValueError`` if a cell is disconnected or the seeds are not as many.

    Args:
        cells: R cells; a cell may come several times, with other seeds.
        seeds: R seeds, of the first weights and of the images' order.
        digits: Scenes (1, 12, 12).
        epochs: Passes over the training part.
        device: Where to compute; None means the processor.

    Returns:
        Losses and accuracies in the order of the cells.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> few = small_digits(n_train=100, n_validation=50, n_test=50)
        >>> cells = [Cell(("skip_connect",) * 6)] * 2
        >>> train_together(cells, [0, 1], few, epochs=2).losses.shape
        (2, 2)
    """
    check_positive(epochs=epochs)
    place = device or torch.device("cpu")
    nets = StackedNets(cells, seeds).to(place)
    parts = [Split(p.inputs.to(place), p.targets.to(place)) for p in digits]
    train, validation, test = parts
    kinds = sorted(set(seeds))
    kind = torch.tensor([kinds.index(seed) for seed in seeds], device=place)
    passes = [Split(train.inputs.cpu(), torch.arange(len(train))) for _ in kinds]
    orders = [p.batches(100, seed=s) for p, s in zip(passes, kinds, strict=True)]
    steps = epochs * len(orders[0])
    sgd = SGD(nets.parameters(), 0.1, 0.9, 0, 5e-4, nesterov=True)
    schedule = LambdaLR(sgd, lambda step: warm_up_cosine(step, steps))
    losses, curves = [], []
    for _ in range(epochs):
        nets.train()
        total = torch.zeros(len(kind), device=place)
        for batches in zip(*orders, strict=True):
            chosen = torch.stack([index for _, index in batches]).to(place)  # (S, B)
            targets = train.targets[chosen][kind]  # (R, B)
            logits = nets(train.inputs[chosen].squeeze(2)[kind])  # (R, B, classes)
            loss = F.cross_entropy(logits.mT, targets, reduction="none").mean(dim=1)
            sgd.zero_grad()
            loss.sum().backward()
            sgd.step()
            schedule.step()
            total += loss.detach()
        losses.append((total / len(orders[0])).cpu())
        curves.append(_accuracies(nets, validation))
    return Trainings(
        torch.stack(losses, 1).numpy(),
        torch.stack(curves, 1).numpy(),
        _accuracies(nets, test).numpy(),
    )


@torch.no_grad()
def _accuracies(nets: StackedNets, split: Split) -> Tensor:
    """Return the share of right answers of every network, (R,)."""
    nets.eval()
    replicas = len(nets.last.weight)
    hits = torch.zeros(replicas)
    for inputs, targets in zip(
        split.inputs.split(EVALUATED), split.targets.split(EVALUATED), strict=True
    ):
        logits = nets(inputs.squeeze(1).expand(replicas, *inputs.shape[:1], 12, 12))
        hits += (logits.argmax(dim=2) == targets).sum(dim=1).cpu()
    return hits / len(split)
