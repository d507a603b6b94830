"""The bits of least total sensitivity within a budget, exactly.

Papers: Dong et al., "HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural
Networks", NeurIPS 2020, https://arxiv.org/abs/1911.03852, section 3.2, which minimises

    sum over l of  Omega_l(b_l)    subject to    sum over l of  cost_l(b_l) <= budget

Omega_l(b) says how much harm layer l does with b bits; see :mod:`effdl.quant.hawq`.
Both sums are over layers, so this is the knapsack with one choice a layer of
:mod:`effdl.nas.choice_front`, with minus Omega for the value. The dynamic programme
looks at every layer once for every cost; its steps grow with L, not with K^L.

What differs: the paper keeps what it has of the front of all sums; its successors hand
the same sums to an integer programme. All of them find the same minimum.

When not to trust it: harm does not add up. Two rounded layers may do more, or less,
than each of them alone. The programme solves the sum exactly, and the sum is a model.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from effdl.nas.block_space import Choices
from effdl.nas.choice_front import choice_front


class Allocation(NamedTuple):
    """One member of the space with its sums.

    Attributes:
        choices: Number of the candidate of each layer.
        cost: In the unit of the costs.
        sensitivity: Sum of the Omegas.
    """

    choices: Choices
    cost: int
    sensitivity: float


def allocations(
    sensitivities: Sequence[Sequence[float]], costs: Sequence[Sequence[int]]
) -> list[Allocation]:
    """Return all best compromises, cheapest first.

    Args:
        sensitivities: Omega of each candidate of each layer.
        costs: Of the same candidates, in whole numbers from 0, such as weight bits.
            What they have in common is divided out before the programme runs.

    Raises:
        ValueError: If a sensitivity is not finite. Different shapes are refused, too.

    Example:
        >>> found = allocations([[9.0, 1.0], [4.0, 0.0]], [[20, 40], [2, 4]])
        >>> [(a.choices, a.cost, a.sensitivity) for a in found]
        [((0, 0), 22, 13.0), ((0, 1), 24, 9.0), ((1, 0), 42, 5.0), ((1, 1), 44, 1.0)]
    """
    for layer, row in enumerate(sensitivities):
        if not all(map(math.isfinite, row)):
            raise ValueError(f"sensitivities[{layer}] must be finite, got {list(row)}")
    unit = math.gcd(*(cost for layer in costs for cost in layer)) or 1
    ticks = [[cost // unit for cost in layer] for layer in costs]
    gains = [[-omega for omega in layer] for layer in sensitivities]
    return [
        Allocation(point.choices, point.cost * unit, -point.value)
        for point in choice_front(ticks, gains)
    ]


def allocate(
    sensitivities: Sequence[Sequence[float]],
    costs: Sequence[Sequence[int]],
    budget: float,
) -> Allocation:
    """Return the member of least sensitivity that costs no more than the budget.

    Takes the first two arguments of :func:`allocations` and raises its errors.

    Args:
        sensitivities: Omega of each candidate of each layer.
        costs: Of the same candidates.
        budget: In their unit.

    Raises:
        ValueError: If nothing is so cheap.

    Example:
        >>> allocate([[9.0, 1.0], [4.0, 0.0]], [[20, 40], [2, 4]], budget=43).choices
        (1, 0)
    """
    found = allocations(sensitivities, costs)
    affordable = [each for each in found if each.cost <= budget]
    if not affordable:
        raise ValueError(
            f"budget must be at least {found[0].cost}, the cost of the cheapest, got "
            f"{budget}"
        )
    return affordable[-1]
