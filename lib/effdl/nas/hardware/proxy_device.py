"""One proxy device: search once, and take the front along to other devices.

Paper: Lu et al., "One Proxy Device Is Enough for Hardware-Aware Neural Architecture
Search", POMACS 5(3), 2021 (SIGMETRICS 2022), https://arxiv.org/abs/2111.01203.

Who is not beaten in (latency, accuracy) depends on the *order* of latencies only. So if
two devices order all networks alike, they have the same Pareto front, exactly: search
on one, and only measure on the other. How alike two real devices are is told by
Spearman's correlation; the paper is content with 0.9. What a front taken along is worth
on the other device is told by the area that it dominates there:

    loss = 1 - area(front of the proxy) / area(front of the device itself)

Where the order differs, the paper adapts the proxy's table of operators w to a few
measurements y on the target, in which network i has the operators x_i:

    minimise over a, b, c   mean of (x_i . (w (a + b)) + c - y_i)^2  +  strength |b|_1

The target is as a whole a times as slow; b says for which few operators it is not.
(That is how the authors' program has it.) What no table can say stays wrong: it adds
up, and many devices do not.

What differs: a and c are fitted first and b after them, on numbers scaled to the spread
of y; no part of the few measurements is kept back to choose the strength.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import Lasso

from effdl.nas.ranking import pareto_front

Floats = NDArray[np.float64]


class OperatorTable(NamedTuple):
    """Latency as a sum over the operators that a network has.

    Attributes:
        base: What every network needs.
        each: What each operator adds, (operators,), in the same unit.
    """

    base: float
    each: Floats

    def predict(self, has: ArrayLike) -> Floats:
        """Return latencies (n,) of networks.

        Args:
            has: How often each network has each operator, (n, operators).
        """
        return self.base + np.asarray(has, float) @ self.each


def same_order(first: ArrayLike, second: ArrayLike) -> bool:
    """Return whether two devices order all networks alike, equal ones included.

    Args:
        first: Latencies on one, (n,).
        second: Latencies of the same networks on the other, (n,).

    Example:
        >>> same_order([1.0, 2.0, 2.0], [10.0, 30.0, 30.0])
        True
        >>> same_order([1.0, 2.0, 2.0], [10.0, 30.0, 31.0])
        False
    """
    ranks, others = (np.unique(v, return_inverse=True)[1] for v in (first, second))
    return np.array_equal(ranks, others)


def dominated_area(
    costs: ArrayLike, values: ArrayLike, *, reference: tuple[float, float]
) -> float:
    """Return the area between networks and a reference that all of them should beat.

    Args:
        costs: The less, the better, (n,).
        values: The more, the better, (n,).
        reference: A high cost and a low value. What does not beat it adds nothing.

    Example:
        >>> dominated_area([1.0, 2.0], [0.5, 0.75], reference=(3.0, 0.0))
        1.25
    """
    cost, value = np.asarray(costs, float), np.asarray(values, float)
    worst_cost, worst_value = reference
    inside = (cost < worst_cost) & (value > worst_value)
    area, reached = 0.0, worst_value
    for place in np.lexsort((-value, cost)):
        if inside[place] and value[place] > reached:
            area += (worst_cost - cost[place]) * (value[place] - reached)
            reached = value[place]
    return float(area)


def transfer_loss(
    proxy: ArrayLike,
    target: ArrayLike,
    values: ArrayLike,
    *,
    reference: tuple[float, float] | None = None,
) -> float:
    """Return the share of the area that the proxy's front loses on the target, 0 to 1.

    Args:
        proxy: Latencies on the device of the search, or predicted ones, (n,).
        target: Latencies on the device of use, (n,).
        values: Accuracies, (n,).
        reference: A high latency on the target and a low accuracy. None: the highest
            and the lowest.

    Raises:
        ValueError: If no network beats the reference.

    Example:
        >>> transfer_loss([1, 2, 3], [10, 20, 30], [0.5, 0.6, 0.7])
        0.0
        >>> transfer_loss([1, 3, 2], [1, 2, 3], [0.0, 0.5, 0.5], reference=(4, 0))
        0.5
    """
    on_target, value = np.asarray(target, float), np.asarray(values, float)
    worst = reference or (float(on_target.max()), float(value.min()))
    best = dominated_area(on_target, value, reference=worst)
    if best <= 0:
        raise ValueError(f"reference {worst} is not beaten; give a worse one")
    front = pareto_front(proxy, values)
    taken = dominated_area(on_target[front], value[front], reference=worst)
    return 1 - taken / best


def fit_table(has: ArrayLike, latencies: ArrayLike) -> OperatorTable:
    """Return the table that comes closest in the mean square.

    Where operators cannot be told apart, of all such tables the one with the least
    squares is taken.

    Args:
        has: How often each network has each operator, (n, operators).
        latencies: Of the networks, (n,).

    Example:
        >>> table = fit_table([[0, 0], [1, 0], [0, 1]], [1.0, 3.0, 6.0])
        >>> round(table.base, 6), table.each.round(6).tolist()
        (1.0, [2.0, 5.0])
    """
    rows, y = np.asarray(has, float), np.asarray(latencies, float)
    middle = rows.mean(axis=0)
    each = np.linalg.lstsq(rows - middle, y - y.mean(), rcond=None)[0]
    return OperatorTable(float(y.mean() - middle @ each), each)


def adapt_table(
    table: OperatorTable, has: ArrayLike, measured: ArrayLike, *, strength: float = 0.01
) -> OperatorTable:
    """Return the proxy's table, scaled to the target and corrected in a few places.

    Args:
        table: Of the proxy. An operator that needs no time there stays at none.
        has: Operators of the few networks measured on the target, (n, operators).
        measured: Their latencies on the target, (n,).
        strength: Price of a correction, above 0; the higher, the fewer there are.

    Raises:
        ValueError: If the strength is not above 0, or latencies are all equal.

    Example:
        >>> proxy = OperatorTable(0.0, np.array([1.0, 2.0, 4.0]))
        >>> has = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
        >>> twice = adapt_table(proxy, has, [2.0, 4.0, 8.0, 6.0])
        >>> twice.each.round(6).tolist()
        [2.0, 4.0, 8.0]
    """
    rows, y = np.asarray(has, float), np.asarray(measured, float)
    spread = float(y.std())
    if not strength > 0 or spread == 0:
        raise ValueError(
            f"strength must be above 0 and measured must differ, got {strength} and "
            f"latencies with a deviation of {spread}; measure other networks"
        )
    scaled = rows * table.each
    total = scaled.sum(axis=1)
    slope = np.cov(total, y, bias=True)[0, 1] / max(total.var(), np.finfo(float).tiny)
    unit = spread / max(float(np.abs(table.each).max()), np.finfo(float).tiny)
    lasso = Lasso(alpha=strength, max_iter=100_000)
    lasso.fit(scaled * (unit / spread), (y - slope * total) / spread)
    each = table.each * (slope + unit * lasso.coef_)
    return OperatorTable(float((y - rows @ each).mean()), each)
