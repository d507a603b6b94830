"""SNAS: a softened sample of architectures, and one gradient for all.

Paper: Xie et al., "SNAS: Stochastic Neural Architecture Search", ICLR 2019,
https://arxiv.org/abs/1812.09926; the draw is in :mod:`effdl.nas.gradient.gumbel`.

    Z = softmax((a + g) / tau)                  one row an edge
    minimise over w and a:  E_Z[ L(w, Z) + price C(Z) ]

The architecture is drawn, and the mean loss over draws is minimised; the noise carries
the gradient. There is one loss on one set of data: w and a move at once
(:func:`~effdl.nas.gradient.steps.one_level_step`). The cost C is a sum over a table,
so it is linear in Z, and as tau falls to 0 its mean and the gradient of its mean become
those of the cost of a discrete architecture drawn from p = softmax(a):

    d E[C] / d a_k  ->  p_k (c_k - sum over l of p_l c_l)

Z is soft: no weight is 0, and *every* candidate runs. Time and memory are those of
DARTS. That sets it apart from GDAS, which draws with the same noise.

What differs from the paper: tau falls from 1 to 0.1, by the same factor in every step;
there it goes towards 0. Edges have one operation each, as all cells of this book.
"""

from torch import Tensor

from effdl.nas.gradient.gumbel import ConcreteWeights, falling_exponentially
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.steps import Objective, Searching, one_level_step
from effdl.nas.hardware.expected_cost import CostTable, expected_cost

# All operations, weighted by a soft draw; tau from 1 to 0.1, one level.
SNAS = Method(
    relax=ConcreteWeights(falling_exponentially(1.0, 0.1)), step=one_level_step
)


def loss_and_cost(table: CostTable, price: float) -> Objective:
    """Return the objective L + price C(Z), for ``dataclasses.replace(SNAS, ...)``.

    Args:
        table: Cost of every candidate, in any unit.
        price: Loss that a unit of cost is worth, 0 or more.

    Raises:
        ValueError: If ``price`` is below 0.

    Example:
        >>> import torch
        >>> objective = loss_and_cost(CostTable(1.0, torch.tensor([[2.0, 4.0]])), 0.1)
        >>> objective(torch.tensor(2.0), torch.tensor([[0.0, 1.0]]), None)
        tensor(2.5000)
    """
    if not price >= 0:
        raise ValueError(f"price must be 0 or larger, got {price}")

    def objective(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
        return loss + price * expected_cost(weights, table)

    return objective
