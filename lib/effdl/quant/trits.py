"""Ternary weights in bytes: four to a byte, or five.

Paper: Li et al., "Ternary Weight Networks", 2016, https://arxiv.org/abs/1605.04711
(2 bits a weight). Five to a byte is no paper's.

    2 bits   00 is 0, 01 is +1, 11 is -1        4 a byte; 10 stands for nothing
    trits    (t0 + 1) + 3 (t1 + 1) + 9 (t2 + 1) + 27 (t3 + 1) + 81 (t4 + 1)

Three values are log2(3) = 1.585 bits. 3^5 = 243 of the 256 values of a byte are used by
five trits, so a weight takes 8 / 5 = 1.6 bits, 20 times less than 32. With 2 bits it is
16 times less, and one code of four is never used. One code for all weights together
could not do better than 20.19 times, if the three values are equally frequent; if they
are not, a code of variable length could, down to the entropy

    H = - sum over the three of f log2 f         bits a weight, f the frequency

Two bits are the two's complement of the value, which a processor takes apart by shifts;
trits need divisions by 3, or a table of 243 rows.

Before trusting it: nothing here computes with packed weights. Scales, biases and layers
left in float come on top.
"""

import torch
from torch import Tensor

from effdl.prune.bits import pack_bits, packed_bytes, unpack_bits

TRITS = 5  # in a byte, because 3^5 = 243 <= 256
UNUSED = 0b10  # the code of 2 bits that stands for no value


def pack_pairs(codes: Tensor) -> Tensor:
    """Return ternary codes as bytes, four to each, uint8.

    Args:
        codes: -1, 0 and +1, any shape, or ``ValueError``.

    Example:
        >>> pack_pairs(torch.tensor([1, 0, -1, -1]))
        tensor([241], dtype=torch.uint8)
    """
    return pack_bits(_checked(codes) & 0b11, 2)


def unpack_pairs(packed: Tensor, count: int) -> Tensor:
    """Return the codes that :func:`pack_pairs` packed, int64, (count,).

    Args:
        packed: Bytes, uint8; ``ValueError`` if there are too few.
        count: How many codes there are.

    Raises:
        ValueError: If a code is 10.

    Example:
        >>> unpack_pairs(torch.tensor([241], dtype=torch.uint8), 4)
        tensor([ 1,  0, -1, -1])
    """
    pairs = unpack_bits(packed, 2, count)
    if bool((pairs == UNUSED).any()):
        raise ValueError(
            "packed holds the code 10, which stands for no value; are these pairs?"
        )
    return torch.where(pairs == 0b11, -1, pairs)


def pack_trits(codes: Tensor) -> Tensor:
    """Return ternary codes as bytes, five to each, the last filled up with zeros.

    Args:
        codes: -1, 0 and +1, any shape, or ``ValueError``.

    Example:
        >>> pack_trits(torch.tensor([1, 0, -1, -1, 1, 0]))
        tensor([167, 121], dtype=torch.uint8)
    """
    flat = _checked(codes)
    padding = flat.new_zeros(-len(flat) % TRITS)
    digits = torch.cat([flat, padding]).view(-1, TRITS) + 1
    return (digits * _places()).sum(dim=1).byte()


def unpack_trits(packed: Tensor, count: int) -> Tensor:
    """Return the codes that :func:`pack_trits` packed, int64, (count,).

    Args:
        packed: Bytes, uint8, from 0 to 242.
        count: How many codes there are.

    Raises:
        ValueError: If there are too few bytes, or one is above 242.

    Example:
        >>> unpack_trits(torch.tensor([167, 121], dtype=torch.uint8), 6)
        tensor([ 1,  0, -1, -1,  1,  0])
    """
    if TRITS * len(packed) < count:
        raise ValueError(
            f"packed has {len(packed)} bytes, {count} trits need {trit_bytes(count)}; "
            "the data are truncated"
        )
    if len(packed) and int(packed.max()) >= 3**TRITS:
        raise ValueError(
            f"packed must be 0 to {3**TRITS - 1}, got {int(packed.max())}; are these "
            "trits?"
        )
    digits = packed.long()[:, None] // _places() % 3
    return digits.flatten()[:count] - 1


def pair_bytes(count: int) -> int:
    """Return how many bytes ternary codes take with 2 bits each.

    Args:
        count: Codes.

    Example:
        >>> pair_bytes(9)
        3
    """
    return packed_bytes(count, 2)


def trit_bytes(count: int) -> int:
    """Return how many bytes ternary codes take with five in each.

    Args:
        count: Codes.

    Example:
        >>> trit_bytes(9)
        2
    """
    return -(-count // TRITS)


def entropy(codes: Tensor) -> float:
    """Return H, bits a weight: no code for single weights in turn takes less.

    Args:
        codes: -1, 0 and +1, any shape but not empty, or ``ValueError``.

    Raises:
        ValueError: If there are none.

    Example:
        >>> entropy(torch.tensor([1, 0, -1, 0]))
        1.5
    """
    flat = _checked(codes)
    if not len(flat):
        raise ValueError("codes is empty; there is nothing to count")
    shares = torch.bincount(flat + 1, minlength=3).double() / len(flat)
    shares = shares[shares > 0]
    return float((shares * (1 / shares).log2()).sum())


def _places() -> Tensor:
    return 3 ** torch.arange(TRITS)


def _checked(codes: Tensor) -> Tensor:
    """Return codes in one row, int64.

    Raises:
        ValueError: If one is none of -1, 0 and +1.
    """
    flat = codes.detach().flatten()
    if not bool(((flat == 0) | (flat.abs() == 1)).all()):
        raise ValueError(
            "codes must be -1, 0 and +1; make them with effdl.quant.ternary.ternarize"
        )
    return flat.long()
