"""The best architecture within a budget, if edges may be split: a linear programme.

Paper: Nayman et al., "HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture
Search", ICML 2021, https://arxiv.org/abs/2102.11646, whose search solves one in every
step.

    minimise <g, s>  over  S = { rows of s in the simplex, base + <c, s> <= T }

This is the relaxation of a knapsack with one choice for each edge, and sorting solves
it: every edge takes its best candidate; then edges go down the lower convex hulls of
their candidates, always the one that loses least per unit of cost, until T is kept. The
last move is made in part. Hence at most one edge of s is not one-hot, and the price of
the last move is the multiplier of the constraint.

What differs: the authors use a general solver (interior points). When not to trust it:
with two constraints there is no such order.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from effdl.nas.hardware.expected_cost import CostTable


class Move(NamedTuple):
    """A step of one edge to a cheaper candidate, along its lower convex hull.

    Attributes:
        price: Utility that is lost for each unit of cost that is saved.
        edge: Whose.
        left: The number of the candidate before.
        taken: The number of the candidate after.
    """

    price: float
    edge: int
    left: int
    taken: int


def hull_moves(utilities: Tensor, costs: Tensor) -> tuple[list[int], list[Move]]:
    """Return the best candidate of each edge, and all moves from there, cheapest first.

    In this order, moves of the first n prices lead to the architecture of most utility
    minus multiplier times cost, for a multiplier between price n and the next.

    Args:
        utilities: (edges, K); minus infinity for what may not be chosen.
        costs: (edges, K), finite.

    Example:
        >>> best, moves = hull_moves(
        ...     torch.tensor([[0.0, 1.0, 1.25]]), torch.tensor([[1.0, 3.0, 4.0]])
        ... )
        >>> best, [(move.price, move.taken) for move in moves]
        ([2], [(0.25, 1), (0.5, 0)])
    """
    best, moves = [], []
    for edge, worth in enumerate(utilities.tolist()):
        cost = costs[edge].tolist()
        allowed = [k for k in range(len(worth)) if worth[k] > -math.inf]
        at = max(allowed, key=lambda k: (worth[k], -cost[k]))
        best.append(at)
        price = 0.0
        while cheaper := [k for k in allowed if cost[k] < cost[at]]:
            prices = {k: (worth[at] - worth[k]) / (cost[at] - cost[k]) for k in cheaper}
            taken = min(prices, key=lambda k: (prices[k], cost[k]))
            price = max(price, prices[taken])  # rounding must not swap two moves
            moves.append(Move(price, edge, at, taken))
            at = taken
    return best, sorted(moves, key=lambda move: move.price)


def within_budget(gradient: Tensor, table: CostTable, target: float) -> Tensor:
    """Return the point of S with the least <gradient, s>, (edges, K).

    Args:
        gradient: (edges, K); plus infinity for what may not be chosen.
        table: Costs, of the same edges and candidates.
        target: T, in the table's unit.

    Raises:
        ValueError: If no architecture is so cheap.

    Example:
        >>> table = CostTable(0.0, torch.tensor([[0.0, 4.0], [0.0, 4.0]]))
        >>> within_budget(torch.tensor([[0.0, -1.0], [0.0, -3.0]]), table, 5.0)
        tensor([[0.7500, 0.2500],
                [0.0000, 1.0000]])
    """
    best, moves = hull_moves(-gradient, table.extra)
    point = torch.zeros_like(table.extra)
    point[torch.arange(len(best)), torch.tensor(best)] = 1.0
    over = table.of(best) - target
    for move in moves:
        if over <= 0:
            break
        saved = float(table.extra[move.edge, move.left]) - float(
            table.extra[move.edge, move.taken]
        )
        part = min(1.0, over / saved)
        point[move.edge, move.left] = 1 - part
        point[move.edge, move.taken] = part
        over -= part * saved
        if part < 1:  # the last one; what rounding leaves of ``over`` is no reason
            break
    if over > 1e-6 * abs(target):
        raise ValueError(
            f"target must be at least {target + over:.4g}, the cost of the cheapest "
            f"architecture, got {target:.4g}"
        )
    return point


def sparsest(weights: Tensor, table: CostTable, target: float) -> Tensor:
    """Return one-hot weights (edges, K) near to some, of cost at most the target.

    Args:
        weights: Those of a search, (edges, K).
        table: Costs.
        target: T; ``ValueError`` if no architecture is so cheap.

    Example:
        >>> table = CostTable(0.0, torch.tensor([[0.0, 4.0], [0.0, 4.0]]))
        >>> sparsest(torch.tensor([[0.3, 0.7], [0.1, 0.9]]), table, 5.0)
        tensor([[1., 0.],
                [0., 1.]])
    """
    point = within_budget(-weights, table, target)
    cheapest = table.extra.masked_fill(point <= 0, torch.inf).argmin(dim=1)
    return torch.zeros_like(point).scatter_(1, cheapest[:, None], 1.0)
