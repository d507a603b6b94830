"""Where sparsity begins to pay: masks with more or less structure, and the break-even.

Papers: Mao et al., "Exploring the Regularity of Sparse Structure in Convolutional
Neural Networks", 2017, https://arxiv.org/abs/1705.08922, on the same sparsity with
single weights, vectors, kernels or filters gone; Elsen et al., "Fast
Sparse ConvNets", CVPR 2020, https://arxiv.org/abs/1911.09723, on what gains time.

    blocks of (1, 1)     single weights: any of them may go
    blocks of (h, w)     all weights of a block go or stay together
    blocks of (1, in)    whole rows: the layer becomes narrower

Larger blocks run faster earlier, and keep less of the weights (the sum of what stays)
than smaller ones that fit into them. Either alone says little.

    break-even = least sparsity from which on  time(format) <= time(zeros in place)

What differs: a block is judged by the sum of any score that the caller likes.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from effdl.checks import check_divides, check_positive
from effdl.prune.thresholds import keep_largest


def block_mask(scores: Tensor, sparsity: float, *, block: tuple[int, int]) -> Tensor:
    """Return the mask that keeps the blocks with the largest sums of scores.

    With blocks of ``(1, in)`` these are whole rows, with ``(1, 1)`` single weights.

    Args:
        scores: (out, in).
        sparsity: Share of the blocks that goes.
        block: Height and width of a block; they divide out and in.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[1.0, 1.0, 0.0, 5.0]])
        >>> block_mask(scores, 0.5, block=(1, 2))
        tensor([[False, False,  True,  True]])
    """
    check_positive(block_height=block[0], block_width=block[1])
    height, width = block
    check_divides("block height", height, rows=scores.shape[0])
    check_divides("block width", width, columns=scores.shape[1])
    rows, columns = scores.shape[0] // height, scores.shape[1] // width
    sums = scores.reshape(rows, height, columns, width).sum(dim=(1, 3))
    kept = keep_largest(sums, sparsity)
    return kept.repeat_interleave(height, 0).repeat_interleave(width, 1)


def break_even(
    sparsities: Sequence[float], seconds: Sequence[float], dense: float
) -> float | None:
    """Return the sparsity from which on a format is at least as fast as zeros in place.

    Between two measured sparsities the time is taken to fall on a straight line.

    Args:
        sparsities: Rising.
        seconds: The format's time at each of them.
        dense: Time of the layer with zeros in place.

    Returns:
        The sparsity; None if the format is slower at the last of them.

    Raises:
        ValueError: If the two differ in length, or the sparsities do not rise.

    Example:
        >>> break_even([0.5, 0.9], [3.0, 1.0], 2.0)
        0.7
    """
    points = list(zip(sparsities, seconds, strict=False))
    rising = all(a < b for a, b in pairwise(sparsities))
    if not points or not rising or len(sparsities) != len(seconds):
        raise ValueError(
            f"sparsities must rise, one for each of {len(seconds)} times, "
            f"got {sparsities}"
        )
    found = None
    for number in range(len(points) - 1, -1, -1):
        sparsity, time = points[number]
        if time > dense:
            if found is None:
                return None
            after, faster = points[number + 1]
            share = (time - dense) / (time - faster)
            return sparsity + share * (after - sparsity)
        found = sparsity
    return found
