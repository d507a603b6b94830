"""What a lottery ticket has to beat: other weights, and other masks.

Papers: Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable
Neural Networks", ICLR 2019, https://arxiv.org/abs/1803.03635 (new weights); Frankle et
al., "Pruning Neural Networks at Initialization: Why are We Missing the Mark?", ICLR
2021, https://arxiv.org/abs/2009.08576 (masks shuffled inside each layer).

    ticket          mask m             weights theta_0
    new weights     m                  drawn again           reinitialised
    shuffled        m, permuted        theta_0               shuffled_masks
                    inside each layer
    uniform         as many of all     theta_0               uniform_masks
                    layers together

If new weights do as well, it was the mask alone. If a shuffled mask does as well, it
was the number of weights in each layer. If a uniform one does as well, it was their
number alone. Each control takes one more thing away.

What is random comes from PyTorch's generator: call inside ``with seeded(s):``. A layer
draws its weights again as its own ``reset_parameters`` does. Weights that the network
got in another way are not drawn that way again.
"""

import copy
import math

import torch
from torch import Tensor, nn

from effdl.prune.masks import Masks, masks_of


def reinitialised(initial: nn.Module) -> nn.Module:
    """Return a copy of the network in which every layer has drawn its weights again.

    Args:
        initial: Not pruned; left as it is.

    Raises:
        ValueError: If it is pruned, or a layer has parameters and no
            ``reset_parameters``.

    Example:
        >>> initial = nn.Linear(4, 4)
        >>> torch.equal(reinitialised(initial).weight, initial.weight)
        False
    """
    if masks_of(initial):
        raise ValueError("initial is pruned; draw weights first, then use make_ticket")
    fresh = copy.deepcopy(initial)
    for name, module in fresh.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise ValueError(
                f"initial has {type(module).__name__} {name!r}, which cannot draw its "
                "parameters again; give it reset_parameters"
            )
    return fresh


def shuffled_masks(masks: Masks) -> dict[str, Tensor]:
    """Return masks with as many weights in every layer, at random places in it.

    Args:
        masks: Those of a ticket; left as they are.

    Example:
        >>> masks = {"weight": torch.tensor([True, True, False, False])}
        >>> int(shuffled_masks(masks)["weight"].sum())
        2
    """
    return {
        name: _shuffled(mask.flatten()).view_as(mask) for name, mask in masks.items()
    }


def uniform_masks(masks: Masks) -> dict[str, Tensor]:
    """Return masks with as many weights in total, at random places in all layers.

    Args:
        masks: Those of a ticket, at least one; left as they are.

    Raises:
        ValueError: If there is none.

    Example:
        >>> masks = {"a": torch.ones(4).bool(), "b": torch.zeros(4).bool()}
        >>> sum(int(mask.sum()) for mask in uniform_masks(masks).values())
        4
    """
    if not masks:
        raise ValueError("masks is empty: there is nothing to draw; prune first")
    together = _shuffled(torch.cat([mask.flatten() for mask in masks.values()]))
    parts = together.split([math.prod(mask.shape) for mask in masks.values()])
    return {
        name: part.view_as(mask)
        for (name, mask), part in zip(masks.items(), parts, strict=True)
    }


def _shuffled(flat: Tensor) -> Tensor:
    return flat[torch.randperm(len(flat))]
