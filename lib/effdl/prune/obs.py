"""Optimal brain surgeon: when one weight goes, the others make up for it.

Papers: Hassibi and Stork, "Second Order Derivatives for Network Pruning: Optimal Brain
Surgeon", NeurIPS 1992; for many weights at once and for what follows from it, Singh and
Alistarh, "WoodFisher: Efficient Second-Order Approximation for Neural Network
Compression", NeurIPS 2020, https://arxiv.org/abs/2004.14340.

At a minimum, with H the matrix of second derivatives, a step d of the weights costs
d^T H d / 2. The cheapest step that sets w_q to 0, and what it costs:

    d   = - w_q / [H^-1]_qq  H^-1 e_q
    L_q = w_q^2 / (2 [H^-1]_qq)

and for a set Q of weights, A = [H^-1]_QQ being its block of the inverse

    d   = - [H^-1]_:Q A^-1 w_Q            cost  w_Q^T A^-1 w_Q / 2

Taking the weights of Q one after the other, each time with the inverse of what is left,
ends at the same d. That inverse needs no new inversion:

    without q:   H^-1 - [H^-1]_:q [H^-1]_q: / [H^-1]_qq          row and column q are 0

Nor does the first one: with H = damping I + mean over P vectors of x x^T, each vector
changes the inverse B by - B x x^T B / (P + x^T B x), beginning at I / damping.

With H diagonal, L_q is the score of :mod:`effdl.prune.obd` and d touches w_q alone.
With H a multiple of I, the order is that of the magnitudes.

Before trusting it: H has n^2 entries, so n is a few thousand. And H holds near the
weights that it was taken at; the steps for many weights lead away from there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from effdl.checks import check_positive


class Surgery(NamedTuple):
    """What :func:`surgeon` did.

    Attributes:
        weight: The weights afterwards, (n,).
        removed: Indices in the order in which they went, (count,).
        increases: What each of them cost by the quadratic model, (count,).
    """

    weight: Tensor
    removed: Tensor
    increases: Tensor


def surgeon_saliency(weight: Tensor, inverse: Tensor) -> Tensor:
    """Return L_q for every weight.

    Args:
        weight: (n,) or (rows, n), all rows with the same inverse.
        inverse: H^-1, (n, n), positive on its diagonal.

    Example:
        >>> surgeon_saliency(torch.tensor([2.0, 1.0]), torch.eye(2) / 2)
        tensor([4., 1.])
    """
    _check_inverse(weight, inverse)
    return weight.square() / (2 * inverse.diagonal())


def compensation(weight: Tensor, inverse: Tensor, removed: Tensor) -> Tensor:
    """Return the step d that sets the removed weights to 0 at the lowest cost, (n,).

    Args:
        weight: (n,).
        inverse: H^-1, (n, n).
        removed: Which weights go, (n,), bool.

    Raises:
        ValueError: If ``removed`` is of another shape or type.

    Example:
        >>> inverse = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
        >>> compensation(torch.tensor([2.0, 5.0]), inverse, torch.tensor([True, False]))
        tensor([-2., -1.])
    """
    _check_inverse(weight, inverse)
    if removed.dtype != torch.bool or removed.shape != weight.shape:
        raise ValueError(
            f"removed must be bool of shape {tuple(weight.shape)}, got "
            f"{removed.dtype} of {tuple(removed.shape)}"
        )
    block = inverse[removed][:, removed]
    step = -inverse[:, removed] @ torch.linalg.solve(block, weight[removed])
    return torch.where(removed, -weight, step)  # exactly, without rounding


def without_index(inverse: Tensor, index: int) -> Tensor:
    """Return the inverse of H without one row and column; they are 0 in it, (n, n).

    Args:
        inverse: H^-1, (n, n), positive at ``index``.
        index: The q that goes.

    Example:
        >>> without_index(torch.tensor([[1.0, 0.5], [0.5, 1.0]]), 0)
        tensor([[0.0000, 0.0000],
                [0.0000, 0.7500]])
    """
    column = inverse[:, index]
    left = inverse - torch.outer(column, inverse[index]) / inverse[index, index]
    left[index], left[:, index] = 0, 0
    return left


def inverse_by_recursion(vectors: Tensor, *, damping: float = 1e-4) -> Tensor:
    """Return the inverse of damping I + mean of x x^T, one vector at a time, (n, n).

    Args:
        vectors: The x, (P, n). For a squared error the slopes of the output by the
            weights; :func:`effdl.prune.obs_model.curvature_vectors` for any loss.
        damping: Above 0; the paper takes 1e-8 to 1e-4.

    Example:
        >>> inverse_by_recursion(torch.tensor([[1.0, 0.0]]), damping=1.0)
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    check_damping(damping)
    check_positive(vectors=len(vectors))
    inverse = torch.eye(vectors.shape[1], dtype=torch.float64) / damping
    for vector in vectors.double():
        image = inverse @ vector
        inverse -= torch.outer(image, image) / (len(vectors) + vector @ image)
    return inverse.to(vectors)


def surgeon(weight: Tensor, inverse: Tensor, count: int) -> Surgery:
    """Return the weights after the cheapest one has been taken ``count`` times.

    Args:
        weight: (n,).
        inverse: H^-1, (n, n).
        count: How many go, at most n.

    Raises:
        ValueError: If there are fewer weights.

    Example:
        >>> surgeon(torch.tensor([3.0, 1.0, 2.0]), torch.eye(3), 2)[:2]
        (tensor([3., 0., 0.]), tensor([1, 2]))
    """
    check_positive(count=count)
    _check_inverse(weight, inverse)
    if count > len(weight):
        raise ValueError(f"count must be at most {len(weight)}, got {count}")
    weight, removed = weight.clone(), torch.zeros_like(weight, dtype=torch.bool)
    order, increases = [], []
    for _ in range(count):
        saliency = weight.square() / (2 * inverse.diagonal())
        cheapest = int(saliency.masked_fill(removed, torch.inf).argmin())
        order.append(cheapest)
        increases.append(saliency[cheapest])
        removed[cheapest] = True
        weight -= weight[cheapest] / inverse[cheapest, cheapest] * inverse[:, cheapest]
        weight[removed] = 0
        inverse = without_index(inverse, cheapest)
    return Surgery(weight, torch.tensor(order), torch.stack(increases))


def check_damping(damping: float) -> None:
    """Require a finite number above 0.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_damping(0.0)
        Traceback (most recent call last):
        ValueError: damping must be above 0 and finite, got 0.0; try 1e-4
    """
    if not 0 < damping < float("inf"):
        raise ValueError(f"damping must be above 0 and finite, got {damping}; try 1e-4")


def _check_inverse(weight: Tensor, inverse: Tensor) -> None:
    count = weight.shape[-1]
    if inverse.shape != (count, count):
        raise ValueError(
            f"inverse must be ({count}, {count}), got {tuple(inverse.shape)}"
        )
    if not (inverse.diagonal() > 0).all():  # nan is not, either
        raise ValueError(
            "inverse must be positive on its diagonal, or a weight would become nan; "
            "invert with more damping"
        )
