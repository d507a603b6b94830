"""One path at a time in a fair order: every candidate gets as many steps as another.

Papers: Luo et al., "SurgeNAS: A Comprehensive Surgery on Hardware-Aware Differentiable
Neural Architecture Search", IEEE Transactions on Computers 2023,
https://doi.org/10.1109/TC.2022.3188175; the requirement is the strict fairness of Chu
et al., "FairNAS", ICCV 2021, https://arxiv.org/abs/1907.01845.

    in a cycle of K steps, an edge with K candidates uses each of them once

A candidate that is drawn by chance has, after m steps, been trained a binomial number
of times, m / K with a spread of about sqrt(m / K); and a search that draws by softmax
trains what it likes. In an order, every candidate has had m / K steps exactly.

The path is a one-hot vector h; the architecture learns by the gradient of p = softmax:

    w = h + (p - stop(p))         one loss for w and alpha, one path runs

What of the paper is here: a single path, an order instead of chance, one level. We
could read its abstract, not its text. So these are ours: the order of a cycle, a
permutation drawn for each edge alone (all edges in the same fixed order would train K
of the K^E paths), and the gradient. Not here: the network that predicts latency,
:mod:`effdl.nas.gradient.search` takes any objective; and its identity mapping, a term
proportional to the input of an edge that keeps skips from being chosen too often.

When not to trust it: equal steps are not equal training. A skip needs none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gumbel import straight_through
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.steps import Searching, one_level_step


class FairOrder:
    """Whose turn it is on every edge: a relaxation, and what moves it on.

    Draws from PyTorch's generator. Do not drop candidates while one is in use.

    Args:
        sizes: Candidates of each edge, (edges,).

    Raises:
        ValueError: If there is no edge, or one has no candidate.

    Example:
        >>> found = Architecture([("skip", "conv")] * 3)
        >>> order = FairOrder([2, 2, 2])
        >>> first = order(found)
        >>> order.advance()
        >>> (first + order(found)).tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes must be 1 or more for each edge, got {[*sizes]}")
        self.sizes = tuple(sizes)
        self.left: list[list[int]] = [[] for _ in self.sizes]
        self._fill()

    def __call__(self, architecture: Architecture, _progress: float = 0.0) -> Tensor:
        """Return weights (edges, K): 1 for whose turn it is, the softmax's gradient.

        Asking twice gives the same answer; :meth:`advance` makes it the next turn.
        """
        soft = architecture.masked_logits().softmax(dim=1)
        turn = torch.tensor([[edge[0]] for edge in self.left])
        return straight_through(soft, torch.zeros_like(soft).scatter(1, turn, 1.0))

    def advance(self, _searching: Searching | None = None) -> None:
        """Go to the next turn: the ``after_step`` of a method."""
        for edge in self.left:
            del edge[0]
        self._fill()

    def _fill(self) -> None:
        for edge, size in zip(self.left, self.sizes, strict=True):
            if not edge:
                edge.extend(torch.randperm(size).tolist())


def fair_method(architecture: Architecture) -> Method:
    """Return the method that trains one path at a time in a fair order.

    Use it for one search, without ``warm_up``: there the order does not advance.

    Args:
        architecture: That will be searched with; it is not changed.

    Example:
        >>> fair_method(Architecture([("skip", "conv")])).step.__name__
        'one_level_step'
    """
    order = FairOrder([len(names) for names in architecture.candidates])
    return Method(relax=order, step=one_level_step, after_step=order.advance)
