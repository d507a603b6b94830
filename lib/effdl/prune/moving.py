"""Drop and grow: a pruned network gives weights up and gets as many others.

Paper: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
https://arxiv.org/abs/1911.11134, section 3.

In every layer with n weights left,

    k     = floor(share n)
    drop    the k smallest |w| of those that are left
    grow    the k largest scores of those that are then not left, with w = 0

so the number of weights of every layer stays what it was, and growing alone does not
change what the network computes. A dropped weight may grow again at once, and then
keeps its value, as in the authors' program: it never was away. Of equal values, the
first in memory stays, or grows.

What differs: the authors reset the momentum of what grows. Here the optimiser is left
alone: while a weight is gone its gradient is 0, so momentum fades by itself.

When this is called, and with which scores: :mod:`effdl.prune.rigl`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from effdl.prune.masks import masks_of, set_masks_
from effdl.prune.thresholds import keep_largest


def moved_mask(weight: Tensor, mask: Tensor, scores: Tensor, count: int) -> Tensor:
    """Return the mask of a layer after dropping and growing, with as many weights.

    Args:
        weight: The layer's weights, any shape.
        mask: Which of them are left, bool.
        scores: The larger, the sooner a weight grows; shaped as the weight.
        count: How many weights k are dropped, and grow; fewer than are left.

    Raises:
        ValueError: If the count is not below what is left, or shapes differ.

    Example:
        >>> weight, mask = torch.tensor([3.0, 1, 0]), torch.tensor([True, True, False])
        >>> moved_mask(weight, mask, torch.tensor([9.0, 2, 5]), 1)
        tensor([ True, False,  True])
    """
    if scores.shape != mask.shape:
        shape = tuple(mask.shape)
        raise ValueError(f"scores must be {shape}, got {tuple(scores.shape)}")
    left, total = int(mask.sum()), mask.numel()
    if count == 0:
        return mask.clone()
    if not 0 < count < left:
        raise ValueError(f"count must be below the {left} weights left, got {count}")
    sizes = weight.abs().masked_fill(~mask, -torch.inf)
    kept = keep_largest(sizes, 1 - (left - count) / total)
    return kept | keep_largest(scores.masked_fill(kept, -torch.inf), 1 - count / total)


def move_connections_(
    model: nn.Module, scores: Mapping[str, Tensor], share: float
) -> int:
    """Change a pruned network: every layer drops a share of its weights, others grow.

    Args:
        model: A network that :func:`~effdl.prune.masks.prune_` has seen.
        scores: For every pruned weight, the larger, the sooner it grows.
        share: Share of the weights left in each layer that moves, below 1.

    Returns:
        How many weights are there that were not before.

    Raises:
        ValueError: If the share is out of range, or scores are missing or misshapen.

    Example:
        >>> from effdl.prune.masks import prune_
        >>> layer = nn.Linear(4, 1)
        >>> prune_(layer, {"weight": torch.tensor([[True, True, False, False]])})
        >>> move_connections_(layer, {"weight": torch.tensor([[0.0, 0, 1, 2]])}, 0.5)
        1
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, got {share}")
    moved = 0
    for name, mask in masks_of(model).items():
        if name not in scores:
            raise ValueError(f"scores has no entry for {name}")
        weight = _original(model, name).detach()  # shares memory
        count = math.floor(share * int(mask.sum()))
        after = moved_mask(weight, mask, scores[name], count)
        set_masks_(model, {name: after})
        grown = after & ~mask
        weight[grown] = 0
        moved += int(grown.sum())
    return moved


def _original(model: nn.Module, name: str) -> Tensor:
    path, _, tensor = name.rpartition(".")
    layer = model.get_submodule(path)
    return layer.get_parameter(f"parametrizations.{tensor}.original")
