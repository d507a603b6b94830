"""Gates that are dropped: shares, a price on each, and which are too weak to stay.

Paper: Bi et al., "GOLD-NAS: Gradual, One-Level, Differentiable", 2020,
https://arxiv.org/abs/2007.03331.

A gate is a weight that does not compete: the sigmoid of a logit. What counts is the
share that an operation has in the gates of its node, with n operations left there:

    share_k = gate_k / sum over all operations into the node of gate
    price   = sum over operations of  price_k log(1 + n share_k)

If what follows a node is normalised, as by batch norm, half of all gates compute the
same as all of them. So neither a gate nor a sum of gates says how much there is of an
operation; a share does. The logarithm favours few: for equal shares it sums to
n log 2, for one large share to log(1 + n).

An edge whose last operation falls becomes "none", if that is a candidate that is left,
and keeps its last one otherwise. A node never loses all: its last one has share 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture

NONE = "none"


@dataclass(frozen=True)
class Pace:
    """How fast operations go; the defaults are those of the reimplementation.

    Attributes:
        low: Share below which an operation is dropped.
        high: Share below which one of the weakest may be.
        enough: Operations to drop in an epoch; as many of the weakest may be.
        start: Of lambda's steps; 0 keeps lambda at 0.
        factor: Of steps and of lambda.
    """

    low: float = 0.01
    high: float = 0.05
    enough: int = 4
    start: float = 1e-5
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high < 1 and self.start >= 0 and self.factor > 1):
            raise ValueError(
                "pace needs 0 <= low <= high < 1, start of 0 or more, and factor above "
                f"1, got {self}"
            )


PACE = Pace()


def operations_left(architecture: Architecture) -> Tensor:
    """Return which active candidates are operations, and not none; bool, (edges, K).

    Args:
        architecture: Any.

    Example:
        >>> operations_left(Architecture([("none", "conv")]))
        tensor([[False,  True]])
    """
    there = architecture.active.clone()
    for edge, names in enumerate(architecture.candidates):
        if NONE in names:
            there[edge, names.index(NONE)] = False
    return there


def gate_shares(gates: Tensor, there: Tensor, nodes: Sequence[int]) -> Tensor:
    """Return the share (edges, K) of each gate in the sum of all into its node.

    Args:
        gates: Of all candidates, (edges, K), not negative.
        there: Which of them are operations that are left, bool, (edges, K).
        nodes: The node that each edge enters, (edges,).

    Example:
        >>> gates = torch.tensor([[0.5, 0.1], [0.9, 0.2]])
        >>> gate_shares(gates, gates > 0.1, [7, 7])  # 0.5 + 0.9 + 0.2 = 1.6
        tensor([[0.3125, 0.0000],
                [0.5625, 0.1250]])
    """
    open_gates = gates * there
    return open_gates / _over_node(open_gates, nodes).clamp_min(1e-30)


def gold_price(
    gates: Tensor, prices: Tensor, there: Tensor, nodes: Sequence[int]
) -> Tensor:
    """Return the price of a mixture, a scalar with gradients to the gates.

    Args:
        gates: Of all candidates, (edges, K).
        prices: Of all candidates, (edges, K).
        there: Which of them are operations that are left, bool, (edges, K).
        nodes: The node that each edge enters, (edges,).

    Example:
        >>> two = torch.tensor([[0.3, 0.3]])
        >>> gold_price(two, torch.ones(1, 2), two > 0, [1])  # 2 log 2
        tensor(1.3863)
    """
    count = _over_node(there.to(gates), nodes)
    return (prices * torch.log1p(count * gate_shares(gates, there, nodes))).sum()


def drop_weak_(
    architecture: Architecture, gates: Tensor, nodes: Sequence[int], *, pace: Pace
) -> int:
    """Make weak operations inactive, in place, one by one, the weakest first.

    Shares are counted anew each time.

    Args:
        architecture: Changed in place.
        gates: Of all candidates, (edges, K).
        nodes: The node that each edge enters, (edges,).
        pace: Says what is weak.

    Returns:
        How many were dropped.

    Example:
        >>> found = Architecture([("none", "skip", "conv")])
        >>> gates = torch.tensor([[0.9, 0.001, 0.9]])
        >>> drop_weak_(found, gates, [1], pace=PACE), found.left(0)
        (1, ('none', 'conv'))
    """
    dropped, extra = 0, pace.enough
    while True:
        there = operations_left(architecture)
        may_go = there & (architecture.active.sum(dim=1, keepdim=True) > 1)
        shares = gate_shares(gates, there, nodes).masked_fill(~may_go, torch.inf)
        share, place = shares.min(), int(shares.argmin())
        if share >= (pace.high if extra else pace.low):
            return dropped
        extra -= int(share >= pace.low)
        edge, candidate = divmod(place, shares.shape[1])
        name = architecture.candidates[edge][candidate]
        rest = [other for other in architecture.left(edge) if other != name]
        architecture.keep_(edge, rest)
        dropped += 1


def _over_node(numbers: Tensor, nodes: Sequence[int]) -> Tensor:
    into = torch.tensor(nodes)
    sums = numbers.new_zeros(int(into.max()) + 1)
    return sums.index_add(0, into, numbers.sum(dim=1))[into][:, None]
