"""A search without networks: utilities that add up, and latencies that add up.

After the objective of Luo et al., "You Only Search Once", DAC 2022,
https://arxiv.org/abs/2208.14446, and of Cai et al., "ProxylessNAS", ICLR 2019,
https://arxiv.org/abs/1812.00332. It is made for this book: everything about it can be
known exactly, so it tells what a rule for latency does when nothing else can fail.

    loss(w) = - sum over e, k of  w[e, k] u[e, k]            w = softmax(alpha)

:func:`effdl.nas.hardware.toy_descent.descend` searches in it by gradients. For a fixed
multiplier the best architecture falls apart into layers:

    a_e = argmin over k of  -u[e, k] + lambda c[e, k]

As lambda grows, each layer goes down the lower convex hull of its candidates, from one
corner to the next. So there are few architectures that any lambda finds, and the
latency that it yields falls in jumps: a target inside of a jump is found by no lambda.
The best utility for every latency, hull or not, is a knapsack:
:func:`effdl.nas.choice_front.choice_front`.

When not to trust it: the accuracy of a network is not a sum, and its gradient is noisy.
What goes wrong here goes wrong there, too; what works here may not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from effdl.nas.block_space import Choices
from effdl.nas.choice_front import FrontPoint, choice_front
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.hardware.budget_programme import hull_moves
from effdl.nas.hardware.expected_cost import CostTable


class AdditiveToy(NamedTuple):
    """What every candidate of every edge is worth, and what it costs.

    Attributes:
        utilities: (edges, K).
        table: Costs, of the same edges and candidates.
    """

    utilities: Tensor
    table: CostTable

    def space(self, *, spread: float = 1e-3) -> Architecture:
        """Return the logits of a new search; candidates are named by their numbers.

        Args:
            spread: Standard deviation of the logits at the start.
        """
        edges, candidates = self.utilities.shape
        names = [str(k) for k in range(candidates)]
        return Architecture([names] * edges, spread=spread)

    def utility(self, choices: Sequence[int]) -> float:
        """Return the utility of one architecture.

        Args:
            choices: The number of a candidate for each edge.
        """
        return CostTable(0.0, self.utilities).of(choices)


def seeded_toy(
    table: CostTable, seed: int, *, gain: float = 1.0, noise: float = 0.1
) -> AdditiveToy:
    """Return made-up utilities: slower candidates tend to be better, with less return.

    On each edge the utility is gain (1 - (1 - t)^2) plus normal noise, where t is the
    cost from 0 for the cheapest to 1 for the most expensive candidate of the edge,
    times the share that the edge has in the range of all costs, so that no layer is
    free and none is all.

    Args:
        table: Costs.
        seed: Of the noise.
        gain: Utility of the most expensive over the cheapest architecture.
        noise: Standard deviation for one candidate, times the number of edges.

    Raises:
        ValueError: If all candidates of all edges cost the same.

    Example:
        >>> toy = seeded_toy(CostTable(0.0, torch.tensor([[1.0, 2.0]])), 0, noise=0)
        >>> toy.utilities
        tensor([[0., 1.]])
    """
    low = table.extra.min(dim=1, keepdim=True).values
    span = table.extra.max(dim=1, keepdim=True).values - low
    if not float(span.sum()) > 0:
        raise ValueError("table has one cost for all candidates; there is no trade-off")
    slow = (table.extra - low) / span.clamp_min(1e-30)
    share = span / span.sum()
    drawn = np.random.default_rng(seed).normal(0, noise / len(span), slow.shape)
    worth = share * (1 - (1 - slow) ** 2) + torch.from_numpy(drawn).to(slow)
    return AdditiveToy(gain * worth, table)


def best_for_multiplier(toy: AdditiveToy, multiplier: float) -> Choices:
    """Return the architecture with the least -utility + multiplier * cost.

    Args:
        toy: What to choose from.
        multiplier: Utility per unit of cost. Of equals the first candidate is taken.

    Example:
        >>> costs = CostTable(0.0, torch.tensor([[1.0, 3.0]]))
        >>> toy = AdditiveToy(torch.tensor([[0.0, 1.0]]), costs)
        >>> best_for_multiplier(toy, 0.4), best_for_multiplier(toy, 0.6)
        ((1,), (0,))
    """
    score = -toy.utilities + multiplier * toy.table.extra
    return tuple(score.argmin(dim=1).tolist())


def switches(toy: AdditiveToy) -> list[float]:
    """Return all multipliers above 0 at which the best architecture changes, in order.

    Args:
        toy: What to choose from.

    Example:
        >>> costs = CostTable(0.0, torch.tensor([[1.0, 3.0, 4.0]]))
        >>> toy = AdditiveToy(torch.tensor([[0.0, 1.0, 1.25]]), costs)
        >>> switches(toy)
        [0.25, 0.5]
    """
    _, moves = hull_moves(toy.utilities, toy.table.extra)
    return [move.price for move in moves]


def exact_front(toy: AdditiveToy, *, tick: float) -> list[FrontPoint]:
    """Return the best architectures for all costs, cheapest first.

    Args:
        toy: What to choose from; no cost of an edge may be negative.
        tick: Costs are rounded to multiples of this; cost in the points are ticks,
            without the table's base.

    Raises:
        ValueError: If ``tick`` is not above 0.

    Example:
        >>> costs = CostTable(0.0, torch.tensor([[1.0, 3.0]]))
        >>> toy = AdditiveToy(torch.tensor([[0.0, 1.0]]), costs)
        >>> [(point.cost, point.value) for point in exact_front(toy, tick=0.5)]
        [(2, 0.0), (6, 1.0)]
    """
    if not tick > 0:
        raise ValueError(f"tick must be above 0, got {tick}")
    ticks = [[round(cost / tick) for cost in row] for row in toy.table.extra.tolist()]
    return choice_front(ticks, toy.utilities.tolist())
