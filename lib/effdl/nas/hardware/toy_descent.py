"""Gradient descent on the logits of a search that has no networks.

After the objective of Luo et al., "You Only Search Once: On Lightweight Differentiable
Architecture Search for Resource-Constrained Embedded Platforms", DAC 2022,
https://arxiv.org/abs/2208.14446, without the training of a supernet beside it.

    alpha <- alpha - step of Adam along  d objective(-sum w u) / d alpha
    then whatever the method does after a step, such as moving a multiplier

All noise is gone, and the exact answer is known
(:mod:`effdl.nas.hardware.additive_toy`). What a rule for latency does here, it does by
itself.

When not to trust it: with a supernet the loss is noisy and changes as w learns. A rule
that comes to rest here need not do so there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam

from effdl.checks import check_positive
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import DARTS, Method
from effdl.nas.gradient.mixed import Runs
from effdl.nas.gradient.steps import Batch, Searching
from effdl.nas.hardware.additive_toy import AdditiveToy

NOTHING = (torch.empty(0), torch.empty(0))  # a batch of no images


@dataclass
class ToySearching(Searching):
    """A search whose loss is that of a toy; it has no supernet to train.

    Attributes:
        utilities: Of the toy, (edges, K).
    """

    utilities: Tensor = NOTHING[0]

    def loss(self, batch: Batch, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return minus the expected utility.

        Args:
            batch: Is ignored, and may be empty.
            weights: (edges, K).
            runs: Is ignored: nothing runs.
        """
        del batch, runs
        return -(weights * self.utilities).sum()


def descend(
    toy: AdditiveToy,
    space: Architecture,
    *,
    method: Method = DARTS,
    steps: int = 1000,
    rate: float = 0.02,
) -> Architecture:
    """Return the space after a search by gradients, with the parts of a method.

    ``search`` would train a supernet beside it, and there is none here. What moves the
    architecture is the same: relaxation, objective, Adam with the authors' moments,
    and what follows after a step.

    Args:
        toy: What to choose from.
        space: Its logits, changed in place.
        method: Its ``relax``, ``objective`` and ``after_step`` are used.
        steps: Steps of the logits.
        rate: Of Adam.

    Example:
        >>> from effdl.nas.hardware.expected_cost import CostTable
        >>> costs = CostTable(0.0, torch.ones(1, 2))
        >>> toy = AdditiveToy(torch.tensor([[0.0, 1.0]]), costs)
        >>> descend(toy, toy.space()).strongest()
        ('1',)
    """
    check_positive(steps=steps)
    adam = Adam(space.parameters(), rate, (0.5, 0.999))
    parts = (method.relax, method.objective, adam, adam)
    searching = ToySearching(nn.Identity(), space, *parts, utilities=toy.utilities)
    for step in range(steps):
        searching.progress = step / steps
        weights = searching.weights()
        loss = searching.loss(NOTHING, weights)
        objective = method.objective(loss, weights, searching)
        searching.move_architecture_(torch.autograd.grad(objective, [space.logits]))
        method.after_step(searching)
    return space
