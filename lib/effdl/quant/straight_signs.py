"""Straight-through estimators: a gradient for the sign, which has none.

Paper: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons
for Conditional Computation", 2013, https://arxiv.org/abs/1308.3432, section 4; the
clipped one is that of Courbariaux et al., "Binarized Neural Networks", 2016,
https://arxiv.org/abs/1602.02830, section 1.3.

The sign's derivative is 0 wherever it has one. So backward pretends that forward had
computed something else, the surrogate:

    identity    forward sign(x)    backward g             as if it had been x
    clipped     forward sign(x)    backward g [|x| <= 1]  as if max(-1, min(1, x))

g is the gradient that arrives. Clipping tells a value far from 0, which no small step
turns, that it may stay where it is.

With a coin instead of the sign there is a case in which this is exact. Its mean is
max(-1, min(1, x)), and if the loss L is linear in each single coin, then

    d/dx E[L] = E[dL/db] [|x| <= 1]

which is what the clipped estimator returns on average. For other losses it is biased:
L = b^2 is 1 whatever x is, and the estimator says 2 b.

Before trusting it: for the sign itself it is no derivative of anything, and a loss that
falls along it is not promised.
"""

import torch
from torch import Tensor

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import coin_sign, sign


def straight_sign(x: Tensor) -> Tensor:
    """Return the sign, +1 at 0, with the gradient of the identity.

    Args:
        x: Finite, of any shape.

    Example:
        >>> x = torch.tensor([0.2, -3.0], requires_grad=True)
        >>> straight_sign(x).sum().backward()
        >>> x.grad
        tensor([1., 1.])
    """
    return straight_through(x, sign(x))


def clipped_sign(x: Tensor) -> Tensor:
    """Return the sign, +1 at 0, with the gradient 1 from -1 to 1 and 0 elsewhere.

    Args:
        x: Of any shape.

    Example:
        >>> x = torch.tensor([0.2, -3.0], requires_grad=True)
        >>> clipped_sign(x).sum().backward()
        >>> x.grad
        tensor([1., 0.])
    """
    return straight_through(_inside(x), sign(x))


def clipped_coin(x: Tensor) -> Tensor:
    """Return :func:`~effdl.quant.binarize.coin_sign` with the clipped gradient.

    Args:
        x: Of any shape.

    Example:
        >>> x = torch.tensor([1.0, -3.0], requires_grad=True)
        >>> coins = clipped_coin(x)
        >>> coins.tolist()
        [1.0, -1.0]
        >>> coins.sum().backward()
        >>> x.grad
        tensor([1., 0.])
    """
    return straight_through(_inside(x), coin_sign(x))


def _inside(x: Tensor) -> Tensor:
    # The gradient of clamp at -1 and 1 differs from one version of PyTorch to another.
    return torch.where(x.abs() <= 1, x, 0)
