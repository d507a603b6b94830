"""How a search is made to mind a cost: penalties that enter its objective.

Papers: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332; Wu et al., "FBNet", CVPR 2019,
https://arxiv.org/abs/1812.03443; Hu et al., "TF-NAS", ECCV 2020,
https://arxiv.org/abs/2008.05314; Stamoulis et al., "Single-Path NAS: Designing
Hardware-Efficient ConvNets in less than 4 Hours", ECML PKDD 2019,
https://arxiv.org/abs/1904.02877. Equations 9 and 10 of the survey.

With CE the cross-entropy on validation data and LAT the expected cost of the mixture:

                       objective of alpha           its slope in LAT
    add_cost           CE + rate LAT                rate
    add_costs          CE + sum_i rate_i cost_i     rate_i in each cost_i
    fbnet_product      CE a log(LAT)^b              CE a b log(LAT)^(b - 1) / LAT
    absolute_penalty   CE + rate abs(LAT / T - 1)   rate / T above T, -rate / T below
    log_penalty        CE + rate log(LAT)           rate / LAT

The slope goes to alpha through the closed form of
:mod:`effdl.nas.hardware.expected_cost`. Only the first is the survey's equation 9. Its
pull is the same at any cost, so a rate has a unit: 1 / unit of the table. In the
product the pull fades as the loss falls, and CE is scaled, too. The absolute penalty
is the only one with a target; below it, it pushes the cost *up*.

A constant rate is no target: at which cost a search ends is known after the search.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Objective, Searching
from effdl.nas.hardware.expected_cost import CostTable, check_target, expected_cost

ALPHA, BETA = 0.2, 0.6  # FBNet's


def add_cost(rate: float, table: CostTable) -> Objective:
    """Return loss + rate * LAT, equation 9. Raises as :func:`add_costs`.

    Args:
        rate: Loss per unit of the table, lambda; 0 or larger.
        table: Of the search's edges and candidates.

    Example:
        >>> import torch
        >>> objective = add_cost(0.5, CostTable(1.0, torch.tensor([[2.0, 4.0]])))
        >>> weights = torch.tensor([[0.5, 0.5]])
        >>> objective(torch.tensor(1.0), weights, None)  # 1 + 0.5 (1 + 3)
        tensor(3.)
    """
    return add_costs([(rate, table)])


def add_costs(terms: Sequence[tuple[float, CostTable]]) -> Objective:
    """Return loss + the sum of rate_i * cost_i, equation 10.

    Args:
        terms: A rate and a table for each kind of cost, such as latency, energy and
            memory. Rates are 0 or larger, each in loss per unit of its table.

    Raises:
        ValueError: If there is no term, or a rate is negative or not finite.

    Example:
        >>> import torch
        >>> skip_or_conv = torch.tensor([[0.0, 4.0]])
        >>> time, memory = CostTable(0.0, skip_or_conv), CostTable(0.0, skip_or_conv)
        >>> both = add_costs([(0.5, time), (1.0, memory)])
        >>> both(torch.tensor(1.0), torch.tensor([[0.0, 1.0]]), None)
        tensor(7.)
    """
    if not terms:
        raise ValueError("terms is empty; give a rate and a table for each cost")
    for rate, _ in terms:
        _check_rate(rate)
    kept = tuple(terms)

    def objective(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
        costs = (rate * expected_cost(weights, table) for rate, table in kept)
        return sum(costs, loss)

    return objective


def fbnet_product(
    table: CostTable, *, alpha: float = ALPHA, beta: float = BETA
) -> Objective:
    """Return loss * alpha * log(LAT)^beta.

    The unit matters: in another one log(LAT) is shifted, and the pull is another. LAT
    has to be above 1, so that its logarithm is above 0. Whoever has seconds multiplies
    the table by 1e6.

    The objective raises ``ValueError`` if LAT is 1 or less.

    Args:
        table: Of the search's edges and candidates.
        alpha: Scales everything: with Adam it changes next to nothing.
        beta: How much latency counts; 0 for not at all.

    Raises:
        ValueError: If ``alpha`` or ``beta`` is out of range.

    Example:
        >>> import torch
        >>> table = CostTable(0.0, torch.tensor([[math.e, math.e**2]]))
        >>> objective = fbnet_product(table, alpha=0.5, beta=2.0)
        >>> objective(torch.tensor(3.0), torch.tensor([[0.0, 1.0]]), None)
        tensor(6.)
    """
    if not 0 < alpha < math.inf or not 0 <= beta < math.inf:
        raise ValueError(
            f"alpha must be above 0 and beta 0 or larger, got {alpha} and {beta}"
        )

    def objective(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
        cost = expected_cost(weights, table)
        _check_above(1.0, cost)
        return loss * alpha * cost.log() ** beta

    return objective


def absolute_penalty(
    rate: float, table: CostTable, target: float, architecture: Architecture
) -> Objective:
    """Return loss + rate * abs(LAT / target - 1), TF-NAS's. It has 0.1 for the rate.

    At the target itself the slope is 0: autograd's choice for abs.

    Args:
        rate: Loss for a cost that is off by the whole target; 0 or larger.
        table: Of the search's edges and candidates.
        target: In the unit of the table; ``ValueError``, with the range, if nothing in
            the space is so cheap or so expensive.
        architecture: Says what there is to choose from.

    Raises:
        ValueError: If the target is not above 0.

    Example:
        >>> import torch
        >>> table = CostTable(1.0, torch.tensor([[2.0, 4.0]]))
        >>> objective = absolute_penalty(
        ...     0.5, table, 4.0, Architecture([("skip", "conv")])
        ... )
        >>> objective(torch.tensor(1.0), torch.tensor([[1.0, 0.0]]), None)
        tensor(1.1250)
    """
    _check_rate(rate)
    check_target(target, table, architecture)
    if not target > 0:
        raise ValueError(f"target must be above 0 to divide by it, got {target:.4g}")

    def objective(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
        return loss + rate * (expected_cost(weights, table) / target - 1).abs()

    return objective


def log_penalty(rate: float, table: CostTable) -> Objective:
    """Return loss + rate * log(LAT), Single-Path NAS's.

    The unit does not matter: another one adds a constant. The objective raises
    ``ValueError`` if LAT is 0 or less.

    Args:
        rate: Loss for a cost e times as high; 0 or larger.
        table: Of the search's edges and candidates.

    Example:
        >>> import torch
        >>> objective = log_penalty(0.5, CostTable(0.0, torch.tensor([[math.e]])))
        >>> objective(torch.tensor(1.0), torch.tensor([[1.0]]), None)
        tensor(1.5000)
    """
    _check_rate(rate)

    def objective(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
        cost = expected_cost(weights, table)
        _check_above(0.0, cost)
        return loss + rate * cost.log()

    return objective


def _check_rate(rate: float) -> None:
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate must be 0 or larger and finite, got {rate}")


def _check_above(bound: float, cost: Tensor) -> None:
    if not cost.item() > bound:
        raise ValueError(
            f"the cost must be above {bound:g} to take its logarithm, got "
            f"{cost.item():.4g}; give the table in a smaller unit"
        )
