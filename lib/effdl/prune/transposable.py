"""Transposable masks: N:M along rows and along columns at once.

Paper: Hubara et al., "Accelerated Sparse Neural Training: A Provable and Efficient
Method to Find N:M Transposable Masks", NeurIPS 2021, https://arxiv.org/abs/2102.08124.

A layer needs its weight twice in training: W x on the way forward, W^T g on the way
back. A 2:4 mask has groups along the rows of W. In W^T these are columns, and the
product gains nothing. So ask of every M x M block that

    each row and each column of the block keeps N weights

and among such masks take one with the largest sum of scores.

    exact     try all masks of a block: 90 for 2:4 (of 6^4 = 1,296 that are 2:4 only)
    greedy    go through the block's weights, largest first; keep a weight if its row
              and its column have room

Greedy has at least half of the largest sum that is possible: a weight that it refuses
has a row or a column full of larger ones. It may leave a row and a column with N - 1
each, where the place at which they meet is taken. That passes a 2:4 check, too. And its
sum may then be above that of exact, which keeps N everywhere: for blocks of normal
weights 16 of 100 are short of one weight, and 3 of 100 have a larger sum.

What differs: the authors solve a minimum-cost flow for the optimum, which serves any M,
and all M are served by greedy here. For M up to 4, trying all masks is shorter.
"""

from functools import cache
from itertools import combinations, product

import torch
from torch import Tensor

from effdl.checks import check_divides
from effdl.prune.nm import check_nm, is_nm

LARGEST_BLOCK = 4  # 8 x 8 blocks would have 1.2e11 masks of 4:8


@cache
def block_patterns(keep: int = 2, group: int = 4) -> Tensor:
    """Return all M x M masks that keep N in each row and column, (count, M, M), bool.

    Args:
        keep: Weights N that stay in each row and column.
        group: Side M of a block, at most 4.

    Raises:
        ValueError: If M is above 4.

    Example:
        >>> len(block_patterns(2, 4)), len(block_patterns(1, 4))
        (90, 24)
    """
    check_nm(keep, group)
    if group > LARGEST_BLOCK:
        raise ValueError(
            f"group must be at most 4, got {group}: too many masks to try; use "
            "greedy_transposable_mask"
        )
    rows = [
        [i in kept for i in range(group)] for kept in combinations(range(group), keep)
    ]
    blocks = torch.tensor(list(product(rows, repeat=group)))
    return blocks[(blocks.sum(dim=1) == keep).all(dim=1)]


def transposable_mask(scores: Tensor, keep: int = 2, group: int = 4) -> Tensor:
    """Return the mask with the largest sum of scores of all that keep N, bool.

    Args:
        scores: (out, in) or (out, in, k, k), not nan; M divides out and in.
        keep: Weights N that stay in each row and column of a block.
        group: Side M of a block, at most 4.

    Raises:
        ValueError: If a score is not finite.

    Example:
        >>> transposable_mask(torch.eye(4), 1, 4).int().tolist()
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    """
    if not scores.isfinite().all():
        raise ValueError("scores has nan or inf, so no sums can be compared")
    patterns = block_patterns(keep, group)
    blocks = _to_blocks(scores, group)
    # float64: the sums of two masks may differ by less than float32 shows
    sums = blocks.double().flatten(1) @ patterns.double().flatten(1).T
    return _from_blocks(patterns[sums.argmax(dim=1)], scores)


def greedy_transposable_mask(scores: Tensor, keep: int = 2, group: int = 4) -> Tensor:
    """Return a mask that keeps N or fewer, with half of the largest sum or more, bool.

    Args:
        scores: (out, in) or (out, in, k, k), 0 or larger; M divides out and in.
        keep: Weights N that may stay in each row and column of a block.
        group: Side M of a block.

    Raises:
        ValueError: If a score is below 0, or nan.

    Example:
        >>> scores = torch.tensor([[3.0, 2.0], [2.0, 0.0]])
        >>> greedy_transposable_mask(scores, 1, 2)
        tensor([[ True, False],
                [False,  True]])
    """
    check_nm(keep, group)
    if not (scores >= 0).all():
        raise ValueError(f"scores must be 0 or larger, got {scores.min()}; use abs()")
    blocks = _to_blocks(scores, group).flatten(1)
    every = torch.arange(len(blocks))
    kept = torch.zeros(len(blocks), group, group, dtype=torch.bool)
    for place in blocks.argsort(dim=1, descending=True, stable=True).T:
        row, column = place // group, place % group
        free = kept[every, row].sum(dim=1) < keep
        free &= kept[every, :, column].sum(dim=1) < keep
        kept[every, row, column] = free
    return _from_blocks(kept, scores)


def is_transposable(mask: Tensor, keep: int = 2, group: int = 4) -> bool:
    """Return whether neither inputs nor outputs have a group with more than N weights.

    Args:
        mask: (out, in) or (out, in, k, k), bool; M divides out and in.
        keep: Weights N that may stay.
        group: Side M of a block.

    Example:
        >>> one_way = torch.tensor([[True, True, False, False]] * 4)
        >>> is_transposable(one_way), is_transposable(torch.eye(4) > 0)
        (False, True)
    """
    return is_nm(mask, keep, group) and is_nm(mask.transpose(0, 1), keep, group)


def _to_blocks(scores: Tensor, group: int) -> Tensor:
    """Return (blocks, M, M): first the kernel's pixels, then outputs, then inputs."""
    outputs, inputs, *_ = scores.shape
    check_divides("group", group, outputs=outputs, inputs=inputs)
    split = scores.reshape(outputs // group, group, inputs // group, group, -1)
    return split.permute(4, 0, 2, 1, 3).reshape(-1, group, group)


def _from_blocks(blocks: Tensor, like: Tensor) -> Tensor:
    outputs, inputs, *_ = like.shape
    group = blocks.shape[1]
    split = blocks.view(-1, outputs // group, inputs // group, group, group)
    return split.permute(1, 3, 2, 4, 0).reshape(like.shape)
