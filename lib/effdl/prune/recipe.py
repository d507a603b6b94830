"""A training that can begin at any step, and is the same from there on every time.

Paper: Frankle et al., "Stabilizing the Lottery Ticket Hypothesis", 2019,
https://arxiv.org/abs/1903.01611.

Step k has the same batch and the same learning rate wherever the training began. So
what differs between two networks that were trained by the same recipe is not luck in
the order of the data, and with another seed it is nothing but that.

An optimiser begins anew at the first step that is done, as in the authors' program:
there is no momentum left of steps before. A training in two parts is therefore not the
one in one go, unless the optimiser has no memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from effdl.checks import check_positive, check_seed
from effdl.data.digits import Split
from effdl.train import fit

Factor = Callable[[int, int], float]  # of step and steps


class StepTraining(Protocol):
    """Trains a network in place, from one step to another."""

    def __call__(
        self, model: nn.Module, *, start: int = 0, stop: int | None = None
    ) -> object:
        """Do the steps from ``start`` up to, without, ``stop``; None: to the end."""


def constant(_step: int, _steps: int) -> float:
    """Return 1: a learning rate that stays.

    Example:
        >>> constant(3, 10)
        1.0
    """
    return 1.0


@dataclass(frozen=True)
class Recipe:
    """A training of a classifier by cross-entropy, step by step the same every time.

    Attributes:
        split: What to train on.
        optimizer: Makes one for the parameters that it is given.
        epochs: Passes over the split.
        batch_size: Inputs of a step.
        factor: The learning rate's factor at a step of so many, such as
            :func:`effdl.train.warm_up_cosine`.
        seed: Decides on the order of the inputs.

    Example:
        >>> import torch
        >>> from torch.optim import SGD
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> recipe = Recipe(split, lambda p: SGD(p, 0.1), epochs=2, batch_size=10)
        >>> recipe.steps, recipe(nn.Linear(2, 2), start=15) < 2
        (20, True)
    """

    split: Split
    optimizer: Callable[[Iterator[nn.Parameter]], Optimizer]
    epochs: int = 10
    batch_size: int = 100
    factor: Factor = constant
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, batch_size=self.batch_size)
        check_seed(self.seed)

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * len(self.split.batches(self.batch_size))

    def __call__(
        self, model: nn.Module, *, start: int = 0, stop: int | None = None
    ) -> float:
        """Return the mean loss of the steps from ``start`` to ``stop``.

        Args:
            model: Trained in place.
            start: Steps that are done already.
            stop: Steps that are done in the end, more than ``start``; None for all.

        Raises:
            ValueError: If they are out of order or range.
        """
        stop = self.steps if stop is None else stop
        if not 0 <= start < stop <= self.steps:
            raise ValueError(
                "start must be below stop, and both from 0 to "
                f"{self.steps}, got {start} and {stop}"
            )
        optimizer = self.optimizer(model.parameters())
        schedule = LambdaLR(
            optimizer, lambda done: self.factor(start + done, self.steps)
        )

        def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(model(inputs), targets)

        part, after_step = _Part(self, start, stop), schedule.step
        means = fit(model, loss_of, part, optimizer, epochs=1, after_step=after_step)
        return means[0]


class _Part:
    """The batches from one step of a training to another."""

    def __init__(self, recipe: Recipe, start: int, stop: int) -> None:
        self.recipe, self.start, self.stop = recipe, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        r = self.recipe
        passes = r.split.batches(r.batch_size, seed=r.seed)
        every = (batch for _ in range(r.epochs) for batch in passes)
        return islice(every, self.start, self.stop)
