"""The loop of differentiable search; every method is a set of functions in it.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, algorithm 1; equation 8 of the survey.

    minimise over alpha   L_val(w*(alpha), alpha)
    where                 w*(alpha) minimises L_train(w, alpha)

Nobody trains to the end for every alpha. Each step moves alpha once on a batch for
validation, and w once on a batch for training:

    for every epoch, for every pair of batches:  step(searching, train, validation)
        alpha <- alpha - rate_alpha * d objective(L_val) / d alpha
        w     <- w     - rate_w     * d L_train / d w

What differs from one paper to the next is a set of functions,
:class:`effdl.nas.gradient.method.Method`.

What differs from the authors' code: gradients of w are not computed in the step of
alpha, nor those of alpha in the step of w. They were never used.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import chain, repeat

import torch
from torch import nn
from torch.optim import SGD, Adam

from effdl.checks import check_positive
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import DARTS, Method, SearchEpoch
from effdl.nas.gradient.steps import Searching, weight_step
from effdl.train import Batches


@dataclass(frozen=True)
class Rates:
    """Learning rates; the defaults are the authors' for CIFAR-10.

    Attributes:
        weights: Of w at first; it falls along half a cosine.
        weights_end: Of w at the end.
        weight_decay: Of w.
        architecture: Of alpha, with Adam, constant.
        architecture_decay: Of alpha.
        clip: Largest norm of the gradient of w.
    """

    weights: float = 0.025
    weights_end: float = 0.001
    weight_decay: float = 3e-4
    architecture: float = 3e-4
    architecture_decay: float = 1e-3
    clip: float = 5.0

    def __post_init__(self) -> None:
        for name in ("weights", "architecture", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be above 0 and finite, got {getattr(self, name)}"
                )


SMALL_RATES = Rates(weights=0.05, architecture=3e-3)  # for the book's small scenes


def search(
    supernet: nn.Module,
    architecture: Architecture,
    train: Batches,
    validation: Batches,
    *,
    epochs: int,
    method: Method = DARTS,
    rates: Rates = SMALL_RATES,
    warm_up: int = 0,
) -> list[SearchEpoch]:
    """Return what every epoch of a search left; train the supernet in place.

    Args:
        supernet: Maps inputs and weights (edges, K) to logits, such as
            :func:`~effdl.nas.gradient.mixed_net.small_mixed_net`.
        architecture: The logits, changed in place.
        train: Batches for w. One pass is an epoch.
        validation: Batches for alpha, begun again whenever they are used up.
        epochs: Passes at most.
        method: What enters the loop.
        rates: Learning rates.
        warm_up: Epochs at the start in which only w moves.

    Raises:
        ValueError: If ``epochs`` is below 1, ``warm_up`` below 0, or there are no
            batches. FloatingPointError if a loss is not finite.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> from effdl.nas.gradient.mixed_net import small_mixed_net
        >>> digits = small_digits(n_train=100, n_validation=100)
        >>> found = Architecture([("skip_connect", "nor_conv_1x1")] * 6)
        >>> net = small_mixed_net(found.candidates[0])
        >>> parts = [split.batches(50) for split in digits[:2]]
        >>> epochs = search(net, found, *parts, epochs=2)
        >>> epochs[-1].weights.shape
        torch.Size([6, 2])
    """
    check_positive(epochs=epochs, batches=min(len(train), len(validation)))
    if warm_up < 0:
        raise ValueError(f"warm_up must be 0 or larger, got {warm_up}")
    searching = _begin(supernet, architecture, method, rates)
    steps = epochs * len(train)
    judges = chain.from_iterable(repeat(validation))
    start = time.process_time()
    done: list[SearchEpoch] = []
    for epoch in range(epochs):
        supernet.train()
        moves = epoch >= warm_up
        total = 0.0
        for number, batch in enumerate(train):
            searching.progress = (epoch * len(train) + number) / steps
            _cool_(searching, rates)
            step = method.step if moves else weight_step
            total += step(searching, batch, next(judges))
            if moves:
                method.after_step(searching)
        mean, passed = total / len(train), time.process_time() - start
        done.append(_epoch(searching, mean, passed))
        if method.after_epoch(searching, done):
            break
    return done


def _begin(
    supernet: nn.Module, architecture: Architecture, method: Method, rates: Rates
) -> Searching:
    parameters = supernet.parameters()
    sgd = SGD(parameters, rates.weights, 0.9, weight_decay=rates.weight_decay)
    adam = Adam(
        architecture.parameters(),
        rates.architecture,
        (0.5, 0.999),
        weight_decay=rates.architecture_decay,
    )
    method_parts = (method.relax, method.objective)
    return Searching(supernet, architecture, *method_parts, sgd, adam, rates.clip)


def _cool_(searching: Searching, rates: Rates) -> None:
    """Set the rate of w by how far the search is: half a cosine down."""
    share = 0.5 * (1 + math.cos(math.pi * searching.progress))
    rate = rates.weights_end + (rates.weights - rates.weights_end) * share
    for group in searching.weight_optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def _epoch(searching: Searching, loss: float, seconds: float) -> SearchEpoch:
    logits = searching.architecture.masked_logits().clone()
    return SearchEpoch(logits, searching.weights().clone(), loss, seconds)
