"""PatDNN: kernels with one of a few patterns, so that a compiler knows what to write.

Paper: Niu et al., "PatDNN: Achieving Real-Time DNN Execution on Mobile Devices with
Pattern-based Weight Pruning", ASPLOS 2020, https://arxiv.org/abs/2001.00138.

    pattern        which 4 of the 9 weights of a 3 x 3 kernel are left
    library        the 6 to 8 patterns that suit most kernels of a trained network best
    projection     each kernel takes the pattern of the library that is closest to it:
                   least ||K - K * pattern||_2, that is, most of the sum of squares kept
    connectivity   whole kernels with the smallest norms go, too

A kernel with a known pattern needs no index: a compiler writes a loop over its 4
weights once for each pattern, without a branch inside. What is left to branch on is
which loop comes next. So the order is changed:

    filters        those with equally many kernels stand together, and among these
                   those with similar patterns: a permutation of the output channels
    kernels        within a filter by pattern, up and down in turn, so that a filter
                   begins with the loop that the last one ended with

What differs: the paper trains towards the patterns with ADMM; here they are applied to
a trained network, which can be trained further with the masks. All C(9, 4) = 126
patterns are candidates, or the C(8, 3) = 56 with the middle: the paper's, from memory.
Up and down is ours. There is no code generation: loops are counted, not timed.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.prune.thresholds import keep_largest

GONE = -1  # instead of the number of a pattern


class Order(NamedTuple):
    """In which order a layer runs its kernels.

    Attributes:
        filters: Permutation of the output channels, (n,).
        kernels: For each filter, in the new order, a permutation of its input channels,
            (n, c).
    """

    filters: Tensor
    kernels: Tensor


def all_patterns(*, middle: bool = False) -> Tensor:
    """Return all patterns of 4 of 9 weights, (126, 3, 3) or (56, 3, 3), bool.

    Args:
        middle: Whether the weight in the middle has to be among them.

    Example:
        >>> all_patterns().shape, all_patterns(middle=True).shape
        (torch.Size([126, 3, 3]), torch.Size([56, 3, 3]))
    """
    chosen = [c for c in combinations(range(9), 4) if 4 in c or not middle]
    patterns = torch.zeros(len(chosen), 9, dtype=torch.bool)
    return patterns.scatter(1, torch.tensor(chosen), value=True).view(-1, 3, 3)


def nearest_patterns(weight: Tensor, patterns: Tensor) -> Tensor:
    """Return the number of the closest pattern for every kernel, (n, c).

    Args:
        weight: Of a 3 x 3 convolution, (n, c, 3, 3).
        patterns: (p, 3, 3), bool; of equally close ones the first is taken.

    Example:
        >>> kernel = torch.tensor([[[[0.0, 9, 0], [8, 1, 7], [0, 6, 0]]]])
        >>> all_patterns()[nearest_patterns(kernel, all_patterns())].int().tolist()
        [[[[0, 1, 0], [1, 0, 1], [0, 1, 0]]]]
    """
    _check_kernels(weight)
    squares = weight.detach().double().square().flatten(2)
    return (squares @ patterns.flatten(1).double().t()).argmax(dim=-1)


def pattern_library(weights: Iterable[Tensor], patterns: Tensor, size: int) -> Tensor:
    """Return the patterns that are closest to the most kernels, (size, 3, 3), bool.

    Args:
        weights: Of 3 x 3 convolutions, (n, c, 3, 3) each.
        patterns: Candidates, (p, 3, 3), bool.
        size: How many to return, the most frequent first; at most p.

    Raises:
        ValueError: If more are wanted than there are candidates.

    Example:
        >>> kernels = torch.ones(1, 1, 3, 3)
        >>> pattern_library([kernels], all_patterns(), 1).int().tolist()
        [[[1, 1, 1], [1, 0, 0], [0, 0, 0]]]
    """
    check_positive(size=size)
    if size > len(patterns):
        raise ValueError(f"size must be at most {len(patterns)} patterns, got {size}")
    counts = torch.zeros(len(patterns), dtype=torch.long)
    for weight in weights:
        nearest = nearest_patterns(weight, patterns).flatten()
        counts += nearest.bincount(minlength=len(patterns))
    return patterns[counts.argsort(descending=True, stable=True)[:size]]


def drop_kernels(weight: Tensor, choice: Tensor, sparsity: float) -> Tensor:
    """Return the choice with the kernels of smallest norm gone (connectivity pruning).

    Args:
        weight: (n, c, 3, 3).
        choice: Number of each kernel's pattern, (n, c).
        sparsity: Share of the kernels that goes.

    Example:
        >>> weight = torch.ones(1, 2, 3, 3) * torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
        >>> drop_kernels(weight, torch.tensor([[5, 6]]), 0.5)
        tensor([[-1,  6]])
    """
    _check_kernels(weight)
    norms = weight.detach().flatten(2).norm(dim=-1)
    return choice.where(keep_largest(norms, sparsity), GONE)


def pattern_mask(choice: Tensor, patterns: Tensor) -> Tensor:
    """Return which weights are left, (n, c, 3, 3), bool.

    Args:
        choice: Number of each kernel's pattern, (n, c), or -1 where it is gone.
        patterns: (p, 3, 3), bool.

    Example:
        >>> pattern_mask(torch.tensor([[0, -1]]), all_patterns()).sum(dim=(2, 3))
        tensor([[4, 0]])
    """
    return patterns[choice] & choice.ne(GONE)[..., None, None]


def reorder(choice: Tensor) -> Order:
    """Return an order in which the loop to run changes rarely; not always the best.

    Args:
        choice: Number of each kernel's pattern, (n, c), or -1 where it is gone.

    Example:
        >>> reorder(torch.tensor([[1, 0], [-1, 1], [0, 1]])).filters
        tensor([1, 0, 2])
    """
    last = int(choice.max()) + 1  # behind all patterns: kernels that are gone
    kernels = choice.where(choice.ne(GONE), last).argsort(dim=1, stable=True)
    ordered = choice.gather(1, kernels).tolist()
    lengths = choice.ne(GONE).sum(dim=1).tolist()
    filters = sorted(range(len(choice)), key=lambda f: (lengths[f], ordered[f]))
    numbers = torch.tensor(filters)
    kernels = kernels[numbers]
    kernels[1::2] = kernels[1::2].flip(1)
    return Order(numbers, kernels)


def loop_changes(choice: Tensor, order: Order | None = None) -> int:
    """Return how often another inner loop has to begin while a layer runs.

    Args:
        choice: Number of each kernel's pattern, (n, c), or -1 where it is gone.
        order: Of filters and kernels; None as they stand.

    Example:
        >>> choice = torch.tensor([[1, 0], [0, 1]])
        >>> loop_changes(choice), loop_changes(choice, reorder(choice))
        (3, 3)
    """
    if order is not None:
        choice = choice[order.filters].gather(1, order.kernels)
    return len(choice[choice.ne(GONE)].unique_consecutive())


def distinct_loops(mask: Tensor) -> int:
    """Return how many different inner loops a layer needs: its kernels' distinct masks.

    Args:
        mask: Which weights are left, (n, c, 3, 3), bool; empty kernels need no loop.

    Example:
        >>> distinct_loops(pattern_mask(torch.tensor([[0, 1, 1, -1]]), all_patterns()))
        2
    """
    kernels = mask.flatten(2).flatten(0, 1)
    return len(kernels[kernels.any(dim=1)].unique(dim=0))


def _check_kernels(weight: Tensor) -> None:
    if weight.ndim != 4 or weight.shape[2:] != (3, 3):
        raise ValueError(
            f"weight must be (n, c, 3, 3), got shape {tuple(weight.shape)}; patterns "
            "are for 3 x 3 kernels"
        )
