"""PACT: where an activation is clipped is learned.

Paper: Choi et al., "PACT: Parameterized Clipping Activation for Quantized Neural
Networks", 2018, https://arxiv.org/abs/1805.06085, sections 3 and 4.

    y   = (|x| - |x - alpha| + alpha) / 2 = clip(x, 0, alpha)       in place of ReLU
    y_q = round(y n / alpha) alpha / n                              n = 2^bits - 1

    dy_q/dx     = 1 where 0 <= x < alpha, else 0
    dy_q/dalpha = 1 where x >= alpha, else 0

A large alpha clips nothing and has coarse steps; a small one has fine steps and clips
much. The task loss reaches alpha only through values that are clipped: it never learns
that steps are too coarse. So the paper adds a penalty, which pulls alpha down until
something is clipped.

    factor  sum of alpha^2          SGD's weight decay d is that with factor d / 2

The weights of the paper are those of :mod:`effdl.quant.dorefa`.

Before trusting it: values below 0 become 0. It stands for ReLU and is no quantizer for
a linear bottleneck or for the input. LSQ's step learns from rounding as well.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from effdl.quant.checks import check_bits
from effdl.quant.grid import Grid


def pact(x: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """Return the activation, clipped to 0 to alpha, on 2^bits levels.

    Args:
        x: What ReLU would get, or what it put out.
        alpha: Above 0, ().
        bits: 1 to 16.

    Raises:
        ValueError: If ``alpha`` is not above 0. Other bits are refused, too.

    Example:
        >>> alpha = torch.tensor(3.0, requires_grad=True)
        >>> y = pact(torch.tensor([-1.0, 0.6, 2.0, 5.0, 9.0]), alpha, 2)
        >>> y.tolist()
        [0.0, 1.0, 2.0, 3.0, 3.0]
        >>> y.sum().backward(); alpha.grad
        tensor(2.)
    """
    check_bits(bits)
    if not bool(alpha > 0):  # nan is not
        raise ValueError(f"alpha must be above 0, got {alpha.item():g}; start from 6")
    result: Tensor = _Pact.apply(x, alpha, 2**bits - 1)
    return result


def alpha_penalty(model: nn.Module) -> Tensor:
    """Return the sum of alpha^2 over all PACT activations, to be added to a loss.

    Args:
        model: With such activations.

    Raises:
        ValueError: If there is none.

    Example:
        >>> alpha_penalty(nn.Sequential(PactActivation(4, alpha=3.0))).item()
        9.0
    """
    found = [m.alpha.square() for m in model.modules() if isinstance(m, PactActivation)]
    if not found:
        raise ValueError("model has no PactActivation; insert one for every ReLU")
    return torch.stack(found).sum()


class PactActivation(nn.Module):
    """An activation's quantizer with a learned clipping.

    Args:
        bits: 1 to 16.
        alpha: Where clipping begins to learn from.

    Attributes:
        alpha: The parameter, ().

    Raises:
        ValueError: If ``alpha`` is not above 0.

    Example:
        >>> PactActivation(1, alpha=2.0)(torch.tensor([0.4, 1.2])).tolist()
        [0.0, 2.0]
    """

    def __init__(self, bits: int, *, alpha: float = 8.0) -> None:
        super().__init__()
        check_bits(bits)
        if not alpha > 0:
            raise ValueError(f"alpha must be above 0, got {alpha}; start from 6")
        self.bits = bits
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def grid(self) -> Grid:
        """Return the grid of today."""
        scale = self.alpha.detach() / (2**self.bits - 1)
        return Grid(scale, torch.zeros_like(scale).int(), 0, 2**self.bits - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the clipped and rounded activation, of any shape."""
        return pact(x, self.alpha, self.bits)


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, Tensor]


class _Pact(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, x: Tensor, alpha: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x, alpha)
        scale = alpha / levels
        return (torch.minimum(x.clamp(min=0), alpha) / scale).round() * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, alpha = ctx.saved_tensors
        above = x >= alpha
        inside = (x >= 0) & ~above
        return torch.where(inside, grad, 0), torch.where(above, grad, 0).sum(), None
