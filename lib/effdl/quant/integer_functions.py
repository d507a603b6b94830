"""I-BERT's functions: exp, softmax, GELU and the square root, with integers alone.

Paper: Kim et al., "I-BERT: Integer-only BERT Quantization", ICML 2021,
https://arxiv.org/abs/2101.01321, section 3 (algorithms 1 to 4).

A number is an integer q and a scale S, the value is S q. Whatever depends on S alone is
computed in advance; at run time only whole numbers are added, multiplied and shifted.
A polynomial of degree two is enough:

    a (x + b)^2 + c       q' = (q + floor(b / S))^2 + floor(c / (a S^2)),   S' = a S^2

    exp(x), x <= 0        x = p - z log 2 with -log 2 < p <= 0 and z = 0, 1, 2 ..
                          exp(x) = 2^-z exp(p),     a shift by z
                          exp(p) ~ 0.3582 (p + 1.3537)^2 + 0.3437
    erf(x)                sign(x) (a (min(|x|, -b) + b)^2 + 1),  a -0.2888, b -1.769
    GELU(x)               x / 2 (1 + erf(x / sqrt 2))
    floor(sqrt n)         Newton: x <- floor((x + floor(n / x)) / 2)

The polynomials alone are at most 1.9e-3 from exp and 1.8e-2 from GELU. To that comes
what the floors lose, which grows with S.

What differs: the paper prints the polynomial of exp as 0.3585 (p + 1.353)^2 + 0.344,
which is 2.1e-3 off; the bound of 1.9e-3 holds for the longer numbers of its program,
which are used here. Tensors are int64 and not checked: GELU needs ``|x| / S^3`` below
6e17 (up to ``|x| = 8``, S from 3e-6 on), softmax S from 1e-6 on. Whether 32 bits would
do depends on S (exp needs about 2.8 / S^2 < 2^31). Softmax rounds and ends at
2^bits - 1.

Before trusting it: the numbers must come with a *fine* scale. Sums of int8 products
have one; int8 activations mostly do not.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from effdl.quant.checks import check_bits

# Those of the authors' program, 0.35815147 p^2 + 0.96963238 p + 1, as a square.
EXP = (0.35815147, 1.3536624, 0.34372254)
ERF = (-0.2888, -1.769, 1.0)


class Scaled(NamedTuple):
    """Integers and the value of 1.

    Attributes:
        q: int64.
        scale: Above 0.
    """

    q: Tensor
    scale: float

    def values(self) -> Tensor:
        """Return what they stand for, float64."""
        return self.q.double() * self.scale


def integer_polynomial(x: Scaled, a: float, b: float, c: float) -> Scaled:
    """Return a (x + b)^2 + c.

    Args:
        x: Integers with a scale.
        a: Not 0; if it is negative, so are the integers.
        b: Shift.
        c: Constant.

    Raises:
        ValueError: If ``a`` is 0 or the scale is not above 0.

    Example:
        >>> integer_polynomial(Scaled(torch.tensor([8]), 0.25), 1.0, 1.0, 2.0).values()
        tensor([11.], dtype=torch.float64)
    """
    if a == 0:
        raise ValueError("a must not be 0; a line needs no square")
    if not 0 < x.scale < math.inf:
        raise ValueError(f"scale must be above 0 and finite, got {x.scale}")
    scale = a * x.scale**2
    q = (x.q.long() + math.floor(b / x.scale)) ** 2 + math.floor(c / scale)
    return Scaled(q, scale) if scale > 0 else Scaled(-q, -scale)


def integer_exp(x: Scaled) -> Scaled:
    """Return exp(x) for x <= 0.

    Args:
        x: Integers of 0 or less.

    Raises:
        ValueError: If one is above 0, or the scale is above log 2.

    Example:
        >>> found = integer_exp(Scaled(torch.tensor([0, -1000, -3000]), 0.001))
        >>> found.values().round(decimals=2)
        tensor([1.0000, 0.3700, 0.0500], dtype=torch.float64)
    """
    if x.q.numel() and int(x.q.max()) > 0:
        raise ValueError(f"x must be 0 or less, got {int(x.q.max())}; subtract the max")
    log_2 = math.floor(math.log(2) / x.scale)
    if not log_2:
        raise ValueError(f"scale must be at most log 2, got {x.scale}; use more bits")
    z = -x.q.long() // log_2
    found = integer_polynomial(Scaled(x.q + z * log_2, x.scale), *EXP)
    return Scaled(found.q >> z.clamp(max=62), found.scale)


def integer_softmax(x: Scaled, *, bits: int = 8) -> Scaled:
    """Return the softmax over the last dimension, in unsigned integers.

    Args:
        x: Integers, (..., n).
        bits: Of the result, 1 to 16, or ``ValueError``.

    Example:
        >>> integer_softmax(Scaled(torch.tensor([0, 693]), 0.001)).q
        tensor([ 85, 170])
    """
    check_bits(bits)
    weight = integer_exp(Scaled(x.q - x.q.amax(-1, keepdim=True), x.scale)).q
    highest = 2**bits - 1
    total = weight.sum(-1, keepdim=True)
    return Scaled((2 * highest * weight + total) // (2 * total), 1 / highest)


def integer_gelu(x: Scaled) -> Scaled:
    """Return GELU.

    Args:
        x: Integers with a scale.

    Example:
        >>> integer_gelu(Scaled(torch.tensor([-1000, 0, 2000]), 0.001)).values().round(
        ...     decimals=2
        ... )
        tensor([-0.1600,  0.0000,  1.9600], dtype=torch.float64)
    """
    scale = x.scale / math.sqrt(2)
    size = x.q.long().abs().clamp(max=math.floor(-ERF[1] / scale))
    erf = integer_polynomial(Scaled(size, scale), *ERF)
    one = math.floor(1 / erf.scale)
    return Scaled(x.q * (x.q.sign() * erf.q + one), x.scale * erf.scale / 2)


def integer_sqrt(n: Tensor) -> Tensor:
    """Return floor(sqrt n) by Newton's method from above, int64.

    Args:
        n: Whole numbers of 0 or more, below 2^62.

    Raises:
        ValueError: If one is out of range.

    Example:
        >>> integer_sqrt(torch.tensor([0, 1, 15, 16, 10**12]))
        tensor([      0,       1,       3,       4, 1000000])
    """
    n = n.long()
    if n.numel() and not 0 <= int(n.min()) <= int(n.max()) < 2**62:
        raise ValueError(f"n must be 0 to below 2^62, got {int(n.min())} or more")
    bits = torch.frexp(n.double()).exponent  # at least the length of n
    x = torch.ones_like(n) << (bits.long() + 1) // 2
    while True:
        lower = (x + n.clamp(min=1) // x) // 2
        if bool((lower >= x).all()):
            return torch.where(n > 0, x, 0)
        x = torch.minimum(x, lower)
