"""Bi-directional masks: one N:M mask on the way forward, another on the way back.

Paper: Zhang et al., "Bi-directional Masks for Efficient N:M Sparse Training", ICML
2023, https://arxiv.org/abs/2302.06058.

    forward     y = (W m) x                m: N:M along the inputs of W
    backward    dx = (W m b)^T g           b: N:M along its outputs, in the order P

The exact gradient has b = 1, but (W m)^T is no N:M matrix: a column of W m may keep any
number of weights. b takes the smallest of those that are too many, so dx is wrong by
what it takes, and only by that. No mask has to serve both ways, as a transposable one.

The order P of the outputs decides which weights of a column share a group, and so how
many b takes. The authors draw orders at random and keep that with most overlap,

    overlap(P) = number of weights that m and b both keep

from time to time, as the weights move. The mask is put back into the order of the
outputs, so nothing else changes its place.

The slope of W itself is that of W m, passed straight through m to every weight.

What differs: the authors add the decay of SR-STE to that slope; it belongs to the
optimiser's side here. They form groups across kernel pixels; here always along inputs
or outputs. :func:`~effdl.prune.channel_permutation.greedy_order` of (W m)^T finds
orders that the authors do not look for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from effdl.checks import check_positive
from effdl.prune.nm import nm_mask


def backward_mask(
    weight: Tensor,
    order: Sequence[int] | None = None,
    keep: int = 2,
    group: int = 4,
) -> Tensor:
    """Return the mask b that keeps the N largest of every M outputs in the order, bool.

    Args:
        weight: The weight of the way forward, W m: (out, in) or (out, in, k, k).
        order: Which output stands at each place; None: as they are.
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of out.

    Raises:
        ValueError: If ``order`` does not name every output once.

    Example:
        >>> weight = torch.tensor([[4.0], [3.0], [2.0], [1.0]])
        >>> backward_mask(weight, keep=1, group=2).flatten().tolist()
        [True, False, True, False]
        >>> backward_mask(weight, [0, 3, 1, 2], keep=1, group=2).flatten().tolist()
        [True, True, False, False]
    """
    outputs = len(weight)
    chosen = torch.arange(outputs) if order is None else torch.as_tensor(order)
    if sorted(chosen.tolist()) != list(range(outputs)):
        raise ValueError(f"order must name each of 0 to {outputs - 1} once")
    turned = weight.detach().abs()[chosen].transpose(0, 1)
    mask = nm_mask(turned, keep, group).transpose(0, 1)
    return mask[chosen.argsort()].contiguous()


def overlap(
    weight: Tensor,
    order: Sequence[int] | None = None,
    keep: int = 2,
    group: int = 4,
) -> int:
    """Return how many weights of the way forward serve the way back, too.

    Args:
        weight: W m: (out, in) or (out, in, k, k), 0 where a weight is gone.
        order: Which output stands at each place; None: as they are.
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of out.

    Example:
        >>> overlap(torch.tensor([[4.0], [3.0], [0.0], [0.0]]), keep=1, group=2)
        1
        >>> overlap(torch.tensor([[4.0], [3.0], [0.0], [0.0]]), [0, 2, 1, 3], 1, 2)
        2
    """
    kept = backward_mask(weight, order, keep, group)
    return int(((weight != 0) & kept).sum())


def drawn_order(
    weight: Tensor, candidates: int = 100, keep: int = 2, group: int = 4
) -> list[int]:
    """Return the order with the largest overlap of those that torch's generator draws.

    The order as it is comes first, and stays if no other is better.

    Args:
        weight: W m: (out, in) or (out, in, k, k), 0 where a weight is gone.
        candidates: How many are drawn.
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of out.

    Example:
        >>> drawn_order(torch.tensor([[4.0], [0.0], [3.0], [0.0]]), keep=1, group=2)
        [0, 1, 2, 3]
    """
    check_positive(candidates=candidates)
    drawn = [torch.randperm(len(weight)).tolist() for _ in range(candidates)]
    orders = [list(range(len(weight))), *drawn]
    return max(orders, key=lambda order: overlap(weight, order, keep, group))


def bidirectional_linear(
    x: Tensor, weight: Tensor, forward: Tensor, backward: Tensor
) -> Tensor:
    """Return W m x, (..., out), whose slope for x is that of W m b.

    The slope for W is that of W m, for every weight, masked or not.

    Args:
        x: (..., in).
        weight: W, (out, in).
        forward: Mask m of the way forward, (out, in), bool.
        backward: Mask b of the way back, (out, in), bool; weights that m takes are
            taken in any case.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> weight = torch.tensor([[3.0, 4.0]])
        >>> ones, first = torch.ones(1, 2) > 0, torch.tensor([[True, False]])
        >>> y = bidirectional_linear(x, weight, ones, first)
        >>> y.sum().backward()
        >>> y.item(), x.grad.tolist()
        (7.0, [3.0, 0.0])
    """
    result: Tensor = _TwoWays.apply(x, weight, forward, backward)
    return result


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, ...]


class _TwoWays(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, forward: Tensor, backward: Tensor
    ) -> Tensor:
        masked = torch.where(forward, weight, 0)
        ctx.save_for_backward(x, torch.where(backward, masked, 0))
        return x @ masked.T

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, back = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        inputs = x.reshape(-1, x.shape[-1])
        return grad @ back, rows.T @ inputs, None, None
