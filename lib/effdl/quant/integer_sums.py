"""Additions, means and new scales on integers: where two grids have to meet.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
appendix A.2.

    new scale   q_y = z_y + M (q - z),                  M = s / s_y
    mean        q_y = z_y + M sum of (q - z),           M = s / (pixels s_y)
    addition    t   = M_1 (q_1 - z_1) + M_2 (q_2 - z_2),  M_i = s_i / u
                q_y = z_y + M t,                        M = u / s_y, u = 2 max(s_1, s_2)

An addition thus rescales three times. All integers get up to 20 bits more before they
are multiplied, as many as int32 holds, and M is as much smaller. Otherwise rounding
twice would show: M is near 1 here (:mod:`effdl.quant.fixed_point`), and in the first
two rescalings of an addition a whole step would be rounded. A ReLU that follows is in
the limits of the output.

What differs: the paper rescales one input of an addition to the scale of the other. Two
rescalings to a third scale treat both alike; the authors' later library does so.
"""

import torch
from torch import Tensor, nn

from effdl.quant.fixed_point import FixedPoint, fixed_point, rescale
from effdl.quant.grid import Grid
from effdl.quant.integer_layers import Requantize, check_integers

EXTRA_BITS = 20


class IntegerRescale(nn.Module):
    """From one grid to another, for a ReLU that stands alone.

    Args:
        source: Grid of the input.
        target: Grid of the output.
        ceiling: 6 for ReLU6, infinity for ReLU, None if there is neither.

    Example:
        >>> source, target = (
        ...     Grid(torch.tensor(s), torch.tensor(9), 0, 99) for s in (0.5, 0.25)
        ... )
        >>> relu = IntegerRescale(source, target, float("inf"))
        >>> relu(torch.tensor([4, 11], dtype=torch.int32))
        tensor([ 9, 13], dtype=torch.int32)
    """

    def __init__(
        self, source: Grid, target: Grid, ceiling: float | None = None
    ) -> None:
        super().__init__()
        self.zero_point = int(source.zero_point)
        self.span = source.highest - source.lowest
        fixed = fixed_point(source.scale.double() / target.scale.double())
        self.requantize = Requantize(fixed, target, ceiling)

    def forward(self, q: Tensor) -> Tensor:
        """Return the integers of the output, int32, in the shape of q."""
        check_integers(q)
        extra = extra_bits(self.span)
        return self.requantize((q - self.zero_point) << extra, 1 << extra)


class IntegerMean(IntegerRescale):
    """The mean over all pixels.

    Takes the arguments of :class:`IntegerRescale`.

    Example:
        >>> grid = Grid(torch.tensor(0.5), torch.tensor(9), 0, 99)
        >>> q = torch.tensor([[[[9, 9], [10, 14]]]], dtype=torch.int32)
        >>> IntegerMean(grid, grid)(q)  # the mean of 0, 0, 1 and 5 is 1.5
        tensor([[[[11]]]], dtype=torch.int32)
    """

    def forward(self, q: Tensor) -> Tensor:
        """Return (N, C, 1, 1), int32, for integers q of (N, C, H, W).

        Raises:
            ValueError: If there are so many pixels that their sum may leave int32.
        """
        check_integers(q)
        pixels = q.shape[2] * q.shape[3]
        if self.span * pixels >= 2**30:
            most = (2**30 - 1) // self.span
            raise ValueError(f"q must have {most} pixels or fewer, got {pixels}")
        extra = extra_bits(self.span * pixels)
        total = (q - self.zero_point).sum((2, 3), keepdim=True, dtype=torch.int32)
        return self.requantize(total << extra, pixels << extra)


class IntegerAddition(nn.Module):
    """A shortcut: two inputs of different scales.

    Args:
        first: Grid of one input.
        second: Grid of the other.
        target: Grid of the output.
        ceiling: 6 for ReLU6, infinity for ReLU, None if there is neither.

    Example:
        >>> half, one = (
        ...     Grid(torch.tensor(s), torch.tensor(0), 0, 9) for s in (0.5, 1.0)
        ... )
        >>> q = torch.tensor([2, 4], dtype=torch.int32)
        >>> IntegerAddition(half, one, one)(q, q)  # 1 + 2, 2 + 4
        tensor([3, 6], dtype=torch.int32)
    """

    multipliers: Tensor
    shifts: Tensor

    def __init__(
        self, first: Grid, second: Grid, target: Grid, ceiling: float | None = None
    ) -> None:
        super().__init__()
        scales = torch.stack((first.scale, second.scale)).double()
        coarse = 2 * scales.max()
        parts = fixed_point(scales / coarse)
        self.register_buffer("multipliers", parts.multiplier)
        self.register_buffer("shifts", parts.shift.to(torch.int8))
        span = max(grid.highest - grid.lowest for grid in (first, second))
        self.extra = extra_bits(span)
        self.zero_points = int(first.zero_point), int(second.zero_point)
        fixed = fixed_point(coarse / 2**self.extra / target.scale.double())
        self.requantize = Requantize(fixed, target, ceiling)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the integers of the sum, int32, for integers of one shape."""
        parts = []
        for index, q in enumerate((first, second)):
            check_integers(q)
            fixed = FixedPoint(self.multipliers[index], self.shifts[index].int())
            parts.append(rescale((q - self.zero_points[index]) << self.extra, fixed))
        return self.requantize(parts[0] + parts[1])


def extra_bits(span: int) -> int:
    """Return by how many bits an integer can grow and stay below 2^30; 20 at most.

    Args:
        span: The largest that it can be, below 2^30.

    Example:
        >>> extra_bits(255), extra_bits(255 * 49)
        (20, 16)
    """
    return min(EXTRA_BITS, 30 - span.bit_length())
