"""N:M sparsity: of every M consecutive weights the N largest stay.

Paper: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021,
https://arxiv.org/abs/2104.08378 (2:4, by magnitude).

A group is M weights that meet M consecutive inputs of one output,

    linear      weight (out, in)            w[o, i M : (i + 1) M]
    conv        weight (out, in, k, k)      w[o, i M : (i + 1) M, y, x]

that is, always along the dimension that a product sums over. Where in its group a
weight stands is free: a 2:4 group has C(4, 2) = 6 patterns. So what goes is not a run
of consecutive weights. That would be vector sparsity, see
:mod:`effdl.prune.vector_sparsity`.

Groups do not share a weight. So the N largest scores of each are the best mask of all
that are N:M: no other keeps a larger sum, or, with scores w^2, leaves a smaller squared
error. It is not promised that it loses least accuracy.

What differs: the authors' program leaves some layers out by their sizes, in rules for
one processor. Here a layer stays whole if M does not divide its inputs, as in a first
convolution of one channel, and never else.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from effdl.checks import check_divides, check_positive


def check_nm(keep: int, group: int) -> None:
    """Require a group that loses some of its weights, but not all.

    Args:
        keep: Weights N that stay in each group.
        group: Weights M of a group.

    Raises:
        ValueError: If N is not below M.

    Example:
        >>> check_nm(4, 2)
        Traceback (most recent call last):
        ValueError: keep must be below group=2, got 4; 2:4 is keep=2, group=4
    """
    check_positive(keep=keep, group=group)
    if keep >= group:
        raise ValueError(
            f"keep must be below group={group}, got {keep}; 2:4 is keep=2, group=4"
        )


def to_groups(weight: Tensor, group: int = 4) -> Tensor:
    """Return the weights as groups of M consecutive inputs, (groups, M).

    Rows come in the order of outputs, then kernel pixels, then inputs.

    Args:
        weight: (out, in) or (out, in, k, k); M divides in.
        group: Weights M of a group.

    Raises:
        ValueError: If ``weight`` has one dimension or none.

    Example:
        >>> to_groups(torch.arange(8).view(1, 8))
        tensor([[0, 1, 2, 3],
                [4, 5, 6, 7]])
    """
    check_positive(group=group)
    if weight.ndim < 2:
        raise ValueError(
            f"weight must be (out, in) or (out, in, k, k), got {tuple(weight.shape)}"
        )
    check_divides("group", group, inputs=weight.shape[1])
    return weight.movedim(1, -1).reshape(-1, group)


def from_groups(groups: Tensor, shape: torch.Size) -> Tensor:
    """Return what :func:`to_groups` took apart.

    Args:
        groups: (groups, M).
        shape: Of the weight, (out, in) or (out, in, k, k).

    Example:
        >>> weight = torch.rand(2, 8, 3, 3)
        >>> torch.equal(from_groups(to_groups(weight), weight.shape), weight)
        True
    """
    outputs, inputs, *kernel = shape
    last = groups.reshape(outputs, *kernel, inputs)
    return last.movedim(-1, 1).contiguous()


def nm_mask(scores: Tensor, keep: int = 2, group: int = 4) -> Tensor:
    """Return the mask that keeps the N largest scores of every group, bool.

    Of equal scores the first stays.

    Args:
        scores: (out, in) or (out, in, k, k), none of them nan; the larger, the more
            important. For weights by magnitude give ``weight.abs()``.
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.

    Raises:
        ValueError: If a score is nan.

    Example:
        >>> nm_mask(torch.tensor([[3.0, 1.0, 4.0, 2.0]]))
        tensor([[ True, False,  True, False]])
    """
    check_nm(keep, group)
    if scores.isnan().any():
        raise ValueError("scores has nan; what computed them divided 0 by 0, or so")
    groups = to_groups(scores, group)
    order = groups.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(1, order[:, :keep], True)  # noqa: FBT003
    return from_groups(mask, scores.shape)


def nm_masks(
    scores: Mapping[str, Tensor], keep: int = 2, group: int = 4
) -> dict[str, Tensor]:
    """Return :func:`nm_mask` of every layer, and ones where M does not divide inputs.

    Args:
        scores: From name to scores, such as
            :func:`~effdl.prune.magnitude.magnitude_scores` returns.
        keep: Weights N that stay in each group.
        group: Weights M of a group.

    Raises:
        ValueError: If M divides the inputs of no layer.

    Example:
        >>> scores = {"a": torch.rand(8, 1, 3, 3), "b": torch.rand(8, 8)}
        >>> masks = nm_masks(scores)
        >>> [int(mask.sum()) for mask in masks.values()]
        [72, 32]
    """
    check_nm(keep, group)
    masks = {
        name: torch.ones_like(score, dtype=torch.bool)
        if score.ndim < 2 or score.shape[1] % group
        else nm_mask(score, keep, group)
        for name, score in scores.items()
    }
    if all(mask.all() for mask in masks.values()):
        raise ValueError(f"group={group} divides the inputs of no layer: nothing goes")
    return masks


def is_nm(mask: Tensor, keep: int = 2, group: int = 4) -> bool:
    """Return whether no group keeps more than N weights.

    Fewer are allowed, as they are to the hardware: it needs room for N.

    Args:
        mask: (out, in) or (out, in, k, k), bool; or weights, 0 where they are gone.
        keep: Weights N that may stay in each group.
        group: Weights M of a group, a divisor of in.

    Example:
        >>> is_nm(torch.tensor([[True, False, True, False]]))
        True
    """
    check_nm(keep, group)
    return bool(((to_groups(mask, group) != 0).sum(dim=1) <= keep).all())
