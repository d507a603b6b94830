"""How many bits a compressed network needs, whatever it was compressed by.

Paper: Cai et al., "Enable Deep Learning on Mobile Devices: Methods, Systems, and
Applications", ACM TODAES 2022, https://arxiv.org/abs/2204.11786, which orders
compression into branches that can be combined.

Of every weight tensor with n weights, of which m are left,

    bits = m b  +  n, if weights are gone (one bit a weight says where)  +  table

b is 32 for a float, or what a quantiser leaves; a shared weight has a table of values
besides. So pruning works on m, quantisation on b, and their savings multiply until the
n bits of the mask are what is left. Distillation changes neither: it spends its time on
the accuracy.

What differs: files as in :mod:`effdl.prune.deep_compression` store gaps, which is less
than a bit a weight at high sparsity.
"""

from collections.abc import Mapping

from torch import Tensor


def stored_bits(
    weights: Mapping[str, Tensor], bits: int = 32, *, table: int = 0
) -> int:
    """Return the bits of all weights together.

    Args:
        weights: From name to weight, 0 where it is gone.
        bits: Of a weight that is left.
        table: Values of 32 bits that each tensor has besides.

    Raises:
        ValueError: If ``bits`` or ``table`` is out of range.

    Example:
        >>> import torch
        >>> weights = {"weight": torch.tensor([0.0, 0.0, 2.0, 1.0])}
        >>> stored_bits(weights), stored_bits(weights, 4)
        (68, 12)
    """
    if not 1 <= bits <= 32 or table < 0:
        raise ValueError(
            f"bits must be 1 to 32 and table 0 or more, got {bits} and {table}"
        )
    total = 0
    for weight in weights.values():
        kept = int(weight.count_nonzero())
        mask = weight.numel() if kept < weight.numel() else 0
        total += kept * bits + mask + 32 * table
    return total
