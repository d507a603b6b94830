"""How a search moves once: alpha and then w, or both at once.

Papers: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.3, where first order is the case xi = 0;
Hou et al., "Single-DARTS: Towards Stable Architecture Search", ICCV Workshops 2021,
https://arxiv.org/abs/2108.08128, which goes back to one level.

    first order   alpha by d L_val(w, alpha) / d alpha on a validation batch,
                  then w by d L_train(w, alpha) / d w on a training batch
    one level     both by the gradient of one loss on one training batch:
                  a single pass backwards, and no validation data at all

With two levels, alpha is judged on data that w was not fitted to. It pays for that with
a second pass, with half of the data, and with a gradient that takes w for a constant.

A step is a function of a :class:`Searching`, a training batch and a validation batch.
The one that looks a step of w ahead is in :mod:`effdl.nas.gradient.second_order`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import Runs

Batch = tuple[Tensor, Tensor]  # inputs (N, ...) and class indices (N,)
Relaxation = Callable[[Architecture, float], Tensor]
Objective = Callable[[Tensor, Tensor, "Searching"], Tensor]


def loss_alone(loss: Tensor, _weights: Tensor, _searching: Searching) -> Tensor:
    """Return the loss: the objective of a search that wants accuracy and nothing else.

    Args:
        loss: Cross-entropy of a batch.

    Example:
        >>> net = nn.Identity()
        >>> loss_alone(torch.tensor(2.0), torch.ones(1, 1), net)
        tensor(2.)
    """
    return loss


@dataclass
class Searching:
    """A search that is going on: what its step functions may use and change.

    Attributes:
        supernet: Called with inputs and weights (edges, K).
        architecture: The logits.
        relax: Makes the weights, from the architecture and ``progress``.
        objective: What the architecture minimises, from the cross-entropy, the weights
            that it came from, and this.
        weight_optimizer: Moves the supernet.
        architecture_optimizer: Moves the architecture.
        clip: Largest norm of the supernet's gradient.
        progress: Share of the search that is done, 0 to 1.
    """

    supernet: nn.Module
    architecture: Architecture
    relax: Relaxation
    objective: Objective
    weight_optimizer: Optimizer
    architecture_optimizer: Optimizer
    clip: float = 5.0
    progress: float = 0.0

    def weights(self) -> Tensor:
        """Return the weights (edges, K) of the mixtures now; a new sample, if one."""
        return self.relax(self.architecture, self.progress)

    def loss(self, batch: Batch, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return the cross-entropy of a batch with given weights.

        Args:
            batch: Inputs and classes.
            weights: (edges, K).
            runs: Which candidates run on each edge; None: those not weighted 0.

        Raises:
            FloatingPointError: If it is infinite or not a number.
        """
        inputs, targets = batch
        which = () if runs is None else (runs,)
        loss = F.cross_entropy(self.supernet(inputs, weights, *which), targets)
        if not loss.isfinite():
            raise FloatingPointError(
                f"the supernet's loss is {loss.item()}; try a smaller learning rate"
            )
        return loss

    def move_architecture_(self, gradients: tuple[Tensor, ...]) -> None:
        """Take a step of the architecture's optimiser.

        Args:
            gradients: Of the architecture's parameters.
        """
        for parameter, gradient in zip(
            self.architecture.parameters(), gradients, strict=True
        ):
            parameter.grad = gradient
        self.architecture_optimizer.step()
        self.architecture_optimizer.zero_grad()

    def move_weights_(self) -> None:
        """Clip the gradients that the supernet has, and step its optimiser."""
        clip_grad_norm_(self.supernet.parameters(), self.clip)
        self.weight_optimizer.step()
        self.weight_optimizer.zero_grad()


SearchStep = Callable[[Searching, Batch, Batch], float]


def first_order_step(searching: Searching, train: Batch, validation: Batch) -> float:
    """Return the training loss of one step of DARTS that takes w for a constant.

    Args:
        searching: Changed in place: first its architecture, then its supernet.
        train: The batch for w.
        validation: The batch for alpha.

    Example:
        >>> first_order_step.__name__  # runs inside effdl.nas.gradient.search.search
        'first_order_step'
    """
    weights = searching.weights()
    loss = searching.loss(validation, weights)
    objective = searching.objective(loss, weights, searching)
    parameters = tuple(searching.architecture.parameters())
    searching.move_architecture_(torch.autograd.grad(objective, parameters))
    return weight_step(searching, train, validation)


def weight_step(searching: Searching, train: Batch, _validation: Batch) -> float:
    """Return the training loss of a step that moves w only.

    Args:
        searching: Its supernet is changed in place.
        train: The batch for w.

    Example:
        >>> weight_step.__name__  # runs inside effdl.nas.gradient.search.search
        'weight_step'
    """
    with torch.no_grad():
        weights = searching.weights()
    loss = searching.loss(train, weights)
    loss.backward()
    searching.move_weights_()
    return loss.item()


def one_level_step(searching: Searching, train: Batch, _validation: Batch) -> float:
    """Return the training loss of a step that moves alpha and w by one gradient.

    Args:
        searching: Changed in place.
        train: The batch for both.

    Example:
        >>> one_level_step.__name__  # runs inside effdl.nas.gradient.search.search
        'one_level_step'
    """
    weights = searching.weights()
    loss = searching.loss(train, weights)
    searching.objective(loss, weights, searching).backward()
    searching.architecture_optimizer.step()
    searching.architecture_optimizer.zero_grad()
    searching.move_weights_()
    return loss.item()
