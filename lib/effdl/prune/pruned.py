"""What is left of a pruned network: its weights, how many, and back from a file.

The masks themselves are in :mod:`effdl.prune.masks`.
"""

import copy
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from effdl.nas.proxies.weights import connection_weights
from effdl.prune.masks import Masks, make_permanent_, prune_


class Kept(NamedTuple):
    """How many weights are left, of how many."""

    kept: int
    total: int

    @property
    def sparsity(self) -> float:
        """Share of the weights that are gone."""
        return 1 - self.kept / self.total


def plain_copy(model: nn.Module) -> nn.Module:
    """Return an ordinary copy of a network, with zeros where weights are gone.

    What scores weights by gradients works on it: there every weight is a parameter.

    Args:
        model: The network, pruned or not; it is left as it is.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> prune_(layer, {"weight": torch.tensor([[True, False]])})
        >>> list(layer.state_dict())
        ['bias', 'parametrizations.weight.original', 'parametrizations.weight.0.mask']
        >>> list(plain_copy(layer).state_dict())
        ['bias', 'weight']
    """
    copied = copy.deepcopy(model)
    make_permanent_(copied)
    return copied


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of linear and convolutional layers as they compute, copied.

    Args:
        model: The network, pruned or not.

    Example:
        >>> list(weights_of(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))))
        ['0.weight']
    """
    weights = connection_weights(plain_copy(model))
    return {name: weight.detach() for name, weight in weights.items()}


def load_pruned_(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Change an unpruned network into the pruned one whose ``state_dict()`` this is.

    Args:
        model: The same architecture, not pruned.
        state: What ``pruned.state_dict()`` returned.

    Example:
        >>> import torch
        >>> pruned, other = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> prune_(pruned, {"weight": torch.eye(2) > 0})
        >>> load_pruned_(other, pruned.state_dict())
        >>> bool((other.weight == pruned.weight).all())
        True
    """
    ending = ".parametrizations.{}.0.mask"
    masks = {}
    for name in dict(model.named_parameters()):
        prefix, _, tensor = name.rpartition(".")
        key = f"{prefix}{ending.format(tensor)}".removeprefix(".")
        if key in state:
            masks[name] = state[key]
    prune_(model, masks)
    model.load_state_dict(state)


def count_kept(masks: Masks) -> Kept:
    """Return how many weights the masks leave, of how many.

    Args:
        masks: At least one.

    Raises:
        ValueError: If there is none.

    Example:
        >>> import torch
        >>> count_kept({"weight": torch.tensor([True, False, True, True])}).sparsity
        0.25
    """
    total = sum(mask.numel() for mask in masks.values())
    if not total:
        raise ValueError("masks is empty: there is nothing to count; prune first")
    return Kept(sum(int(mask.sum()) for mask in masks.values()), total)
