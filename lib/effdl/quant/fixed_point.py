"""Times a real number, with integers only: one multiplication, one shift.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 2.2 and appendix B.

Between two layers, sums are multiplied by M = s_weight s_in / s_out, a real number that
is known beforehand. It becomes an int32 M0 and a shift n:

    M = 2^-n m,   m in [0.5, 1),   M0 = round(2^31 m) in [2^30, 2^31)
    x M  ~  shift(high(x, M0), n)

    high(a, b)   = floor((a b + 2^30) / 2^31)      the upper half of 2 a b, rounded
    shift(x, n)  = x / 2^n, to the nearest integer

Half-way cases go up in the first, and away from 0 in the second; the one product that
does not fit, of -2^31 with itself, becomes 2^31 - 1. So does gemmlowp, the authors'
library, whose functions are SaturatingRoundingDoublingHighMul and RoundingDivideByPOT.
If M is 1 or more, n is 0 or negative: x is shifted to the left first, and what leaves
int32 is cut there.

M0 has an error of half a unit: relative to M, at most 2^-31. But the result is rounded
twice, to multiples of 2^-n of a unit and then to units. It is not the integer nearest
to x M, but the one beside it, in a share 2^-(n + 1) of all x: 1 of 4 if n is 1, 1 of
1000 if n is 9. Rounding once is another choice (``rescale_once``), and needs a sum of
64 bits.

Everything is int32 outside. The products are formed in int64, which holds them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from effdl.checks import check_positive

LOW, HIGH = -(2**31), 2**31 - 1


class FixedPoint(NamedTuple):
    """A positive real number, M0 2^(-31 - n), or a tensor of them.

    Attributes:
        multiplier: M0, int32, from 2^30 to below 2^31.
        shift: n to the right, int32, -31 to 31.
    """

    multiplier: Tensor
    shift: Tensor


def fixed_point(real: Tensor) -> FixedPoint:
    """Return the nearest numbers of the form M0 2^(-31 - n).

    Args:
        real: M, any shape, float64 for all of its digits; at least 2^-32, below 2^31.

    Raises:
        ValueError: If one is out of this range, or not a number.

    Example:
        >>> multiplier, shift = fixed_point(torch.tensor(0.25))
        >>> multiplier.item() == 2**30, shift.item()
        (True, 1)
    """
    mantissa, exponent = torch.frexp(real.double())
    multiplier = (mantissa * 2**31).round().long()
    full = multiplier == 2**31  # rounded up to 1
    multiplier, exponent = torch.where(full, 2**30, multiplier), exponent + full
    fits = (real > 0) & real.isfinite() & (exponent >= -31) & (exponent <= 31)
    if not bool(fits.all()):
        raise ValueError(
            f"real must be 2^-32 to 2^31, got {real[~fits].flatten()[0].item():.4g}; "
            "are the scales of layer and input those of one network?"
        )
    return FixedPoint(multiplier.int(), -exponent.int())


def real_value(fixed: FixedPoint) -> Tensor:
    """Return the numbers as float64, exactly.

    Args:
        fixed: What :func:`fixed_point` returned.

    Example:
        >>> real_value(fixed_point(torch.tensor(0.75))).item()
        0.75
    """
    return torch.ldexp(fixed.multiplier.double(), -31 - fixed.shift)


def divided(fixed: FixedPoint, count: int) -> FixedPoint:
    """Return a number divided by a whole one; integers do it.

    Args:
        fixed: A single one.
        count: At least 1, or ``ValueError``.

    Raises:
        ValueError: If less than 2^-32 would be left.

    Example:
        >>> real_value(divided(fixed_point(torch.tensor(0.75)), 6)).item()
        0.125
    """
    check_positive(count=count)
    quotient = (int(fixed.multiplier) << 62) // count
    surplus = quotient.bit_length() - 31
    multiplier = (quotient + (1 << (surplus - 1))) >> surplus
    if multiplier == 2**31:  # rounded up to 1
        multiplier, surplus = 2**30, surplus + 1
    shift = int(fixed.shift) + 62 - surplus
    if shift > 31:
        raise ValueError(f"count must leave 2^-32 or more, got {count}; sum fewer")
    new = fixed.multiplier.new_tensor
    return FixedPoint(new(multiplier), new(shift))


def high_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return a b / 2^31 to the nearest integer, int32; half-way up.

    Args:
        a: int32, or ``ValueError``.
        b: int32, of a shape that broadcasts.

    Example:
        >>> a = torch.tensor([6, 7, -7], dtype=torch.int32)
        >>> high_multiply(a, torch.tensor(2**30, dtype=torch.int32)).tolist()
        [3, 4, -3]
    """
    _check_int32("a", a)
    _check_int32("b", b)
    return ((a.long() * b.long() + 2**30) >> 31).clamp(max=HIGH).int()


def rounding_shift(x: Tensor, exponent: Tensor) -> Tensor:
    """Return x / 2^exponent to the nearest integer, int32; half-way away from 0.

    Args:
        x: int32, or ``ValueError``.
        exponent: Integers 0 to 31, of a shape that broadcasts.

    Raises:
        ValueError: If an exponent is out of range.

    Example:
        >>> x = torch.tensor([5, 6, 7, -6], dtype=torch.int32)
        >>> rounding_shift(x, torch.tensor(2)).tolist()
        [1, 2, 2, -2]
    """
    _check_int32("x", x)
    exponent = exponent.long()
    if bool((exponent < 0).any() or (exponent > 31).any()):
        raise ValueError(f"exponent must be 0 to 31, got {exponent.tolist()}")
    wide = x.long()
    mask = (1 << exponent) - 1
    remainder, half = wide & mask, mask >> 1
    return ((wide >> exponent) + (remainder > half + (wide < 0).long()).long()).int()


def rescale(x: Tensor, fixed: FixedPoint) -> Tensor:
    """Return x M, rounded twice, int32.

    Args:
        x: int32, or ``ValueError``.
        fixed: M, of a shape that broadcasts.

    Example:
        >>> third = fixed_point(torch.tensor(1 / 3))  # 2^-1 times 2/3
        >>> rescale(torch.tensor([3, 10], dtype=torch.int32), third).tolist()
        [1, 4]
    """
    _check_int32("x", x)
    left, right = (-fixed.shift).clamp(min=0), fixed.shift.clamp(min=0)
    shifted = (x.long() << left).clamp(LOW, HIGH).int()
    return rounding_shift(high_multiply(shifted, fixed.multiplier), right)


def rescale_once(x: Tensor, fixed: FixedPoint) -> Tensor:
    """Return x M, rounded once, int32; half-way up, and cut where int32 ends.

    Args:
        x: int32, or ``ValueError``.
        fixed: M, of a shape that broadcasts.

    Example:
        >>> third = fixed_point(torch.tensor(1 / 3))
        >>> rescale_once(torch.tensor([3, 10], dtype=torch.int32), third).tolist()
        [1, 3]
    """
    _check_int32("x", x)
    product, places = x.long() * fixed.multiplier.long(), 31 + fixed.shift.long()
    half = (1 << places) >> 1
    return ((product + half) >> places).clamp(LOW, HIGH).int()


def _check_int32(name: str, tensor: Tensor) -> None:
    if tensor.dtype != torch.int32:
        raise ValueError(f"{name} must be int32, got {tensor.dtype}; use .int()")
