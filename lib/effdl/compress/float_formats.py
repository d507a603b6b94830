"""Floating-point formats of 8 to 32 bits, from their bits up, and rounding to them.

Papers: Micikevicius et al., "Mixed Precision Training", ICLR 2018,
https://arxiv.org/abs/1710.03740, for 16 bits, and Micikevicius et al., "FP8 Formats for
Deep Learning", 2022, https://arxiv.org/abs/2209.05433, for 8.

A sign, e bits of exponent E, m bits of mantissa M, and the bias b = 2^(e-1) - 1:

    E > 0     +- (1 + M / 2^m) 2^(E - b)      normal
    E = 0     +- M / 2^m       2^(1 - b)      subnormal: same step, fewer digits

As IEEE has it, the largest E is kept for infinity and for what is no number. E4M3 keeps
one pattern of bits for the latter only, and uses all others: its largest value is 448,
not 240. So

    largest     (2 - 2^-m) 2^b        or, without infinity, (2 - 2 * 2^-m) 2^(b + 1)
    smallest    2^(1 - b) normal,     2^(1 - b - m) at all
    step        2^-m from 1 to its neighbour

    float16  e 5 m 10     bfloat16  e 8 m 7     E4M3  e 4 m 3     E5M2  e 5 m 2

Rounding goes to the nearer of two neighbours, on a tie to the one with an even M. The
neighbours of x are 2^(max(E, 1) - b - m) apart.

Before trusting it: beyond the largest value E4M3 stays at it here, other programs say
that it is no number. PyTorch does one or the other, depending on its version.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.checks import check_positive


@dataclass(frozen=True)
class Format:
    """A floating-point format; ``ValueError`` if e is below 2 or m below 1.

    Attributes:
        exponent: Bits e.
        mantissa: Bits m.
        infinity: Whether the largest exponent is kept for infinity.

    Example:
        >>> [Format(5, 10).largest, Format(4, 3, infinity=False).largest]
        [65504.0, 448.0]
    """

    exponent: int
    mantissa: int
    infinity: bool = True

    def __post_init__(self) -> None:
        check_positive(exponent=self.exponent, mantissa=self.mantissa)
        if self.exponent < 2:
            raise ValueError(f"exponent must be at least 2, got {self.exponent}")

    @property
    def bias(self) -> int:
        """What is subtracted from E."""
        return 2 ** (self.exponent - 1) - 1

    @property
    def bits(self) -> int:
        """Bits of a value, its sign among them."""
        return 1 + self.exponent + self.mantissa

    @property
    def step(self) -> float:
        """From 1 to the next value."""
        return 2.0**-self.mantissa

    @property
    def largest(self) -> float:
        """The largest finite value."""
        if self.infinity:
            return (2 - self.step) * 2.0**self.bias
        return (2 - 2 * self.step) * 2.0 ** (self.bias + 1)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive value with all its digits."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest(self) -> float:
        """The smallest positive value."""
        return self.smallest_normal * self.step


FLOAT16 = Format(5, 10)
BFLOAT16 = Format(8, 7)
E4M3 = Format(4, 3, infinity=False)
E5M2 = Format(5, 2)


def rounded(x: Tensor, to: Format) -> Tensor:
    """Return the nearest values of the format, ties to even, in x's own dtype.

    Beyond the largest value: infinity where the format has it, else the largest.

    Args:
        x: Float32 or float64, any shape.
        to: The format; narrower than that of x.

    Raises:
        ValueError: If x is of fewer bits.

    Example:
        >>> rounded(torch.tensor([0.3, 17.0, 1000.0]), E4M3).tolist()
        [0.3125, 16.0, 448.0]
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32 or float64, got {x.dtype}; use x.float()")
    wide = x.double()
    exponent = wide.frexp().exponent - 1  # |x| = 1.something * 2^exponent
    lowest = 1 - to.bias
    gap = torch.ldexp(torch.ones_like(wide), exponent.clamp(min=lowest) - to.mantissa)
    near = (wide / gap).round() * gap  # round() takes ties to even
    beyond = torch.inf if to.infinity else to.largest
    return torch.where(near.abs() > to.largest, wide.sign() * beyond, near).to(x)
