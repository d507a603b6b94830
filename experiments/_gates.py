"""Trainings with learned gates, and what they are compared with.

Networks, rates and epochs were chosen on validation accuracy, with seed 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.measure.roofline import layer_costs
from effdl.nas.proxies.weights import Connected
from effdl.prune.gated_layers import expected_l0, gated
from effdl.prune.gdp import gated_cost, gates_of, with_gates
from effdl.prune.gdp_training import FALLING, polarize
from effdl.prune.hard_concrete import HardConcreteGate
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import Masks, masks_of, prune_
from effdl.prune.pruned import weights_of
from effdl.prune.schedules import prune_gradually
from effdl.prune.thresholds import global_masks
from effdl.prune.variational_dropout import kl_of, noisy
from effdl.seed import seeded
from effdl.train import fit, warm_up_cosine

BATCH, WIDTH = 100, 8
MLP_EPOCHS, NET_EPOCHS = 20, 8
IMAGE = torch.zeros(1, 1, 16, 16)


class Recipe(NamedTuple):
    """Rates of an optimiser: of the weights, and of what is learned beside them."""

    make: Callable[..., Optimizer]
    weights: float
    others: float


ADAM = Recipe(AdamW, 2e-3, 5e-2)
ADAM_EQUAL = Recipe(AdamW, 2e-3, 2e-3)
MOMENTUM = Recipe(SGD, 0.1, 5.0)
HOLD = 0.2  # share of the steps in which eps stays


def train(
    net: nn.Module,
    loss_of: Callable[[Tensor, Tensor, float], Tensor],
    digits: Digits,
    recipe: Recipe,
    *,
    epochs: int,
    seed: int,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train in place; the loss is told the share of the steps that are done."""
    batches = digits.train.batches(BATCH, seed=seed)
    steps = epochs * len(batches)
    named = list(net.named_parameters())
    others = [p for name, p in named if name.endswith(("log_alpha", "variance", "phi"))]
    known = {id(p) for p in others}
    weights = [p for _, p in named if id(p) not in known]
    sgd = recipe.make is SGD
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4} if sgd else {}
    groups = [{"params": weights, **options}]
    if others:
        groups.append({"params": others, "lr": recipe.others, "weight_decay": 0.0})
    optimizer = recipe.make(groups, lr=recipe.weights)
    schedule = LambdaLR(optimizer, lambda step: warm_up_cosine(step, steps))
    done = 0

    def finish_step() -> None:
        nonlocal done
        done += 1
        schedule.step()
        if after_step is not None:
            after_step()

    with seeded(seed):
        fit(
            net,
            lambda x, y: loss_of(x, y, done / steps),
            batches,
            optimizer,
            epochs=epochs,
            after_step=finish_step,
        )


def open_gates(layer: Connected) -> HardConcreteGate:
    """Return gates for single weights that are mostly open at first."""
    return HardConcreteGate(layer.weight.shape, log_alpha=2.0)


def l0_net(digits: Digits, strength: float, seed: int) -> nn.Module:
    """Return a linear network trained with hard-concrete gates on its weights."""
    with seeded(seed):
        net = gated(plain_mlp(), open_gates)
    price = strength / len(digits.train)

    def loss_of(x: Tensor, y: Tensor, _: float) -> Tensor:
        return F.cross_entropy(net(x), y) + price * expected_l0(net)

    train(net, loss_of, digits, ADAM, epochs=MLP_EPOCHS, seed=seed)
    return net


def dropout_net(digits: Digits, factor: float, seed: int) -> nn.Module:
    """Return a linear network trained with variational dropout.

    The price rises during the first half.
    """
    with seeded(seed):
        net = noisy(plain_mlp())
    price = factor / len(digits.train)

    def loss_of(x: Tensor, y: Tensor, done: float) -> Tensor:
        return F.cross_entropy(net(x), y) + price * min(1, 2 * done) * kl_of(net)

    train(net, loss_of, digits, ADAM_EQUAL, epochs=MLP_EPOCHS, seed=seed)
    return net


def magnitude_net(digits: Digits, sparsity: float, seed: int) -> nn.Module:
    """Return a linear network pruned by magnitude while it is trained as long."""
    with seeded(seed):
        net = plain_mlp()
    prune_(net, {n: torch.ones_like(w).bool() for n, w in weights_of(net).items()})
    steps = MLP_EPOCHS * len(digits.train.batches(BATCH))

    def masks_for(model: nn.Module, wanted: float) -> Masks:
        return global_masks(magnitude_scores(model), wanted, within=masks_of(model))

    after_step = prune_gradually(
        net, masks_for, final=sparsity, steps=steps // 2, start=steps // 4, every=10
    )

    def loss_of(x: Tensor, y: Tensor, _: float) -> Tensor:
        return F.cross_entropy(net(x), y)

    train(
        net,
        loss_of,
        digits,
        ADAM_EQUAL,
        epochs=MLP_EPOCHS,
        seed=seed,
        after_step=after_step,
    )
    return net


def costs_of(net: nn.Module) -> dict[str, float]:
    """Return the share of all multiply-adds that each layer has."""
    macs = {cost.name: cost.macs for cost in layer_costs(net, IMAGE) if cost.macs}
    return {name: count / sum(macs.values()) for name, count in macs.items()}


def gdp_net(
    digits: Digits,
    strength: float,
    seed: int,
    watch: Callable[[nn.Module, int], None] | None = None,
) -> nn.Module:
    """Return a convolutional network with polarized gates.

    eps stays as it is for a fifth of the steps, and falls in the others.
    """
    with seeded(seed):
        net = with_gates(plain_net(WIDTH))
    costs = costs_of(plain_net(WIDTH))
    steps = NET_EPOCHS * len(digits.train.batches(BATCH))
    close = polarize(
        net,
        steps=steps,
        amount=1e-3,
        eps=lambda done: FALLING(max(0.0, done - HOLD) / (1 - HOLD)),
    )
    count = 0

    def after_step() -> None:
        nonlocal count
        count += 1
        close()
        if watch is not None:
            watch(net, count)

    def loss_of(x: Tensor, y: Tensor, _: float) -> Tensor:
        return F.cross_entropy(net(x), y) + strength * gated_cost(gates_of(net), costs)

    train(
        net,
        loss_of,
        digits,
        MOMENTUM,
        epochs=NET_EPOCHS,
        seed=seed,
        after_step=after_step,
    )
    return net


def plain_training(
    net: nn.Module,
    digits: Digits,
    seed: int,
    strength: float = 0.0,
    watch: Callable[[nn.Module, int], None] | None = None,
) -> None:
    """Train a convolutional network as long, with an L1 price on its norms' gammas."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    count = 0

    def after_step() -> None:
        nonlocal count
        count += 1
        if watch is not None:
            watch(net, count)

    def loss_of(x: Tensor, y: Tensor, _: float) -> Tensor:
        price = torch.stack([norm.weight.abs().sum() for norm in norms]).sum()
        return F.cross_entropy(net(x), y) + strength * price

    train(
        net,
        loss_of,
        digits,
        MOMENTUM,
        epochs=NET_EPOCHS,
        seed=seed,
        after_step=after_step,
    )


def all_gates(net: nn.Module) -> Tensor:
    """Return all gates of a network in one tensor."""
    return torch.cat([gates.detach() for gates in gates_of(net).values()])


def all_gammas(net: nn.Module) -> Tensor:
    """Return |gamma| of all batch norms in one tensor."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    return torch.cat([norm.weight.detach().abs() for norm in norms])


@cache
def digits() -> Digits:
    """Return the images that all of these are trained on."""
    return moved_digits()
