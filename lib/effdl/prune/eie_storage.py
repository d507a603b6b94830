"""Columns of 4-bit codes and 4-bit runs of zeros: what EIE keeps of a pruned layer.

Papers: Han et al., "EIE: Efficient Inference Engine on Compressed Deep Neural Network",
ISCA 2016, https://arxiv.org/abs/1602.01528; the shared values are those of Han et al.,
"Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization
and Huffman Coding", ICLR 2016, https://arxiv.org/abs/1510.00149.

A pruned matrix whose weights share 16 values is stored column by column. An entry is

    v    4 bits, which of the 16 values
    z    4 bits, how many zeros stand between the entry before and this one

and pointers p say where each column begins. 4 bits count to 15, so a longer gap takes
an entry of its own whose value is 0: a padding zero, which stands for the 16th zero.

    0 0 1 2 (18 zeros) 3    ->    v = 1 2 0 3    z = 2 0 15 2

What differs: code 0 is the value 0, which leaves 15 values for the weights. How the
chip keeps its padding zeros could not be looked up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LONGEST_RUN = 15  # what 4 bits count


@dataclass(frozen=True)
class Columns:
    """A matrix stored by columns, without its zeros.

    Attributes:
        codes: v of every entry, column after column; 0 is a padding zero.
        runs: z of every entry.
        pointers: p, (columns + 1,): column j has the entries p_j to p_(j+1) - 1.
        rows: Rows of the matrix.
    """

    codes: Tensor
    runs: Tensor
    pointers: Tensor
    rows: int

    @property
    def padding(self) -> int:
        """Entries whose value is 0."""
        return int(self.codes.eq(0).sum())

    @property
    def bits(self) -> int:
        """Bits of entries (8 each) and pointers (16 each)."""
        return 8 * len(self.codes) + 16 * len(self.pointers)


def nearest_codes(weight: Tensor, codebook: Tensor) -> Tensor:
    """Return which shared value each weight gets; a weight that is gone has code 0.

    Args:
        weight: Any shape, with zeros where weights are gone.
        codebook: (16,) or fewer; the first is 0, the others are not.

    Raises:
        ValueError: If the codebook does not begin with its only 0.

    Example:
        >>> nearest_codes(torch.tensor([0.0, 0.1, 2.0]), torch.tensor([0.0, 1.0, 3.0]))
        tensor([0, 1, 1])
    """
    if codebook[0] != 0 or not codebook[1:].all():
        raise ValueError(f"codebook must begin with its only 0, got {codebook}")
    nearest = (weight.unsqueeze(-1) - codebook[1:]).abs().argmin(dim=-1) + 1
    return nearest.where(weight.ne(0), 0)


def encode(codes: Tensor) -> Columns:
    """Return a matrix of codes stored by columns.

    Args:
        codes: (rows, columns), whole numbers from 0 to 15, 0 for no weight.

    Raises:
        ValueError: If a code is out of range.

    Example:
        >>> stored = encode(torch.tensor([[0], [7], [0], [2]]))
        >>> stored.codes, stored.runs, stored.pointers
        (tensor([7, 2]), tensor([1, 1]), tensor([0, 2]))
    """
    if codes.min() < 0 or codes.max() > 15:
        raise ValueError(
            f"codes must be from 0 to 15, got {int(codes.min())} to {int(codes.max())}"
        )
    values, runs, pointers = [], [], [0]
    for column in codes.t():
        before = -1
        for row in column.nonzero().flatten().tolist():
            paddings, run = divmod(row - before - 1, LONGEST_RUN + 1)
            values += [0] * paddings + [int(column[row])]
            runs += [LONGEST_RUN] * paddings + [run]
            before = row
        pointers.append(len(values))
    v, z, p = (torch.tensor(x, dtype=torch.long) for x in (values, runs, pointers))
    return Columns(v, z, p, len(codes))


def decode(stored: Columns) -> Tensor:
    """Return the matrix of codes, (rows, columns).

    Args:
        stored: What :func:`encode` made.

    Example:
        >>> decode(encode(torch.tensor([[0, 3], [7, 0]])))
        tensor([[0, 3],
                [7, 0]])
    """
    codes = torch.zeros(stored.rows, len(stored.pointers) - 1, dtype=torch.long)
    for number in range(codes.shape[1]):
        entries = slice(stored.pointers[number], stored.pointers[number + 1])
        rows = (stored.runs[entries] + 1).cumsum(0) - 1
        codes[rows, number] = stored.codes[entries]
    return codes
