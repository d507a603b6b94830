"""Progressive gradient flow, by masks: what is going to be pruned fades (MdGf).

Paper: Bambhaniya et al., "Progressive Gradient Flow for Robust N:M Sparsity Training in
Transformers", 2024, https://arxiv.org/abs/2402.04744.

With few weights left of a group, a slope that passes straight through to all others is
mostly noise. Mask decay lets it dry up:

    weight = W (m + b (1 - m))      m: N:M, made anew at every use; b from 1 to 0
    linear        b = max(1 - rate t, 0)
    exponential   b = exp(-rate t)

t is the progress from 0 to 1 of the phase in which this goes on. Before it, the
authors train densely, which is b = 1, and after it with the hard mask. An exponential
ends above 0, so something has to cut: :func:`fade` does at t = 1.

The slope here is the true one: of a weight that is going, b times that of the product.
So b rules both directions. In the authors' program the slope passes whole, whatever b
is; there it is the forward pass alone that fades.

The other way of the paper is in :mod:`effdl.prune.structure_decay`.

Before trusting it: with b = 0 a weight that is gone stands still, but for weight decay,
which takes it further away.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.prune.nm_moving import MovingMask


def linear_factor(progress: float, rate: float = 1.0) -> float:
    """Return b of the linear decay.

    Args:
        progress: t, 0 to 1.
        rate: How often b would fall from 1 to 0 by t = 1.

    Example:
        >>> [linear_factor(t, 2.0) for t in (0, 0.25, 0.5, 1)]
        [1.0, 0.5, 0.0, 0.0]
    """
    return max(1.0 - rate * progress, 0.0)


def exponential_factor(progress: float, rate: float = 5.0) -> float:
    """Return b of the exponential decay; it never is 0.

    Args:
        progress: t, 0 to 1.
        rate: Minus log b at t = 1; ours.

    Example:
        >>> [round(exponential_factor(t), 3) for t in (0, 0.5, 1)]
        [1.0, 0.082, 0.007]
    """
    return math.exp(-rate * progress)


class FadingMask(MovingMask):
    """A moving mask that leaves a share b of what it takes.

    Args:
        weight: What it begins with, (out, in) or (out, in, k, k).
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.
        factor: b at the start, 0 to 1; with 1 training is dense.

    Raises:
        ValueError: If it is out of range.

    Example:
        >>> weight = torch.tensor([[4.0, 2.0]])
        >>> FadingMask(weight, keep=1, group=2, factor=0.25)(weight)
        tensor([[4.0000, 0.5000]])
    """

    def __init__(
        self, weight: Tensor, keep: int = 2, group: int = 4, *, factor: float = 1.0
    ) -> None:
        super().__init__(weight, keep, group)
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be from 0 to 1, got {factor}")
        self.factor = factor

    def weigh(self, original: Tensor) -> Tensor:
        """Return the weights, those that are going times b."""
        return torch.where(self.mask, original, self.factor * original)


def fade(
    model: nn.Module,
    factor_of: Callable[[float], float],
    *,
    steps: int,
    start: int = 0,
) -> Callable[[], None]:
    """Return what to call after every step: it lets what is going fade (MdGf).

    Args:
        model: Some of its weights have a :class:`FadingMask`.
        factor_of: Maps progress to b, such as :func:`linear_factor`.
        steps: Steps from the first change to b = 0.
        start: Steps before it.

    Raises:
        ValueError: If no weight has such a mask.

    Example:
        >>> from effdl.prune.nm_moving import move_masks_
        >>> layer = nn.Linear(4, 1)
        >>> move_masks_(layer, ["weight"], FadingMask)
        >>> after_step = fade(layer, linear_factor, steps=2)
        >>> for _ in range(2):
        ...     after_step()
        ...     print(layer.parametrizations.weight[0].factor)
        0.5
        0.0
    """
    check_positive(steps=steps)
    fading = [module for module in model.modules() if isinstance(module, FadingMask)]
    if not fading:
        raise ValueError("model has no fading masks; move_masks_ with FadingMask first")
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        progress = min(max(done - start, 0) / steps, 1.0)
        for mask in fading:
            mask.factor = factor_of(progress) if progress < 1 else 0.0

    return after_step
