"""SR-STE: N:M from scratch, with a slope for what is gone, and a pull towards 0.

Paper: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From
Scratch", ICLR 2021, https://arxiv.org/abs/2102.04010, sections 3 and 4.

The weights W are dense and learn; the layer computes with the N:M of today.

    forward     V = mask(W) W
    backward    g(W) = g(V) + decay (1 - mask) W

g(V) passes straight through to all of W, also to weights that are gone: this is the
straight-through estimator (STE). It is no derivative of anything. Two things go wrong.
A weight that is gone moves along a slope that is not its own, grows over its
neighbour, falls back: masks flap. And they still do when training should settle. The
second term, the refinement, holds down what is gone. It is the slope of

    decay / 2  sum of W^2 over the weights that are gone

and so equals plain STE with that as a penalty. How much masks flap is measured by the
sparse architecture divergence, SAD: the number of weights in which two masks differ.

With decay = 0 this is plain STE. With decay < 0 what is gone is driven up, and SAD
rises: the authors try this, to show what the sign does.

What differs: the authors' program has one layer that groups the flattened weight, and
one that groups along the inputs, as here. For a linear layer there is no difference.

Before trusting it: the pull adds to the optimiser's weight decay, and Adam divides it
by the size of recent slopes like any other slope: 2e-4 was chosen for SGD.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from effdl.prune.masks import Masks
from effdl.prune.nm_moving import MovingMask


def sr_ste(weight: Tensor, mask: Tensor, decay: float = 2e-4) -> Tensor:
    """Return the masked weight, whose slope passes to all weights, with the pull.

    Args:
        weight: W, any shape.
        mask: True where a weight is left, bool, of that shape.
        decay: Factor of the weights that are gone in their slope.

    Example:
        >>> weight = torch.tensor([3.0, 2.0], requires_grad=True)
        >>> kept = sr_ste(weight, torch.tensor([True, False]), decay=0.5)
        >>> kept.sum().backward()
        >>> kept.tolist(), weight.grad.tolist()
        ([3.0, 0.0], [1.0, 2.0])
    """
    result: Tensor = _SrSte.apply(weight, mask, decay)
    return result


class SrSte(MovingMask):
    """A moving mask with the slope of SR-STE.

    Attach it with :func:`~effdl.prune.nm_moving.move_masks_`.

    Args:
        weight: What it begins with, (out, in) or (out, in, k, k).
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.
        decay: The pull on what is gone; 0 for plain STE.

    Raises:
        ValueError: If ``decay`` is not finite.

    Example:
        >>> from effdl.prune.nm_moving import move_masks_
        >>> layer = torch.nn.Linear(4, 2)
        >>> move_masks_(layer, ["weight"], SrSte)
        >>> layer(torch.ones(4)).sum().backward()
        >>> int(layer.weight.count_nonzero())
        4
        >>> int(layer.parametrizations.weight.original.grad.count_nonzero())
        8
    """

    def __init__(
        self, weight: Tensor, keep: int = 2, group: int = 4, *, decay: float = 2e-4
    ) -> None:
        super().__init__(weight, keep, group)
        if not math.isfinite(decay):
            raise ValueError(f"decay must be finite, got {decay}; the paper has 2e-4")
        self.decay = decay

    def weigh(self, original: Tensor) -> Tensor:
        """Return the masked weights with the slope of SR-STE."""
        return sr_ste(original, self.mask, self.decay)


def architecture_divergence(before: Masks, after: Masks) -> int:
    """Return SAD: in how many weights masks differ, over all layers.

    Args:
        before: From name to mask, such as ``masks_of`` returns after a forward pass.
        after: Of the same names and shapes.

    Raises:
        ValueError: If the names differ.

    Example:
        >>> old = {"weight": torch.tensor([True, False, True])}
        >>> new = {"weight": torch.tensor([False, True, True])}
        >>> architecture_divergence(old, new)
        2
    """
    if before.keys() != after.keys():
        raise ValueError(f"after must have the names {[*before]}, got {[*after]}")
    return sum(int((mask != after[name]).sum()) for name, mask in before.items())


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, Tensor]
    decay: float


class _SrSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, weight: Tensor, mask: Tensor, decay: float) -> Tensor:
        ctx.save_for_backward(weight, mask)
        ctx.decay = decay
        return torch.where(mask, weight, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, mask = ctx.saved_tensors
        return grad + ctx.decay * torch.where(mask, 0, weight), None, None
