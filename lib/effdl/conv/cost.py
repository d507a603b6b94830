"""What a convolution costs, in closed form: the three counts that all files here use.

For c input channels, n output channels, a k x k kernel in g groups and an output of
H x W, without bias:

    parameters    = n (c / g) k^2
    MACs          = n (c / g) k^2 H W             each weight meets each output pixel
    memory access = c H_in W_in + parameters + n H W        each number moved once

One MAC is one multiplication with its addition. The memory access is the least that
any machine moves between memory and arithmetic units: a count of numbers, to be
multiplied by 4 bytes for float32. Their quotient, MACs per number moved, says which
of the two a machine waits for.

Not counted: batch norm, activations, and the additions of a bias. A measurement says
what a count cannot: see :mod:`effdl.measure`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from effdl.checks import check_divides, check_positive

Size = int | tuple[int, int]


@dataclass(frozen=True)
class ConvCost:
    """Cost of a layer for one image; costs of layers in sequence add up.

    Args:
        parameters: Weights, and biases where there are any.
        macs: Multiply-adds.
        memory_access: Numbers read and written, each once: input, weights, output.

    Example:
        >>> ConvCost(9, 900, 209) + ConvCost(1, 100, 201)
        ConvCost(parameters=10, macs=1000, memory_access=410)
    """

    parameters: int
    macs: int
    memory_access: int

    def __add__(self, other: ConvCost) -> ConvCost:
        """Return the cost of both layers, the first one's output stored between."""
        return ConvCost(
            self.parameters + other.parameters,
            self.macs + other.macs,
            self.memory_access + other.memory_access,
        )

    @property
    def intensity(self) -> float:
        """Return multiply-adds per number moved.

        Example:
            >>> ConvCost(parameters=9, macs=900, memory_access=200).intensity
            4.5
        """
        return self.macs / self.memory_access


def conv_cost(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    output_size: Size,
    *,
    groups: int = 1,
    input_size: Size | None = None,
    bias: bool = False,
) -> ConvCost:
    """Return the cost of an ordinary (groups 1) or group convolution.

    Raises ``ValueError`` if a number is below 1 or ``groups`` does not divide the
    channels.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side k of the kernel. Its dilation costs nothing.
        output_size: H = W, or (H, W), of the output.
        groups: Groups g, a divisor of both channel numbers.
        input_size: H_in = W_in, or (H_in, W_in), if stride or padding make it differ
            from ``output_size``. It changes only the memory access.
        bias: Whether to count n biases among the parameters.

    Returns:
        The three counts, exact integers.

    Example:
        >>> conv_cost(64, 128, 3, 56)
        ConvCost(parameters=73728, macs=231211008, memory_access=675840)
    """
    check_positive(in_channels=in_channels, out_channels=out_channels)
    check_positive(kernel_size=kernel_size, groups=groups)
    check_divides("groups", groups, in_channels=in_channels, out_channels=out_channels)
    outputs = pixels(output_size)
    inputs = outputs if input_size is None else pixels(input_size)
    weights = out_channels * (in_channels // groups) * kernel_size**2
    parameters = weights + (out_channels if bias else 0)
    return ConvCost(
        parameters=parameters,
        macs=weights * outputs,
        memory_access=in_channels * inputs + parameters + out_channels * outputs,
    )


def pixels(size: Size) -> int:
    """Return H W of a size given as H = W or as (H, W).

    Raises:
        ValueError: If a side is not whole or below 1, or there are not two.

    Example:
        >>> pixels(7), pixels((3, 5))
        (49, 15)
    """
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size must be H or (H, W), got {size!r}; give the two sides")
    check_positive(height=sides[0], width=sides[1])
    return math.prod(map(int, sides))
