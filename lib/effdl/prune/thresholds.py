"""From scores to masks: how many weights go, and out of which layers.

Papers: Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", NeurIPS 2015, https://arxiv.org/abs/1506.02626; Zhu and Gupta, "To Prune, or
Not to Prune: Exploring the Efficacy of Pruning for Model Compression", 2017,
https://arxiv.org/abs/1710.01878.

A score says how important a weight is: the larger, the more. Sparsity p is the share
that goes. Of n weights, round(p n) go, exactly, and n - round(p n) stay:

    layer by layer      the smallest of every layer      layer_masks
    globally            the smallest of all              global_masks

With one threshold for all, a layer whose scores are small can lose everything; then no
signal passes (layer collapse). Applying such a mask warns, see
:mod:`effdl.prune.masks`.

Of equal scores the first in memory stays. Paper and public code rarely say.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from effdl.prune.masks import Masks


def check_sparsity(sparsity: float) -> None:
    """Require a share of weights that go: 0 or more, and below 1.

    Raises:
        ValueError: If it is not, or not a number.

    Example:
        >>> check_sparsity(90)
        Traceback (most recent call last):
        ValueError: sparsity must be at least 0 and below 1, got 90; 90 % is 0.9
    """
    if not 0 <= sparsity < 1:
        percent = f"; {sparsity:g} % is {sparsity / 100:g}" if sparsity >= 1 else ""
        raise ValueError(
            f"sparsity must be at least 0 and below 1, got {sparsity}{percent}"
        )


def keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    """Return the mask that keeps all but the round(p n) smallest scores, bool.

    Args:
        scores: Any shape, n elements, none of them nan.
        sparsity: Share p that goes, 0 to 1, 1 excluded.

    Raises:
        ValueError: If a score is nan.

    Example:
        >>> keep_largest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 0.5)
        tensor([ True, False,  True, False])
    """
    check_sparsity(sparsity)
    if scores.isnan().any():
        raise ValueError("scores has nan; what computed them divided 0 by 0, or so")
    kept = scores.numel() - round(sparsity * scores.numel())
    order = scores.flatten().argsort(descending=True, stable=True)
    mask = torch.zeros_like(order, dtype=torch.bool)
    mask[order[:kept]] = True
    return mask.view(scores.shape)


def layer_masks(
    scores: Mapping[str, Tensor],
    sparsity: float | Mapping[str, float],
    *,
    within: Masks | None = None,
) -> dict[str, Tensor]:
    """Return masks that take the same share, or a given one, out of every layer.

    Args:
        scores: From name to scores, the larger, the more important.
        sparsity: Share of each layer that goes; or one for each name.
        within: Masks of an earlier pruning: what is gone stays gone.

    Raises:
        ValueError: If a sparsity is missing or out of range, or ``within`` has left
            fewer weights than the sparsity wants to keep.

    Example:
        >>> layer_masks({"weight": torch.tensor([1.0, 3.0, 2.0, 4.0])}, 0.5)
        {'weight': tensor([False,  True, False,  True])}
    """
    masks = {}
    for name, score in _left(scores, within).items():
        shares = sparsity if isinstance(sparsity, Mapping) else {name: sparsity}
        if name not in shares:
            raise ValueError(f"sparsity has no entry for {name}; it needs one a layer")
        masks[name] = keep_largest(score, shares[name])
    return _checked(masks, within)


def global_masks(
    scores: Mapping[str, Tensor], sparsity: float, *, within: Masks | None = None
) -> dict[str, Tensor]:
    """Return masks that take the smallest scores of all layers together.

    Args:
        scores: From name to scores; they have to be comparable between layers.
        sparsity: Share of all weights that goes.
        within: Masks of an earlier pruning: what is gone stays gone.

    Raises:
        ValueError: If there are no scores, or ``within`` has left fewer weights than
            the sparsity wants to keep.

    Example:
        >>> scores = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0, 4.0])}
        >>> global_masks(scores, 0.25)
        {'a': tensor([False,  True]), 'b': tensor([True, True])}
    """
    if not scores:
        raise ValueError("scores is empty; give those of at least one layer")
    left = _left(scores, within)
    together = torch.cat([score.flatten() for score in left.values()])
    parts = keep_largest(together, sparsity).split([s.numel() for s in left.values()])
    masks = {
        name: part.view(score.shape)
        for (name, score), part in zip(left.items(), parts, strict=True)
    }
    return _checked(masks, within)


def _left(scores: Mapping[str, Tensor], within: Masks | None) -> dict[str, Tensor]:
    if within is None:
        return dict(scores)
    for name, score in scores.items():
        if name not in within or within[name].shape != score.shape:
            raise ValueError(
                f"within needs a mask of shape {tuple(score.shape)} for {name}"
            )
    return {n: s.masked_fill(~within[n], -torch.inf) for n, s in scores.items()}


def _checked(masks: dict[str, Tensor], within: Masks | None) -> dict[str, Tensor]:
    for name, mask in masks.items():
        if within is not None and (mask & ~within[name]).any():
            raise ValueError(
                f"sparsity keeps {int(mask.sum())} weights of {name}, but only "
                f"{int(within[name].sum())} are left; give a higher one"
            )
    return masks
