"""Where the weights of a pruned layer stood: gaps of few bits, and fillers.

Paper: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning,
Trained Quantization and Huffman Coding", ICLR 2016, https://arxiv.org/abs/1510.00149,
section 2 and figure 2.

    position   1     4              15     of the weights that are left
    gap        1     2              10     zeros before each
    in 3 bits  1     2   (7)         2     7 is the most that fits; its entry is a zero

A gap of 2^z or more takes a filler: an entry that stands for 2^z - 1 zeros and is a
zero itself. Few bits cost fillers, many bits cost at every weight; the paper takes
z = 8 in convolutions and 5 in linear layers.

What differs: the paper stores the distance, 1 or more; here it is the distance less 1,
which fits the bits.
"""

import torch
from torch import Tensor

from effdl.checks import check_positive


def run_lengths(kept: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return the gap before every entry, and which entries are weights.

    Args:
        kept: Where weights are, bool, any shape; read row by row.
        bits: Bits z of a gap.

    Returns:
        Gaps from 0 to 2^z - 1, int64, (entries,), and False for a filler.

    Example:
        >>> run_lengths(torch.tensor([False, True, True]), 3)
        (tensor([1, 0]), tensor([True, True]))
    """
    check_positive(bits=bits)
    places = kept.flatten().nonzero().flatten()
    gaps = places.diff(prepend=places.new_tensor([-1])) - 1
    fillers = gaps >> bits  # whole entries of 2^z zeros before each weight
    ends = (fillers + 1).cumsum(0) - 1  # where each weight stands among the entries
    is_weight = torch.zeros(int(fillers.sum()) + len(places), dtype=torch.bool)
    is_weight[ends] = True
    runs = torch.full((len(is_weight),), 2**bits - 1)
    runs[ends] = gaps - (fillers << bits)
    return runs, is_weight


def places_of(runs: Tensor) -> Tensor:
    """Return the positions of all entries, fillers included, (entries,).

    Args:
        runs: Gaps, as :func:`run_lengths` returned them.

    Example:
        >>> places_of(torch.tensor([1, 0]))
        tensor([1, 2])
    """
    return (runs + 1).cumsum(0) - 1
