"""LSQ: the step between two neighbours is learned like a weight.

Paper: Esser et al., "Learned Step Size Quantization", ICLR 2020,
https://arxiv.org/abs/1902.08153, section 2.

    u  = v / s                      v: weight or activation, s: the step, learned
    v' = s round(clamp(u, lowest, highest))

    dv'/dv = 1 inside, 0 where clamped
    dv'/ds = round(u) - u           inside: the sum over the tensor pulls at s
             lowest or highest      where clamped

Where does -u come from? For fixed integers v' = s round(u), and its slope to s is
round(u): that is all a finite difference sees. But a larger s makes u smaller, by
du/ds = -u / s, and straight through the rounding counts: s du/ds = -u. So dv'/ds is
small next to a level and jumps half-way between two: s learns where levels should be.

Many values pull at one s, so the gradient is multiplied by 1 / sqrt(values highest),
which brings it to the size of a weight's. The first step is
2 mean|v| / sqrt(highest). :mod:`effdl.quant.lsq_layers` does both.

Where a value lies beyond the last level by less than half a step, torch's own learnable
fake quantization counts it as inside, as it looks after rounding. Here it is clamped,
as in equation 3 of the paper.

Before trusting it: there is no zero point, so values that are all far from 0 waste
levels. An optimiser that decays all parameters shrinks steps, too.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from effdl.quant.checks import check_finite


def lsq(
    x: Tensor, step: Tensor, lowest: int, highest: int, *, factor: float = 1.0
) -> Tensor:
    """Return the nearest multiples of the step, with a gradient to the step.

    Args:
        x: Floats.
        step: Above 0; () or of a shape that broadcasts to that of ``x``.
        lowest: Smallest integer.
        highest: Largest integer.
        factor: What the gradient of the step is multiplied by.

    Raises:
        ValueError: If a step is not above 0.

    Example:
        >>> step = torch.tensor(1.0, requires_grad=True)
        >>> lsq(torch.tensor([0.75, 9.0]), step, 0, 3).sum().backward()
        >>> step.grad.item()                        # (1 - 0.75) + 3
        3.25
    """
    if not bool((step > 0).all()):  # nan is not
        raise ValueError(
            f"step must be above 0, got {step.min().item():g}; lower the learning rate"
        )
    result: Tensor = _Lsq.apply(x, step, lowest, highest, factor)
    return result


def first_step(x: Tensor, highest: int, *, axis: int | None = None) -> Tensor:
    """Return 2 mean|x| / sqrt(highest), 1 where all is 0.

    Args:
        x: What is to be rounded. NaN and infinity are refused.
        highest: Largest integer, at least 1.
        axis: Dimension of the channels, each with a step; None for one, shape ().

    Example:
        >>> first_step(torch.tensor([-2.0, 4.0]), 9)
        tensor(2.)
    """
    check_finite(x=x)
    size = x.detach().abs()
    others = [d for d in range(x.ndim) if axis is None or d != axis % x.ndim]
    step = 2 * (size.mean(others) if others else size) / math.sqrt(highest)
    return torch.where(step > 0, step, 1)


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, Tensor]
    lowest: int
    highest: int
    factor: float


class _Lsq(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        x: Tensor,
        step: Tensor,
        lowest: int,
        highest: int,
        factor: float,
    ) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.lowest, ctx.highest, ctx.factor = lowest, highest, factor
        return (x / step).clamp(lowest, highest).round() * step

    @staticmethod
    @once_differentiable
    def backward(
        ctx: _Context, grad: Tensor
    ) -> tuple[Tensor, Tensor, None, None, None]:
        x, step = ctx.saved_tensors
        u = x / step
        clamped = u.clamp(ctx.lowest, ctx.highest)
        inside = u == clamped
        slope = torch.where(inside, u.round() - u, clamped)
        pull = (grad * slope).sum_to_size(step.shape) * ctx.factor
        return torch.where(inside, grad, 0), pull, None, None, None
