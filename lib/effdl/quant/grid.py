"""Numbers on a grid: integers of few bits, a scale, and the integer that means 0.

Paper: Nagel et al., "A White Paper on Neural Network Quantization", 2021,
https://arxiv.org/abs/2106.08295, section 2.

    q = clamp(round(x / s) + z, lowest, highest)        what is stored
    x' = s (q - z)                                      what it stands for

s is the scale, the distance of two neighbours, and z the zero point, a whole number: so
0 is on the grid exactly. Half a step is rounded to the even neighbour. In the range,
|x - x'| is at most s / 2; outside it, x is clipped.

    affine       s = (high - low) / (highest - lowest)      z = lowest - round(low / s)
    symmetric    s = largest / highest                      z = 0, lowest = -highest

Scale and zero point are those of a whole tensor, or one for each channel.

x is divided by s, as ONNX defines it. torch.fake_quantize multiplies by 1 / s instead,
which now and then rounds the other way where x lies half-way between two neighbours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.quant.checks import check_bits, check_finite


@dataclass(frozen=True)
class Grid:
    """The numbers that a tensor may have.

    Attributes:
        scale: Above 0, () for a whole tensor or (channels,).
        zero_point: The integer that stands for 0, int32, shaped like the scale.
        lowest: Smallest integer.
        highest: Largest integer.
        axis: Dimension of the channels; None for a whole tensor.
    """

    scale: Tensor
    zero_point: Tensor
    lowest: int
    highest: int
    axis: int | None = None

    def along(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and zero point in a shape that broadcasts with a tensor.

        Args:
            x: What is to be on the grid.

        Raises:
            ValueError: If it has not as many channels as the grid.

        Example:
            >>> grid = symmetric_grid(torch.ones(3), bits=8, axis=1)
            >>> grid.along(torch.zeros(5, 3))[0].shape
            torch.Size([1, 3])
        """
        if self.axis is None:
            return self.scale, self.zero_point
        channels = x.shape[self.axis] if -x.ndim <= self.axis < x.ndim else None
        if channels != len(self.scale):
            raise ValueError(
                f"x must have {len(self.scale)} channels in dimension {self.axis}, "
                f"got shape {tuple(x.shape)}; make another grid for it"
            )
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


def affine_grid(
    low: Tensor,
    high: Tensor,
    *,
    bits: int,
    signed: bool = False,
    axis: int | None = None,
) -> Grid:
    """Return the grid that spans a range, made wider where it does not hold 0.

    Where low = high = 0 the scale is 1: 0 stays 0.

    Args:
        low: Smallest value, () or (channels,).
        high: Largest value, of the same shape.
        bits: 1 to 16.
        signed: Integers from -2^(bits-1) on, else from 0 on.
        axis: Dimension of the channels, if there are any.

    Raises:
        ValueError: If ``low`` is above ``high``, or shape and ``axis`` do not fit.
            Not finite values and other bits are refused, too.

    Example:
        >>> grid = affine_grid(torch.tensor(-1.0), torch.tensor(2.0), bits=8)
        >>> round(grid.scale.item(), 5), grid.zero_point.item()
        (0.01176, 85)
    """
    check_bits(bits)
    check_finite(low=low, high=high)
    _check_axis(low, axis)
    if low.shape != high.shape or bool((low > high).any()):
        raise ValueError(
            f"low must be at most high, got {low.tolist()} and {high.tolist()}; "
            "are they swapped?"
        )
    lowest = -(2 ** (bits - 1)) if signed else 0
    highest = lowest + 2**bits - 1
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = _no_zeros((high - low) / (highest - lowest))
    check_finite(scale=scale)  # a range can be wider than the largest float
    zero_point = (lowest - (low / scale).round()).clamp(lowest, highest).int()
    return Grid(scale, zero_point, lowest, highest, axis)


def symmetric_grid(largest: Tensor, *, bits: int, axis: int | None = None) -> Grid:
    """Return the grid from -largest to largest, with 2^bits - 1 values.

    Where ``largest`` is 0 the scale is 1: 0 stays 0.

    Args:
        largest: Largest absolute value, () or (channels,).
        bits: 2 to 16.
        axis: Dimension of the channels, if there are any.

    Raises:
        ValueError: If ``largest`` is negative, or shape and ``axis`` do not fit. Not
            finite values and other bits are refused, too.

    Example:
        >>> grid = symmetric_grid(torch.tensor(2.54), bits=8)
        >>> round(grid.scale.item(), 6), grid.lowest, grid.highest
        (0.02, -127, 127)
    """
    check_bits(bits, smallest=2)
    check_finite(largest=largest)
    _check_axis(largest, axis)
    if bool((largest < 0).any()):
        raise ValueError(f"largest must be 0 or more, got {largest.tolist()}; use abs")
    highest = 2 ** (bits - 1) - 1
    scale = _no_zeros(largest / highest)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return Grid(scale, zeros, -highest, highest, axis)


def _no_zeros(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1)


def _check_axis(limit: Tensor, axis: int | None) -> None:
    if limit.ndim != (0 if axis is None else 1):
        raise ValueError(
            "axis must be given for one range a channel, and only then; got limits of "
            f"shape {tuple(limit.shape)} and axis={axis}"
        )
