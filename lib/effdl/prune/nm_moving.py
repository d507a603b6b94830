"""Masks that move: N:M masks that are made anew whenever a weight is used.

Paper: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From
Scratch", ICLR 2021, https://arxiv.org/abs/2102.04010, for training with them from the
first step on.

A layer computes with

    weight = where(mask, W, 0)        mask = N largest |W| of each group of M, of today

So a weight is gone or back as soon as another of its group is larger or smaller. What
is learned is W, dense; what computes is N:M at every step. The slope of W here is the
plain one: that of the weight where the mask is true, and 0 elsewhere. A weight that is
gone then stands still (but for weight decay), and hardly ever returns. What gives it a
slope is in :mod:`effdl.prune.sr_ste` and :mod:`effdl.prune.gradient_flow`.

    move_masks_(net, names, make)     from now on these weights have moving masks
    masks_of(net)                     those of the last forward pass
    hold_still_(net)                  masks as they are: fine-tuning under a fixed mask

A moving mask is a :class:`~effdl.prune.masks.Mask`, so that all else that knows masks
knows it: ``make_permanent_``, ``plain_copy``, saving. Loaded by ``load_pruned_``, it
stands still.

Costs: a sort of every group in every forward pass.
"""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from effdl.nas.proxies.weights import connection_weights
from effdl.prune.masks import Mask, masks_of, prune_
from effdl.prune.nm import nm_mask


class MovingMask(Mask):
    """A mask that follows its weight, as a parametrization.

    Args:
        weight: What it begins with, (out, in) or (out, in, k, k).
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.

    Example:
        >>> import torch
        >>> weight = torch.tensor([[4.0, 3.0]])
        >>> moving = MovingMask(weight, keep=1, group=2)
        >>> moving(weight), moving(torch.tensor([[1.0, 3.0]]))
        (tensor([[4., 0.]]), tensor([[0., 3.]]))
    """

    def __init__(self, weight: Tensor, keep: int = 2, group: int = 4) -> None:
        super().__init__(nm_mask(weight.detach().abs(), keep, group))
        self.keep, self.group = keep, group
        self.moving = True

    def forward(self, original: Tensor) -> Tensor:
        """Return the weight, shaped like ``original``, under today's mask."""
        if not self.moving:
            return super().forward(original)
        # a new tensor: the old one may wait for the backward pass
        self.mask = nm_mask(original.detach().abs(), self.keep, self.group)
        return self.weigh(original)

    def weigh(self, original: Tensor) -> Tensor:
        """Return what the mask makes of the weights while it moves."""
        return super().forward(original)


def divisible_weights(model: nn.Module, group: int = 4) -> list[str]:
    """Return the names of linear and convolutional weights whose inputs M divides.

    The weight that a ``nn.MultiheadAttention`` makes queries, keys and values with is
    not among them, as it belongs to no linear layer: add its name.

    Args:
        model: The network, not pruned.
        group: Weights M of a group.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 4, 3))
        >>> divisible_weights(net)
        ['1.weight']
    """
    weights = connection_weights(model)
    return [name for name, weight in weights.items() if weight.shape[1] % group == 0]


def move_masks_(
    model: nn.Module, names: Iterable[str], make: Callable[[Tensor], MovingMask]
) -> None:
    """Change the network: from now on these weights have masks that move.

    Raises ``ValueError`` as :func:`effdl.prune.masks.prune_` does, and then changes
    nothing.

    Args:
        model: The network.
        names: Of parameters, such as :func:`divisible_weights` returns.
        make: Gets a weight, returns its parametrization.

    Raises:
        ValueError: If there are no names, or one of them is no parameter.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> move_masks_(layer, ["weight"], MovingMask)
        >>> int(layer.weight.count_nonzero())
        4
    """
    chosen, parameters = list(names), dict(model.named_parameters())
    if not chosen or (unknown := [n for n in chosen if n not in parameters]):
        what = f"{unknown}, which the model does not have" if chosen else "nothing"
        raise ValueError(f"names has {what}; it has {', '.join(parameters)}")
    made = {name: make(parameters[name]) for name in chosen}
    prune_(model, {name: moving.mask for name, moving in made.items()})
    for name, moving in made.items():
        chain = model.get_submodule(_chain_of(name))
        chain.add_module("0", moving)  # in the place of the mask that stands still


def hold_still_(model: nn.Module) -> None:
    """Change the masks that move into fixed ones, as today's weights want them.

    Args:
        model: The network; its other masks stay as they are.

    Example:
        >>> import torch
        >>> layer = nn.Linear(4, 2)
        >>> move_masks_(layer, ["weight"], MovingMask)
        >>> hold_still_(layer)
        >>> before = layer.weight != 0
        >>> _ = layer.parametrizations.weight.original.data.neg_().add_(1)
        >>> torch.equal(layer.weight != 0, before)
        True
    """
    for name in masks_of(model):
        held = model.get_submodule(f"{_chain_of(name)}.0")
        if isinstance(held, MovingMask) and held.moving:
            path, _, tensor = name.rpartition(".")
            getattr(model.get_submodule(path), tensor)  # makes the mask of today
            held.moving = False


def _chain_of(name: str) -> str:
    """Return where a network keeps the parametrizations of a weight."""
    path, _, tensor = name.rpartition(".")
    return f"{path}.parametrizations.{tensor}".removeprefix(".")
