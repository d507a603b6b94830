"""RigL and SET: a sparse network that moves its connections while it trains.

Papers: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
https://arxiv.org/abs/1911.11134, section 3 and algorithm 1; Mocanu et al., "Scalable
training of artificial neural networks with adaptive sparse connectivity inspired by
network science", Nature Communications 2018, https://arxiv.org/abs/1707.04780 (SET).

The network is sparse from the first step to the last. Now and then every layer gives up
its smallest weights and gets as many others: their number is constant.

    f(t) = (alpha / 2) (1 + cos(pi t / T))      the share of each layer that moves
    drop   the smallest |w| of those that are left
    grow   the largest scores of those that are not left, from w = 0
           score = |dL/dw|, as if the weight were there        RigL
           score = a random number                             SET

See :mod:`effdl.prune.moving` for dropping and growing. A masked network has no slope at
a weight that is gone; :func:`gradient_growth` asks a copy without masks. The densities
of the layers are a choice of their own: :mod:`effdl.prune.densities`.

What differs: the update comes after a step, not instead of one. SET itself drops the
same share of the smallest positive and of the largest negative weights after every
epoch; here, as in the comparison of the first paper, it follows f(t).

Before trusting it: a dense gradient is as dear as a dense step, so it has to be rare,
and with few updates not much can move.
"""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive, check_share
from effdl.nas.proxies.weights import LossFunction, gradients, loss_of_weights
from effdl.prune.masks import masks_of
from effdl.prune.moving import move_connections_
from effdl.prune.pruned import plain_copy


def moving_share(step: int, *, steps: int, alpha: float = 0.3) -> float:
    """Return f(t), the share of a layer's weights that moves; 0 from ``steps`` on.

    Args:
        step: Steps t done.
        steps: Step T from which on nothing moves; in the paper three quarters of all.
        alpha: The share at the beginning.

    Example:
        >>> [round(moving_share(step, steps=100), 3) for step in (0, 50, 100, 150)]
        [0.3, 0.15, 0.0, 0.0]
    """
    check_positive(steps=steps)
    check_share(alpha=alpha)
    return alpha / 2 * (1 + math.cos(math.pi * min(step / steps, 1)))


def gradient_growth(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return |dL/dw| of every weight, those that are gone included: RigL's scores.

    ``ValueError`` if the batch is empty or the loss is not a finite scalar.

    Args:
        model: The network, in the mode that it is in; it is left as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output, (N, ...).
        loss_fn: Maps output and targets to a scalar.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.zeros_(layer.weight)
        >>> x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]])
        >>> gradient_growth(layer, x, y, loss_fn=F.mse_loss)
        {'weight': tensor([[ 6., 12.]])}
    """
    with torch.enable_grad():
        weights, loss = loss_of_weights(plain_copy(model), inputs, targets, loss_fn)
    return {name: slope.abs() for name, slope in gradients(loss, weights).items()}


def random_growth(model: nn.Module) -> dict[str, Tensor]:
    """Return a random number for every weight of a pruned network: SET's scores.

    Args:
        model: A network that :func:`~effdl.prune.masks.prune_` has seen.

    Example:
        >>> random_growth(nn.Linear(2, 1))
        {}
    """
    return {name: torch.rand(mask.shape) for name, mask in masks_of(model).items()}


def move_while_training(
    model: nn.Module,
    growth: Callable[[nn.Module], Mapping[str, Tensor]],
    *,
    steps: int,
    every: int = 100,
    alpha: float = 0.3,
) -> Callable[[], None]:
    """Return the ``after_step`` of :func:`effdl.train.fit` that moves connections.

    Does nothing in the steps between updates.

    Args:
        model: A network that :func:`~effdl.prune.masks.prune_` has seen.
        growth: Scores its weights, such as :func:`random_growth`, or
            ``lambda net: gradient_growth(net, *next(batches))``.
        steps: Step T from which on nothing moves.
        every: Steps from one update to the next.
        alpha: Share that moves at the beginning.

    Raises:
        ValueError: If a number is out of range, or the network was never pruned.

    Example:
        >>> after_step = move_while_training(nn.Linear(2, 1), random_growth, steps=9)
        Traceback (most recent call last):
        ValueError: model has no masks, so nothing can move; call prune_ first
    """
    check_positive(every=every)
    moving_share(0, steps=steps, alpha=alpha)
    if not masks_of(model):
        raise ValueError("model has no masks, so nothing can move; call prune_ first")
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        if done % every == 0 and done < steps:
            share = moving_share(done, steps=steps, alpha=alpha)
            move_connections_(model, growth(model), share)

    return after_step
