"""N:M weights stored: the values that are left, and where in its group each stood.

Paper: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021,
https://arxiv.org/abs/2104.08378, section 3.

    values     N of each group, in their order; a place that is free holds 0
    indices    ceil(log2 M) bits for each value: its place in the group, 0 to M - 1

    share of the dense bytes = N (b + ceil(log2 M)) / (M b)         b: bits of a value

For 2:4 that is 0.5625 at 16 bits and 0.625 at 8: half the weights never halve the
bytes. The C(4, 2) = 6 patterns would need log2(6) = 2.585 bits a group, and the two
indices take 4: they can be read without a table.

What differs: the hardware interleaves the indices of several rows. Here they lie in a
row, first index lowest, and only the last byte is filled up. So the bytes are those of
the paper, their order is our own.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.prune.bits import pack_bits, unpack_bits
from effdl.prune.nm import check_nm, from_groups, is_nm, to_groups


@dataclass(frozen=True)
class CompressedNM:
    """A weight of at most N values in every group of M.

    Attributes:
        values: (groups, N), of the weight's own type.
        indices: Packed places of the values, 1-D, uint8.
        shape: Of the weight, (out, in) or (out, in, k, k).
        group: Weights M of a group.
    """

    values: Tensor
    indices: Tensor
    shape: torch.Size
    group: int

    @property
    def bytes(self) -> int:
        """What values and indices take, without shape and group."""
        return self.values.nbytes + self.indices.nbytes


def compress_nm(weight: Tensor, keep: int = 2, group: int = 4) -> CompressedNM:
    """Return the compressed form of a weight that is N:M sparse already.

    Args:
        weight: (out, in) or (out, in, k, k), at most N of each group not 0.
        keep: Values N stored of each group.
        group: Weights M of a group, a divisor of in.

    Raises:
        ValueError: If a group has more than N weights.

    Example:
        >>> packed = compress_nm(torch.tensor([[0.0, 5.0, 0.0, 7.0]]))
        >>> packed.values, packed.indices
        (tensor([[5., 7.]]), tensor([13], dtype=torch.uint8))
    """
    if not is_nm(weight, keep, group):
        raise ValueError(
            f"weight has groups of {group} with more than keep={keep} values; "
            "multiply it by nm_mask(weight.abs(), keep, group) first"
        )
    groups = to_groups(weight.detach(), group)
    # the N places that are not 0, filled up with the first that are, in rising order
    order = (groups != 0).byte().argsort(dim=1, descending=True, stable=True)
    places = order[:, :keep].sort(dim=1).values
    packed = pack_bits(places.flatten(), index_bits(group))
    return CompressedNM(groups.gather(1, places), packed, weight.shape, group)


def decompress_nm(packed: CompressedNM) -> Tensor:
    """Return the weight, bit for bit but for the sign of a 0.

    Args:
        packed: What :func:`compress_nm` returned.

    Example:
        >>> decompress_nm(compress_nm(torch.tensor([[0.0, 5.0, 0.0, 7.0]])))
        tensor([[0., 5., 0., 7.]])
    """
    values = packed.values
    bits = index_bits(packed.group)
    places = unpack_bits(packed.indices, bits, values.numel()).view(values.shape)
    groups = values.new_zeros(len(values), packed.group).scatter(1, places, values)
    return from_groups(groups, packed.shape)


def index_bits(group: int) -> int:
    """Return the bits that name a place in a group, ceil(log2 M).

    Args:
        group: Weights M of a group.

    Example:
        >>> index_bits(4), index_bits(8)
        (2, 3)
    """
    check_positive(group=group)
    return (group - 1).bit_length()


def pattern_bits(keep: int = 2, group: int = 4) -> float:
    """Return the bits that a group's pattern carries, log2 C(M, N).

    Args:
        keep: Weights N that stay in each group.
        group: Weights M of a group.

    Example:
        >>> round(pattern_bits(2, 4), 3)
        2.585
    """
    check_nm(keep, group)
    return math.log2(math.comb(group, keep))


def bytes_share(bits: int, keep: int = 2, group: int = 4) -> float:
    """Return compressed bytes over dense bytes of weights of ``bits`` bits each.

    Args:
        bits: Bits b of a value, such as 16.
        keep: Weights N that stay in each group.
        group: Weights M of a group.

    Example:
        >>> bytes_share(16), bytes_share(8)
        (0.5625, 0.625)
    """
    check_positive(bits=bits)
    check_nm(keep, group)
    return keep * (bits + index_bits(group)) / (group * bits)
