"""Dropout on what a skip sends, so that it does not win a search by learning first.

Paper: Chen et al., "Progressive Differentiable Architecture Search: Bridging the Depth
Gap between Search and Evaluation", ICCV 2019, https://arxiv.org/abs/1904.12760.

A skip needs no training, and in the first epochs it is what helps most. Dropout takes
that from it: of what it sends, a share is set to 0 and the rest made larger by as much,
so that its mean stays. The rate falls within a search, so that at the end a skip is
judged nearly as it is.

As in the authors' code only a skip with stride 1 is treated so, and the rate falls
twice in a search: it starts again when the architecture begins to move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from effdl.nas.gradient.mixed import MixedOperation

DECAY = 0.2  # of the rate, per epoch


def edge_with_dropout(candidates: Mapping[str, nn.Module]) -> MixedOperation:
    """Return a mixture with dropout behind its skip: a ``make_edge``.

    A skip with stride 2 computes, and is left as it is.

    Args:
        candidates: The modules by name.

    Example:
        >>> edge_with_dropout({"skip_connect": nn.Identity()}).candidates.skip_connect
        Dropout(p=0.0, inplace=False)
    """
    return MixedOperation({
        name: nn.Dropout(0.0) if isinstance(module, nn.Identity) else module
        for name, module in candidates.items()
    })


def set_dropout_(supernet: nn.Module, rate: float) -> None:
    """Set the rate of every dropout in a supernet, in place.

    Args:
        supernet: With edges from :func:`edge_with_dropout`.
        rate: Share of the numbers that are set to 0, from 0 to below 1.

    Raises:
        ValueError: If there is none, or the rate is out of range.

    Example:
        >>> net = nn.Sequential(nn.Dropout(0.5))
        >>> set_dropout_(net, 0.25)
        >>> net[0].p
        0.25
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be from 0 to below 1, got {rate}")
    found = [module for module in supernet.modules() if isinstance(module, nn.Dropout)]
    if not found:
        raise ValueError("supernet has no dropout; make its edges by edge_with_dropout")
    for module in found:
        module.p = rate


def dropout_rate(first: float, epoch: int, epochs: int, *, warm_up: int = 0) -> float:
    """Return the rate of one epoch: falling twice, as in the authors' code.

    In a straight line while only w moves, then from the first rate again exponentially.

    Args:
        first: The stage's first rate.
        epoch: From 0.
        epochs: Of the stage.
        warm_up: Epochs in which only w moves.

    Example:
        >>> [round(dropout_rate(0.4, n, 4, warm_up=2), 3) for n in range(4)]
        [0.3, 0.2, 0.4, 0.327]
    """
    if epoch < warm_up:
        return first * (epochs - epoch - 1) / epochs
    return first * math.exp(-DECAY * (epoch - warm_up))
