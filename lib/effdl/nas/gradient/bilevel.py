"""Two levels of optimisation on problems small enough to be solved exactly.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.3; equation 8 of the survey:

    minimise over alpha   L_val(w*(alpha), alpha)
    where                 w*(alpha) minimises L_train(w, alpha)

The gradient of the upper level has two parts, what alpha does and what w* does then:

    d L_val / d alpha  -  (d2 L_train / d alpha d w) H^-1 d L_val / d w
    H = d2 L_train / d w2, all at w*(alpha)

    first order   leaves the second part out
    one step      puts the learning rate xi in the place of H^-1
    T steps       put the sum over t < T of xi (1 - xi H)^t there; it tends to H^-1

The last two lines are exact at w = w*. Elsewhere, w0 has not forgotten where it began.

Use these for small problems only: second derivatives are written down as matrices. That
w*(alpha) is one point and H can be inverted is taken for granted; neither is so for a
network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

Loss = Callable[[Tensor, Tensor], Tensor]  # of w (n,) and alpha (m,), a scalar


class TwoLevels(NamedTuple):
    """A problem of two levels.

    Attributes:
        training: What w minimises.
        validation: What alpha minimises.
    """

    training: Loss
    validation: Loss


Gradient = Callable[[TwoLevels, Tensor, Tensor], Tensor]  # of w and alpha, like alpha


def first_order_gradient(problem: TwoLevels, w: Tensor, alpha: Tensor) -> Tensor:
    """Return the gradient (m,) of the validation loss with w as a constant.

    Args:
        problem: The two losses.
        w: Any weights, (n,).
        alpha: The architecture, (m,).

    Example:
        >>> from effdl.nas.gradient.bilevel_toys import TOY
        >>> first_order_gradient(TOY, torch.tensor([-2.0]), torch.tensor([2.0]))
        tensor([-4.])
    """
    alpha = alpha.detach().requires_grad_()
    return torch.autograd.grad(problem.validation(w.detach(), alpha), alpha)[0]


def unrolled_gradient(
    problem: TwoLevels, w: Tensor, alpha: Tensor, *, rate: float, steps: int = 1
) -> Tensor:
    """Return the gradient (m,) through steps of gradient descent of w.

    Args:
        problem: The two losses.
        w: Where the steps begin, (n,).
        alpha: The architecture, (m,).
        rate: Learning rate of the steps.
        steps: How many; 0 is the first order.

    Raises:
        ValueError: If ``steps`` is negative.

    Example:
        >>> from effdl.nas.gradient.bilevel_toys import TOY
        >>> w, alpha = torch.tensor([-2.0]), torch.tensor([2.0])
        >>> unrolled_gradient(TOY, w, alpha, rate=0.5)
        tensor([2.])
    """
    if steps < 0:
        raise ValueError(f"steps must be 0 or larger, got {steps}")
    alpha = alpha.detach().requires_grad_()
    w = w.detach().requires_grad_()
    for _ in range(steps):
        loss = problem.training(w, alpha)
        w = w - rate * torch.autograd.grad(loss, w, create_graph=True)[0]
    return torch.autograd.grad(problem.validation(w, alpha), alpha)[0]


def implicit_gradient(problem: TwoLevels, w: Tensor, alpha: Tensor) -> Tensor:
    """Return the gradient (m,) by the implicit function theorem.

    Args:
        problem: The two losses.
        w: The minimiser of the training loss, (n,); it is not checked that it is.
        alpha: The architecture, (m,).

    Example:
        >>> from effdl.nas.gradient.bilevel_toys import TOY
        >>> here = torch.tensor([2.0])  # of the toy, w*(alpha) = alpha
        >>> implicit_gradient(TOY, here, here)
        tensor([2.])
    """
    w, alpha = w.detach(), alpha.detach()
    judged = w.clone().requires_grad_()
    v = torch.autograd.grad(problem.validation(judged, alpha), judged)[0]
    curvature = hessian(lambda at: problem.training(at, alpha), w)  # (n, n)

    def slope(at: Tensor) -> Tensor:
        point = w.clone().requires_grad_()
        loss = problem.training(point, at)
        return torch.autograd.grad(loss, point, create_graph=True)[0]

    mixed = jacobian(slope, alpha)  # (n, m)
    indirect = mixed.T @ torch.linalg.solve(curvature, v)
    return first_order_gradient(problem, w, alpha) - indirect
