"""What a method of the family puts into the loop of differentiable search.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, whose choices are the defaults.

    relax         logits to weights of the mixtures: softmax, sigmoid, a sample
    objective     what alpha minimises, beyond the loss: a penalty, a latency
    step          how alpha and w move: one after the other, unrolled, or at once
    after_step    what else moves: a multiplier
    after_epoch   what is dropped, when to stop

The loop itself is in :mod:`effdl.nas.gradient.search`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.steps import (
    Objective,
    Relaxation,
    Searching,
    SearchStep,
    first_order_step,
    loss_alone,
)


class SearchEpoch(NamedTuple):
    """What one epoch of a search left.

    Attributes:
        logits: Of the architecture, minus infinity where inactive, (edges, K).
        weights: The relaxation of them, (edges, K); a sample, if it draws.
        loss: Mean training loss.
        seconds: Processor time since the search began.
    """

    logits: Tensor
    weights: Tensor
    loss: float
    seconds: float


def go_on(_searching: Searching) -> None:
    """Do nothing: the ``after_step`` of most methods.

    Example:
        >>> go_on(None)
    """


def never_stop(_searching: Searching, _epochs: list[SearchEpoch]) -> bool:
    """Return False: the ``after_epoch`` of a search that runs to its end.

    Example:
        >>> never_stop(None, [])
        False
    """
    return False


@dataclass(frozen=True)
class Method:
    """What a method of the family puts into the loop; the defaults are DARTS.

    Attributes:
        relax: Makes the weights of the mixtures from logits and progress.
        objective: What the architecture minimises.
        step: Moves architecture and weights once, and returns the training loss.
        after_step: Called after every step in which the architecture moved.
        after_epoch: Called with all epochs so far; True ends the search.
    """

    relax: Relaxation = softmax_weights
    objective: Objective = loss_alone
    step: SearchStep = first_order_step
    after_step: Callable[[Searching], None] = go_on
    after_epoch: Callable[[Searching, list[SearchEpoch]], bool] = never_stop


# Softmax, first order, and nothing else.
DARTS = Method()
