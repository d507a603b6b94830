"""All best compromises of a free choice in every layer, exactly.

The claim: Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
CVPR 2019, https://arxiv.org/abs/1807.11626, section 4: layers should be allowed to
differ. The table for which the tests ask: Stamoulis et al., "Single-Path NAS", ECML
PKDD 2019, https://arxiv.org/abs/1904.02877.

Give every candidate k of every layer l a cost and a value, and let both add up over
the layers:

    cost(a) = sum over l of cost[l][a_l]        value(a) = sum over l of value[l][a_l]

For costs in whole ticks, the most value for exactly c ticks is a knapsack with one
choice a layer, by dynamic programming in (sum of K) * (largest cost) steps:

    best_l(c) = max over k of  best_(l-1)(c - cost[l][k]) + value[l][k]

The front is every cost at which the best value rises. One operation everywhere gives K
architectures. They are among the K^L free ones, so the front of the free choice is
nowhere below them: no measurement can say otherwise. How far above it lies depends on
the numbers.

Latency adds up over layers to a good approximation on many devices. Accuracy does not:
a value that adds up is a stand-in, and the front says what a search could gain, not
what a trained network would.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from effdl.nas.block_space import Choices


class FrontPoint(NamedTuple):
    """One architecture with its sums.

    Attributes:
        cost: Ticks over all layers.
        value: Value over all layers.
        choices: Number of the candidate in each layer.
    """

    cost: int
    value: float
    choices: Choices


def choice_front(
    costs: Sequence[Sequence[int]], values: Sequence[Sequence[float]]
) -> list[FrontPoint]:
    """Return the best architectures of a free choice, cheapest first.

    No architecture has more value for at most the cost of one of them. Of two with
    both sums equal only one is returned.

    Args:
        costs: For each layer the cost of each candidate, in whole ticks from 0. Round
            milliseconds to ticks that are fine enough: memory grows with the sum.
        values: For each layer the value of each candidate.

    Example:
        >>> front = choice_front([[1, 3], [1, 3]], [[0, 1], [0, 5]])
        >>> [(point.cost, point.value, point.choices) for point in front]
        [(2, 0.0, (0, 0)), (4, 5.0, (0, 1)), (6, 6.0, (1, 1))]
    """
    _check(costs, values)
    best = np.full(sum(map(max, costs)) + 1, -np.inf)
    best[0] = 0.0
    chosen = []
    for ticks, worth in zip(costs, values, strict=True):
        rows = np.full((len(ticks), len(best)), -np.inf)
        for row, tick, value in zip(rows, ticks, worth, strict=True):
            row[tick:] = best[: len(best) - tick] + value
        chosen.append(rows.argmax(axis=0))
        best = rows.max(axis=0)
    before = np.maximum.accumulate(np.concatenate(([-np.inf], best[:-1])))
    return [
        FrontPoint(int(cost), float(best[cost]), _trace(chosen, costs, int(cost)))
        for cost in np.flatnonzero(best > before)
    ]


def uniform_points(
    costs: Sequence[Sequence[int]], values: Sequence[Sequence[float]]
) -> list[FrontPoint]:
    """Return the architectures with the same candidate in all layers, as they come.

    Args:
        costs: For each layer the cost of each candidate; as many in every layer.
        values: For each layer the value of each candidate.

    Raises:
        ValueError: If layers have different numbers of candidates. Also as in
            :func:`choice_front`.

    Example:
        >>> [p.choices for p in uniform_points([[1, 3], [1, 3]], [[0, 1], [0, 5]])]
        [(0, 0), (1, 1)]
    """
    _check(costs, values)
    sizes = {len(layer) for layer in costs}
    if len(sizes) > 1:
        raise ValueError(f"layers must have equally many candidates, got {sizes}")
    return [
        FrontPoint(
            sum(layer[k] for layer in costs),
            float(sum(layer[k] for layer in values)),
            (k,) * len(costs),
        )
        for k in range(*sizes)
    ]


def best_within(front: Sequence[FrontPoint], cost: float) -> FrontPoint:
    """Return the point of most value that costs no more.

    Args:
        front: Points, in any order.
        cost: The budget, in ticks.

    Raises:
        ValueError: If nothing is that cheap.

    Example:
        >>> best_within(choice_front([[1, 3]], [[0, 1]]), cost=2).choices
        (0,)
    """
    affordable = [point for point in front if point.cost <= cost]
    if not affordable:
        least = min((point.cost for point in front), default=None)
        raise ValueError(f"cost must be at least that of a point, {least}, got {cost}")
    return max(affordable, key=lambda point: point.value)


def _check(costs: Sequence[Sequence[int]], values: Sequence[Sequence[float]]) -> None:
    """Require equal shapes, and costs that are whole and not negative.

    Raises:
        ValueError: If they are not.
    """
    shapes = [[len(layer) for layer in table] for table in (costs, values)]
    if shapes[0] != shapes[1] or not shapes[0] or 0 in shapes[0]:
        raise ValueError(
            "costs and values must have the same candidates in each of one or more "
            f"layers, got {shapes[0]} and {shapes[1]}"
        )
    for layer in costs:
        for cost in layer:
            if cost < 0 or int(cost) != cost:
                raise ValueError(f"costs must be whole and not negative, got {cost}")


def _trace(
    chosen: Sequence[np.ndarray], costs: Sequence[Sequence[int]], cost: int
) -> Choices:
    """Return the choices that lead to a cost, found from the last layer back."""
    found = []
    for picks, ticks in zip(reversed(chosen), reversed(costs), strict=True):
        found.append(int(picks[cost]))
        cost -= ticks[found[-1]]
    return tuple(reversed(found))
