"""Vector sparsity: runs of consecutive weights go, all of a run or none.

Paper: Mao et al., "Exploring the Regularity of Sparse Structure in Convolutional Neural
Networks", 2017, https://arxiv.org/abs/1705.08922.

    run       L weights that meet L consecutive inputs of one output
    score     the sum of the scores of its weights
    keep the runs with the largest scores, until the share p of the layer is gone

This is what "removing consecutive weights" says. It is not N:M sparsity, which keeps N
weights in *every* group of M, wherever they stand in it:

    N:M          every group loses M - N of M      which ones, is free
    vector       a group of L loses 0 or L         which groups, is free

:func:`removed_runs` shows the difference. A 2:4 mask removes runs of 1 to 4, the longer
ones where two groups meet; a vector mask only multiples of L.

What differs: the paper's vectors are the rows of a kernel; here a run goes along the
inputs, so that it can be compared with a group of :mod:`effdl.prune.nm`.
"""

from collections import Counter

import torch
from torch import Tensor

from effdl.prune.nm import from_groups, to_groups
from effdl.prune.thresholds import keep_largest


def vector_mask(scores: Tensor, sparsity: float, length: int = 4) -> Tensor:
    """Return the mask that takes whole runs, those with the smallest sums, bool.

    Args:
        scores: (out, in) or (out, in, k, k); L divides in.
        sparsity: Share of the runs that goes, 0 to 1, 1 excluded.
        length: Weights L of a run.

    Example:
        >>> vector_mask(torch.tensor([[1.0, 9.0, 4.0, 5.0]]), 0.5, 2)
        tensor([[ True,  True, False, False]])
    """
    runs = to_groups(scores, length)
    kept = keep_largest(runs.sum(dim=1), sparsity)
    return from_groups(kept[:, None].expand(-1, length), scores.shape)


def removed_runs(mask: Tensor) -> Counter[int]:
    """Return how many runs of each length a mask removes along the inputs.

    A run ends where a weight is left, and with the inputs of an output.

    Args:
        mask: (out, in) or (out, in, k, k), bool.

    Example:
        >>> mask = torch.tensor([[True, False, False, True, False, True]])
        >>> sorted(removed_runs(mask).items())
        [(1, 1), (2, 1)]
    """
    # of one dimension, to_groups says what is wrong
    rows = to_groups(mask, mask.shape[1] if mask.ndim > 1 else 1)
    edge = torch.ones(len(rows), 1, dtype=torch.bool)
    line = torch.cat([edge, rows, edge], dim=1).flatten()
    stays = line.nonzero().flatten()
    lengths = (stays.diff() - 1).tolist()
    return Counter(length for length in lengths if length)
