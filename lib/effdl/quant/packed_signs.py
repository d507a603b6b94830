"""Products of signs without multiplying: 64 of them in one word, XNOR and a count.

Paper: Courbariaux et al., "Binarized Neural Networks", 2016,
https://arxiv.org/abs/1602.02830, sections 1.6 and 3.2.

A bit is 1 for +1 and 0 for -1. Two signs multiply to +1 where their bits agree, so for
vectors of K signs

    a . b = agreeing - differing = K - 2 count(a XOR b)

One XOR and one count of ones do 64 products and their sum. The last word is filled up
with zeros in both, which do not differ. The result is exact; a float product of signs
is, too, up to K = 2^24.

Inputs of 8 bits, x = sum over n of 2^n x_n with bits x_n, need no other arithmetic:

    x . b = sum over n of 2^n (x_n . b)     x_n . b = 2 count(x_n AND b) - count(x_n)

The count is ``numpy.bitwise_count``; before numpy 2 it is a table of 256 entries.

Before trusting it as a measure of speed: numpy writes every XOR and every count to
memory, which a compiled kernel keeps in registers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.uint64]
ONES = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class PackedSigns:
    """Rows of signs, one bit each.

    Attributes:
        words: (rows, ceil(length / 64)).
        length: Signs in a row, K.
    """

    words: Words
    length: int


def pack_signs(signs: Tensor) -> PackedSigns:
    """Return a matrix of signs as bits.

    Args:
        signs: +1 and -1, (rows, K), both above 0.

    Raises:
        ValueError: If it is no matrix, is empty, or holds something else.

    Example:
        >>> packed = pack_signs(torch.tensor([[1.0, -1.0, 1.0]]))
        >>> packed.words
        array([[5]], dtype=uint64)
    """
    if signs.ndim != 2 or not signs.numel():
        raise ValueError(f"signs must be (rows, K), got shape {tuple(signs.shape)}")
    if not bool((signs.abs() == 1).all()):
        raise ValueError("signs must hold +1 and -1 only; take sign() of the tensor")
    return PackedSigns(pack_words(signs > 0), signs.shape[1])


def unpack_signs(packed: PackedSigns) -> Tensor:
    """Return the signs, float32, (rows, K).

    Args:
        packed: What :func:`pack_signs` returned.

    Example:
        >>> unpack_signs(pack_signs(torch.tensor([[1.0, -1.0, 1.0]])))
        tensor([[ 1., -1.,  1.]])
    """
    octets = packed.words.astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=1, count=packed.length, bitorder="little")
    return torch.from_numpy(bits).float() * 2 - 1


def multiply_signs(a: PackedSigns, b: PackedSigns) -> Tensor:
    """Return a @ b.T, int32, (rows of a, rows of b).

    Args:
        a: Signs.
        b: Signs, of the same length.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> a = pack_signs(torch.tensor([[1, -1, 1], [1, 1, 1]]))
        >>> multiply_signs(a, a)
        tensor([[3, 1],
                [1, 3]], dtype=torch.int32)
    """
    if a.length != b.length:
        raise ValueError(f"a and b must be equally long, got {a.length} and {b.length}")
    return a.length - 2 * _counts(np.bitwise_xor, a.words, b.words)


def multiply_pixels(pixels: Tensor, signs: PackedSigns) -> Tensor:
    """Return pixels @ signs.T by way of eight planes of bits, int32, (N, rows).

    Args:
        pixels: Whole numbers from 0 to 255, (N, K), of any type.
        signs: (rows, K).

    Raises:
        ValueError: If the shape does not fit, or a pixel is no such number.

    Example:
        >>> signs = pack_signs(torch.tensor([[1, -1, 1]]))
        >>> multiply_pixels(torch.tensor([[200, 7, 255]]), signs)
        tensor([[448]], dtype=torch.int32)
    """
    if pixels.ndim != 2 or pixels.shape[1] != signs.length or not len(pixels):
        shape = tuple(pixels.shape)
        raise ValueError(f"pixels must be (N, {signs.length}), got shape {shape}")
    octets = pixels.byte()
    if bool((octets != pixels).any()):
        raise ValueError("pixels must be whole numbers from 0 to 255; round and clamp")
    total = torch.zeros(len(pixels), len(signs.words), dtype=torch.int32)
    for n in range(8):
        plane = pack_words((octets >> n) & 1)
        ones = torch.from_numpy(count_ones(plane).sum(axis=1, dtype=np.int32))
        total += (2 * _counts(np.bitwise_and, plane, signs.words) - ones[:, None]) << n
    return total


def pack_words(bits: Tensor) -> Words:
    """Return rows of bits in words of 64, the first bit lowest, filled up with 0.

    Args:
        bits: Bool, or 0 and 1, (..., n).

    Example:
        >>> pack_words(torch.tensor([[True, False, True]])).tolist()
        [[5]]
    """
    octets = np.packbits(bits.bool().numpy(force=True), axis=-1, bitorder="little")
    missing = [(0, 0)] * (octets.ndim - 1) + [(0, -octets.shape[-1] % 8)]
    return np.ascontiguousarray(np.pad(octets, missing)).view("<u8").astype(np.uint64)


def count_ones(words: Words) -> NDArray[np.uint8]:
    """Return how many bits of each word are 1, of the same shape.

    Args:
        words: Unsigned, 64 bits each.

    Example:
        >>> count_ones(np.array([0, 5, 2**64 - 1], dtype=np.uint64))
        array([ 0,  2, 64], dtype=uint8)
    """
    count: Callable[[Words], NDArray[np.uint8]]
    count = getattr(np, "bitwise_count", count_ones_by_table)
    return count(words)


def count_ones_by_table(words: Words) -> NDArray[np.uint8]:
    """Return the same, looked up byte by byte: for numpy before version 2.

    Args:
        words: Unsigned, 64 bits each.

    Example:
        >>> count_ones_by_table(np.array([0, 5, 2**64 - 1], dtype=np.uint64))
        array([ 0,  2, 64], dtype=uint8)
    """
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 8)
    return ONES[octets].sum(axis=-1, dtype=np.uint8)


def _counts(combine: Callable[[Words, Words], Words], a: Words, b: Words) -> Tensor:
    """Return the number of ones for each row of a with each row of b, int32."""
    total = np.zeros((len(a), len(b)), dtype=np.int32)
    for left, right in zip(a.T, np.ascontiguousarray(b.T), strict=True):
        total += count_ones(combine(left[:, None], right))
    return torch.from_numpy(total)
