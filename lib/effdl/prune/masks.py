"""Masks: which weights of a network are left, held by the network itself.

A pruned layer computes with

    weight = where(mask, original, 0)        mask is bool, shaped like the weight

by PyTorch's parametrizations. So a weight that is gone stays exactly 0 whatever an
optimiser does with ``original``: momentum and weight decay included. The mask is a
buffer: it is copied, saved and loaded with the network.

    prune_(net, masks)          from now on the network trains with its masks
    masks_of(net)               what is left
    set_masks_(net, masks)      other masks, for methods that let weights return
    make_permanent_(net)        ordinary weights again, zeros among them

Masks are dicts from the plain name of a weight, such as "0.weight", to a tensor.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Masks = Mapping[str, Tensor]


class Mask(nn.Module):
    """Replaces the weights that are gone by 0, as a parametrization.

    Args:
        mask: True where a weight is left, shaped like the weight.

    Example:
        >>> Mask(torch.tensor([True, False]))(torch.tensor([3.0, 4.0]))
        tensor([3., 0.])
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.detach().clone())

    def forward(self, original: Tensor) -> Tensor:
        """Return the weight, shaped like ``original``."""
        return torch.where(self.mask, original, 0)


def prune_(model: nn.Module, masks: Masks) -> None:
    """Change the network: from now on it computes with masked weights.

    Optimisers that were made before keep working: the parameters are the same objects.
    Warns with the name of a layer that loses all its weights.

    Args:
        model: The network.
        masks: From names of parameters to tensors of their shapes, bool.

    Raises:
        ValueError: If a name, a shape or a type is wrong, the weight is pruned
            already, or another layer has it, too; then nothing is changed.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> prune_(layer, {"weight": torch.tensor([[True, False]])})
        >>> layer.weight[0, 1].item()
        0.0
    """
    parameters = dict(model.named_parameters())
    pruned = masks_of(model)
    for name, mask in masks.items():
        if name in pruned:
            raise ValueError(
                f"{name} is pruned already; use set_masks_ for another mask, or "
                "make_permanent_ first"
            )
        if name not in parameters:
            raise ValueError(
                f"masks names {name!r}, which is no parameter of the model; "
                f"it has {', '.join(parameters)}"
            )
        _check_mask(name, mask, parameters[name])
        _check_unshared(model, name)
    for name, mask in masks.items():
        layer, tensor = _place(model, name)
        if parametrize.is_parametrized(layer):
            _separate_class_(layer)
        # unsafe: the check would compute the weight once more, and change nothing
        parametrize.register_parametrization(layer, tensor, Mask(mask), unsafe=True)


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the masks that a network holds; a copy, empty if it was not pruned.

    Args:
        model: The network.

    Example:
        >>> masks_of(nn.Linear(2, 1))
        {}
    """
    return {name: mask.mask.clone() for name, mask in _held(model).items()}


def set_masks_(model: nn.Module, masks: Masks) -> None:
    """Change the masks of weights that are pruned; ``original`` stays as it is.

    So a weight that returns has the value that the optimiser left it at.

    Args:
        model: A network that :func:`prune_` has seen.
        masks: For some or all of its pruned weights.

    Raises:
        ValueError: If a weight is not pruned, or a mask has a wrong shape or type;
            then nothing is changed.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> prune_(layer, {"weight": torch.tensor([[True, False]])})
        >>> set_masks_(layer, {"weight": torch.tensor([[False, True]])})
        >>> masks_of(layer)
        {'weight': tensor([[False,  True]])}
    """
    held = _held(model)
    for name, mask in masks.items():
        if name not in held:
            known = ", ".join(held) or "none"
            raise ValueError(f"{name} has no mask, only {known}; use prune_ first")
        _check_mask(name, mask, held[name].mask)
    for name, mask in masks.items():
        held[name].mask.copy_(mask)


def make_permanent_(model: nn.Module) -> None:
    """Change the network back to an ordinary one, with zeros where weights are gone.

    Args:
        model: The network, pruned or not.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> prune_(layer, {"weight": torch.tensor([[True, False]])})
        >>> make_permanent_(layer)
        >>> type(layer.weight).__name__, layer.weight[0, 1].item()
        ('Parameter', 0.0)
    """
    for name in list(_held(model)):
        layer, tensor = _place(model, name)
        _separate_class_(layer)
        parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)


def _held(model: nn.Module) -> dict[str, Mask]:
    found = {}
    for path, layer in model.named_modules():
        if not parametrize.is_parametrized(layer):
            continue
        for tensor, chain in layer.parametrizations.items():
            if isinstance(chain[0], Mask):
                found[f"{path}.{tensor}".removeprefix(".")] = chain[0]
    return found


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, tensor = name.rpartition(".")
    return model.get_submodule(path), tensor


def _separate_class_(layer: nn.Module) -> None:
    """Give a layer a class of its own.

    PyTorch puts the computed weight into a class that it makes for the layer. A copy of
    the layer has the same class, and would lose its weight with it.
    """
    shared = type(layer)
    layer.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))


def _check_unshared(model: nn.Module, name: str) -> None:
    weight = model.get_parameter(name)
    layers = model.named_modules()  # each once, even if it is used twice
    owners = [path for path, m in layers if weight in set(m.parameters(recurse=False))]
    if len(owners) > 1:
        raise ValueError(
            f"{name} is shared by {', '.join(owners)}: give each its own weight"
        )


def _check_mask(name: str, mask: Tensor, like: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(f"mask of {name} must be bool, got {mask.dtype}; use mask > 0")
    if mask.shape != like.shape:
        raise ValueError(
            f"mask of {name} must have shape {[*like.shape]}, got {[*mask.shape]}"
        )
    if not mask.any():
        warnings.warn(f"{name} loses all its weights", stacklevel=3)
