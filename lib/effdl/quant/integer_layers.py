"""Convolution and linear layer on integers, added up in int32.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
sections 2.2 to 2.4.

With x = s (q - z) for input, weight (whose z is 0) and output, y = sum of w x + b is

    total   = sum of q_w (q_x - z_x) + q_b             int32; q_b has the scale s_w s_x
    q_y     = z_y + M total,  M = s_w s_x / s_y        in fixed point
    q_y     = min(max(q_y, lowest), highest)           ReLU and ReLU6 are in the limits

PyTorch's convolution adds up in int32 if all it gets is int32. Here it is faster than
windows times a matrix and than float64, and slower than float32. A layer whose totals
may leave int32 for any input on its grid is refused.

What differs: the paper stores weights as 1 to 255 with a zero point. -127 to 127
without one is the same numbers, and saves a sum over the input.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.quant.fixed_point import HIGH, FixedPoint, divided, rescale
from effdl.quant.grid import Grid


class Requantize(nn.Module):
    """From a total in int32 to the integers of the next layer.

    Args:
        fixed: M, () or one for every channel, (C,).
        grid: Where the result goes, one for the whole tensor.
        ceiling: 6 for ReLU6, infinity for ReLU, None if there is neither.

    Attributes:
        zero_point: The integer that stands for 0.
        lowest: The smallest result; the zero point if there is a ReLU.
        highest: The largest.
        rescale: How M is multiplied by; set it to ``rescale_once`` to round once.

    Example:
        >>> from effdl.quant.fixed_point import fixed_point
        >>> grid = Grid(torch.tensor(1.0), torch.tensor(5), 0, 255)
        >>> to_grid = Requantize(fixed_point(torch.tensor(0.1)), grid, ceiling=6)
        >>> to_grid(torch.tensor([-9, 30, 999], dtype=torch.int32)).tolist()
        [5, 8, 11]
    """

    multiplier: Tensor
    shift: Tensor

    def __init__(
        self, fixed: FixedPoint, grid: Grid, ceiling: float | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("multiplier", fixed.multiplier)
        self.register_buffer("shift", fixed.shift.to(torch.int8))
        self.rescale: Callable[[Tensor, FixedPoint], Tensor] = rescale
        zero = self.zero_point = int(grid.zero_point)
        self.lowest, self.highest = grid.lowest, grid.highest
        if ceiling is not None:
            self.lowest = max(grid.lowest, zero)
            steps = min(ceiling / grid.scale.item(), float(grid.highest - zero))
            self.highest = zero + round(steps)

    def forward(self, total: Tensor, count: int = 1) -> Tensor:
        """Return the integers of M total / count, int32; total is (N, C, ...), int32.

        Only a single M can be divided by a ``count``.
        """
        shape = [-1] + [1] * (total.ndim - 2) if self.shift.ndim else []
        multiplier, shift = self.multiplier.reshape(shape), self.shift.reshape(shape)
        fixed = FixedPoint(multiplier, shift.int())
        if count != 1:
            fixed = divided(fixed, count)
        moved = self.rescale(total, fixed).long() + self.zero_point
        return moved.clamp(self.lowest, self.highest).int()


class IntegerLayer(nn.Module):
    """A convolution or a linear layer, with the ReLU that follows.

    Args:
        weight: q_w, integers of 16 bits at most, shaped as the layer's.
        bias: q_b, integers, (out,).
        source: Grid of the input.
        requantize: What the totals go through.
        like: Float layer, whose stride, padding and groups it has.

    Raises:
        ValueError: If a total may leave int32, the padding is not of zeros, or there
            is a dilation.

    Example:
        >>> from effdl.quant.fixed_point import fixed_point
        >>> grid = Grid(torch.tensor(0.5), torch.tensor(1), 0, 255)
        >>> layer = IntegerLayer(
        ...     torch.tensor([[2, -3]]),
        ...     torch.tensor([4]),
        ...     grid,
        ...     Requantize(fixed_point(torch.ones(1)), grid),
        ...     nn.Linear(2, 1),
        ... )
        >>> layer(torch.tensor([[11, 4]], dtype=torch.int32))  # 2 * 10 - 3 * 3 + 4 + 1
        tensor([[16]], dtype=torch.int32)
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        source: Grid,
        requantize: Requantize,
        like: nn.Conv2d | nn.Linear,
    ) -> None:
        super().__init__()
        self.zero_point = int(source.zero_point)
        _check_totals(largest_total(weight, bias, source))
        small = bool((weight.abs() <= 127).all())
        self.register_buffer("weight", weight.to(torch.int8 if small else torch.int16))
        self.register_buffer("bias", bias.int())
        self.requantize = requantize
        self.convolution: tuple[Any, ...] | None = None
        if isinstance(like, nn.Conv2d):
            if like.padding_mode != "zeros" or {*like.dilation} != {1}:
                raise ValueError(
                    f"padding must be of zeros and dilation 1, got {like}; "
                    "insert zeros into the kernel"
                )
            self.convolution = (like.stride, like.padding, 1, like.groups)

    def totals(self, q: Tensor) -> Tensor:
        """Return the totals, int32, for integers q of (N, in) or (N, in, H, W)."""
        check_integers(q)
        centred, weight = q - self.zero_point, self.weight.int()
        if self.convolution is None:
            return F.linear(centred, weight, self.bias)
        return F.conv2d(centred, weight, self.bias, *self.convolution)

    def forward(self, q: Tensor) -> Tensor:
        """Return the integers of the output, int32."""
        return self.requantize(self.totals(q))


def largest_total(weight: Tensor, bias: Tensor, source: Grid) -> Tensor:
    """Return the largest absolute total of every channel, int64, (out,).

    No input on the grid has a larger one, nor has any part of the sum.

    Args:
        weight: q_w, integers, (out, ...).
        bias: q_b, integers, (out,).
        source: Grid of the input.

    Example:
        >>> grid = Grid(torch.tensor(0.5), torch.tensor(55), 0, 255)
        >>> largest_total(torch.tensor([[2, -3]]), torch.tensor([-4]), grid)
        tensor([1004])
    """
    zero = int(source.zero_point)
    reach = max(source.highest - zero, zero - source.lowest)
    return weight.long().abs().flatten(1).sum(1) * reach + bias.long().abs()


def check_integers(q: Tensor) -> None:
    """Require a tensor of int32.

    Args:
        q: Of any shape.

    Raises:
        ValueError: If its type is another one.

    Example:
        >>> check_integers(torch.ones(2))
        Traceback (most recent call last):
        ValueError: q must be int32, got torch.float32; call quantize first
    """
    if q.dtype != torch.int32:
        raise ValueError(f"q must be int32, got {q.dtype}; call quantize first")


def _check_totals(largest: Tensor) -> None:
    if int(largest.max()) > HIGH:
        raise ValueError(
            f"weight and bias may add up to {int(largest.max())}, int32 ends at "
            f"{HIGH}; use fewer bits"
        )
