"""Integers multiplied bit by bit, or in bricks of two bits: work that follows bits.

Papers: Judd et al., "Stripes: Bit-Serial Deep Neural Network Computing", MICRO 2016,
https://doi.org/10.1109/MICRO.2016.7783722 (serial in the activations); Umuroglu et al.,
"BISMO: A Scalable Bit-Serial Matrix Multiplication Overlay for Reconfigurable
Computing", FPL 2018, https://arxiv.org/abs/1806.08862 (serial in both); Sharma et al.,
"Bit Fusion: Bit-Level Dynamically Composable Architecture for Accelerating Deep Neural
Networks", ISCA 2018, https://arxiv.org/abs/1712.01507 (bricks).

An integer is a sum of its bits. In two's complement the highest of b bits counts as
-2^(b-1), the bit j below it as 2^j. With c_i and d_j what the bits count,

    w . x = sum over i, j of  c_i d_j popcount(W_i and X_j)

where W_i and X_j hold one bit of all K numbers. A machine with ``width`` places that
does one AND and one count of them in a cycle takes

    cycles = b_w b_x ceil(K / width)        for one output

so fewer bits of either operand are less time, in proportion. A brick of Bit Fusion
multiplies two digits of two bits. Digits, too, count as powers, of 4, and the highest
has a sign. Bricks are fused in twos: 3 bits take the bricks of 4, 5 to 8 those of 8.

    bricks = digits(b_w) digits(b_x)        1, 2, 4: for 2, 4 and 8 bits

Before trusting it: cycles of one ideal array. Loading operands, filling the array and
adding up the planes are left out; see :mod:`effdl.quant.bit_roofline` for the first.
"""

import numpy as np
import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.quant.checks import check_bits
from effdl.quant.packed_signs import count_ones, pack_words


def bit_planes(numbers: Tensor, bits: int, *, signed: bool = True) -> Tensor:
    """Return the bits of integers, the lowest plane first, bool, (bits, ...).

    Args:
        numbers: Integers, any shape.
        bits: 1 to 16.
        signed: In two's complement, from -2^(bits-1) on; else from 0 on.

    Raises:
        ValueError: If a number does not fit or is not whole. So are other bits.

    Example:
        >>> bit_planes(torch.tensor([5, -3]), 4).int()
        tensor([[1, 1],
                [0, 0],
                [1, 1],
                [0, 1]], dtype=torch.int32)
    """
    check_bits(bits)
    lowest = -(2 ** (bits - 1)) if signed else 0
    highest = lowest + 2**bits - 1
    if bool((numbers != numbers.round()).any()):  # nan, too
        raise ValueError("numbers must be whole; quantize them first")
    if numbers.numel() and not lowest <= numbers.min() <= numbers.max() <= highest:
        raise ValueError(
            f"numbers must be {lowest} to {highest}, got {numbers.min().item()} to "
            f"{numbers.max().item()}; use more than bits={bits}, or signed={not signed}"
        )
    places = torch.arange(bits).reshape([-1] + [1] * numbers.ndim)
    return ((numbers.long() >> places) & 1).bool()


def plane_values(bits: int, *, signed: bool = True) -> Tensor:
    """Return what a 1 of each plane counts, int64, (bits,).

    Args:
        bits: Planes.
        signed: Whether the last of them is negative.

    Example:
        >>> plane_values(4)
        tensor([ 1,  2,  4, -8])
    """
    values = 2 ** torch.arange(bits)
    values[-1] *= -1 if signed else 1
    return values


def bit_serial_product(
    inputs: Tensor,
    weights: Tensor,
    *,
    input_bits: int,
    weight_bits: int,
    signed_inputs: bool = True,
) -> Tensor:
    """Return x w^T from planes of bits, exactly, int64, (N, out).

    Numbers that do not fit into their bits raise ``ValueError``.

    Args:
        inputs: Integers x, (N, K).
        weights: Integers w, (out, K), signed.
        input_bits: Bits of the inputs.
        weight_bits: Bits of the weights.
        signed_inputs: False for inputs from 0 on, as behind a ReLU.

    Example:
        >>> x, w = torch.tensor([[3, -4]]), torch.tensor([[1, -2]])
        >>> bit_serial_product(x, w, input_bits=3, weight_bits=2)
        tensor([[11]])
    """
    planes = bit_planes(inputs, input_bits, signed=signed_inputs)
    others = bit_planes(weights, weight_bits)
    x, w = pack_words(planes), pack_words(others)
    factors = plane_values(input_bits, signed=signed_inputs)
    total = torch.zeros(len(inputs), len(weights), dtype=torch.int64)
    for value, plane in zip(factors.tolist(), x, strict=True):
        for other_value, other in zip(
            plane_values(weight_bits).tolist(), w, strict=True
        ):
            both = count_ones(plane[:, None] & other).sum(axis=-1, dtype=np.int64)
            total += value * other_value * torch.from_numpy(both)
    return total


def bit_serial_cycles(
    length: int, *, weight_bits: int, input_bits: int, width: int = 64
) -> int:
    """Return the cycles of one dot product: b_w b_x ceil(K / width).

    Args:
        length: Numbers K of each operand.
        weight_bits: b_w.
        input_bits: b_x.
        width: Places of the array.

    Example:
        >>> bit_serial_cycles(576, weight_bits=2, input_bits=4)
        72
    """
    check_positive(length=length, width=width)
    check_bits(weight_bits)
    check_bits(input_bits)
    return weight_bits * input_bits * -(-length // width)


def digits(bits: int) -> int:
    """Return the digits of two bits that Bit Fusion gives a number: 1, 2, 4 or 8.

    Args:
        bits: 1 to 16.

    Example:
        >>> [digits(bits) for bits in (1, 2, 3, 4, 5, 8, 16)]
        [1, 1, 2, 2, 4, 4, 8]
    """
    check_bits(bits)
    return 2 ** max(0, (bits - 1).bit_length() - 1)


def brick_product(
    inputs: Tensor, weights: Tensor, *, input_bits: int, weight_bits: int
) -> Tensor:
    """Return elementwise products from digits of two bits, exactly, int64.

    Numbers that do not fit into their bits raise ``ValueError``.

    Args:
        inputs: Signed integers.
        weights: Signed integers, of a shape that broadcasts.
        input_bits: Bits of the inputs.
        weight_bits: Bits of the weights.

    Example:
        >>> brick_product(torch.tensor([-8, 7]), torch.tensor([3, -4]),
        ...               input_bits=4, weight_bits=3)
        tensor([-24, -28])
    """
    bit_planes(inputs, input_bits)
    bit_planes(weights, weight_bits)
    split, other = _in_digits(inputs, input_bits), _in_digits(weights, weight_bits)
    bricks = [
        (a * b) << 2 * (i + j) for i, a in enumerate(split) for j, b in enumerate(other)
    ]
    return torch.stack(bricks).sum(dim=0)


def _in_digits(numbers: Tensor, bits: int) -> list[Tensor]:
    """Return digits of base 4, the highest from -2 to 1, the others from 0 to 3."""
    count = digits(bits)
    lower = [(numbers.long() >> 2 * i) & 0b11 for i in range(count - 1)]
    return [*lower, numbers.long() >> 2 * (count - 1)]
