"""Small numbers side by side in bytes, as compressed weights are stored."""

import torch
from torch import Tensor

from effdl.checks import check_positive


def pack_bits(numbers: Tensor, bits: int) -> Tensor:
    """Return small numbers as bytes, uint8, the last of them filled up with zeros.

    Args:
        numbers: Whole numbers from 0 to 2^bits - 1, (n,).
        bits: Bits of each, the lowest first.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> pack_bits(torch.tensor([1, 3]), 2)
        tensor([13], dtype=torch.uint8)
    """
    check_positive(bits=bits)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < 2**bits:
        raise ValueError(
            f"numbers must be from 0 to {2**bits - 1}, got {int(numbers.min())} to "
            f"{int(numbers.max())}; use more than bits={bits}"
        )
    ones = (numbers.long()[:, None] >> torch.arange(bits)) & 1
    padded = torch.zeros(-ones.numel() % 8, dtype=ones.dtype)
    octets = torch.cat([ones.flatten(), padded]).view(-1, 8)
    return (octets << torch.arange(8)).sum(dim=1).byte()


def unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return the numbers that :func:`pack_bits` packed, int64, (count,).

    Args:
        packed: Bytes, uint8.
        bits: Bits of each number.
        count: How many there are.

    Raises:
        ValueError: If there are too few bytes.

    Example:
        >>> unpack_bits(torch.tensor([13], dtype=torch.uint8), 2, 2)
        tensor([1, 3])
    """
    if 8 * len(packed) < bits * count:
        raise ValueError(
            f"packed has {len(packed)} bytes, {count} numbers of {bits} bits need "
            f"{packed_bytes(count, bits)}; the data are truncated"
        )
    ones = (packed.long()[:, None] >> torch.arange(8)) & 1
    numbers = ones.flatten()[: count * bits].view(count, bits)
    return (numbers << torch.arange(bits)).sum(dim=1)


def packed_bytes(count: int, bits: int) -> int:
    """Return how many bytes numbers of so many bits take.

    Args:
        count: Numbers.
        bits: Bits of each.

    Example:
        >>> packed_bytes(3, 3)
        2
    """
    return -(-count * bits // 8)
