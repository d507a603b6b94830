"""Cost of a mixture: a sum over a table, differentiable in the weights.

Papers: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, section 3.2; Wu et al.,
"FBNet", CVPR 2019, https://arxiv.org/abs/1812.03443, section 3.3. Latency(alpha) in
equations 9 to 12 of the survey.

    cost(w) = base + sum over edges e, candidates k of  w[e, k] extra[e, k]

With one-hot weights that is the sum of what was chosen. With w = softmax(alpha) it is
the mean cost of an architecture drawn edge by edge, and its gradient is

    d cost / d alpha[e, k] = w[e, k] (extra[e, k] - sum over l of w[e, l] extra[e, l])

The cost of a device is additive only nearly. A mean over architectures is, too, not
the cost of the one that is kept at the end: that cost moves in jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture


class CostTable(NamedTuple):
    """What every candidate of every edge adds to the cost of a network.

    Attributes:
        base: What no choice changes, such as stem and head; in any one unit.
        extra: (edges, K), in the same unit; anything where an edge has no such
            candidate, as long as it is finite.
    """

    base: float
    extra: Tensor

    def of(self, choices: Sequence[int]) -> float:
        """Return the cost of one architecture.

        Args:
            choices: The number of a candidate for each edge.
        """
        chosen = self.extra[torch.arange(len(self.extra)), torch.tensor(choices)]
        return self.base + float(chosen.sum())


def expected_cost(weights: Tensor, table: CostTable) -> Tensor:
    """Return the cost of a mixture, a scalar with gradients to the weights.

    Args:
        weights: Of all edges, (edges, K).
        table: Of the same edges and candidates.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[2.0, 4.0]]))
        >>> expected_cost(torch.tensor([[0.5, 0.5]]), table)
        tensor(4.)
    """
    if weights.shape != table.extra.shape:
        raise ValueError(
            f"weights must be {tuple(table.extra.shape)}, as the cost table is, got "
            f"{tuple(weights.shape)}"
        )
    return table.base + (weights * table.extra).sum()


def cost_range(table: CostTable, architecture: Architecture) -> tuple[float, float]:
    """Return the lowest and the highest cost of what is still to choose from.

    Args:
        table: Of the same edges and candidates.
        architecture: Its inactive candidates do not count.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[2.0, 4.0], [0.0, 3.0]]))
        >>> cost_range(table, Architecture([("skip", "conv")] * 2))
        (3.0, 8.0)
    """
    left = architecture.active
    low = table.extra.masked_fill(~left, torch.inf).min(dim=1).values.sum()
    high = table.extra.masked_fill(~left, -torch.inf).max(dim=1).values.sum()
    return table.base + float(low), table.base + float(high)


def check_target(target: float, table: CostTable, architecture: Architecture) -> None:
    """Require a target that some architecture can be on either side of.

    Args:
        target: In the unit of the table.
        table: Of the same edges and candidates.
        architecture: Says what is left to choose from.

    Raises:
        ValueError: If nothing left to choose from is so cheap, or so expensive.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[2.0, 4.0]]))
        >>> check_target(6.0, table, Architecture([("skip", "conv")]))
        Traceback (most recent call last):
        ValueError: target must be within 3 and 5, ... got 6
    """
    low, high = cost_range(table, architecture)
    if not low <= target <= high:  # nan is not either
        raise ValueError(
            f"target must be within {low:.4g} and {high:.4g}, the costs of the cheapest"
            f" and of the most expensive architecture left, got {target:.4g}"
        )
