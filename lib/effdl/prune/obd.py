"""Optimal brain damage: a weight matters if the loss is curved along it.

Papers: LeCun et al., "Optimal Brain Damage", NeurIPS 1989; compared with first-order
scores by Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR
2019, https://arxiv.org/abs/1906.10771.

Around a minimum the loss has no slope. Setting w_k to 0 then changes it by

    s_k = h_kk w_k^2 / 2        h_kk = d2L / dw_k^2, all h_kl with l != k left out

Three ways to h_kk, for L averaged over a batch:

    exact           one product of the Hessian H with a unit vector for each weight
    Hutchinson      mean of v (H v) over random signs v; error like 1 / sqrt(draws)
    backward        the paper's own, one pass for all: :mod:`effdl.prune.obd_backward`

Before trusting it: a network is never quite at a minimum, and curvature at a point says
little of what happens when many weights go at once. Where h_kk is negative, so is the
score, and the weight goes first.
"""

from collections.abc import Collection
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.gradient.hessian import hessian_product
from effdl.nas.proxies.weights import (
    LossFunction,
    connection_weights,
    gradients,
    loss_of_weights,
)
from effdl.prune.obd_backward import backward_curvature
from effdl.prune.sensitivity import chosen_weights


class CurvatureOf(Protocol):
    """Estimates h_kk, as the three functions of this file do."""

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        *,
        loss_fn: LossFunction,
    ) -> dict[str, Tensor]:
        """Return h_kk by the names of the weights."""


def exact_curvature(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    names: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Return h_kk by one product with the Hessian for each weight: for small layers.

    Raises ``ValueError`` if a name is not that of a weight.

    Args:
        model: Not pruned; see :func:`effdl.prune.pruned.plain_copy`. It stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: Maps output and targets to a scalar.
        names: Which weights; None takes those of all linear and convolutional layers.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> x, y = torch.full((1, 1), 3.0), torch.zeros(1, 1)
        >>> exact_curvature(layer, x, y, loss_fn=F.mse_loss)
        {'weight': tensor([[18.]])}
    """
    with torch.enable_grad():
        weights, loss = loss_of_weights(model, inputs, targets, loss_fn)
    diagonals = {}
    for name in chosen_weights(model, names):
        weight = weights[name]
        product = hessian_product(loss, weight)
        diagonals[name] = torch.zeros_like(weight)
        for k in range(weight.numel()):
            unit = torch.zeros_like(weight)
            unit.view(-1)[k] = 1
            diagonals[name].view(-1)[k] = product(unit).view(-1)[k]
    return {name: diagonal.detach() for name, diagonal in diagonals.items()}


def hutchinson_curvature(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    draws: int = 100,
) -> dict[str, Tensor]:
    """Return an unbiased estimate of h_kk for any network; it may be negative.

    Signs are drawn from PyTorch's global generator.

    Args:
        model: Not pruned. It stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: Maps output and targets to a scalar.
        draws: Products with the Hessian.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> x, y = torch.full((1, 1), 3.0), torch.zeros(1, 1)
        >>> hutchinson_curvature(layer, x, y, loss_fn=F.mse_loss, draws=1)
        {'weight': tensor([[18.]])}
    """
    check_positive(draws=draws)
    with torch.enable_grad():
        weights, loss = loss_of_weights(model, inputs, targets, loss_fn)
    leaves = list(weights.values())
    slopes = gradients(loss, weights, create_graph=True)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for _ in range(draws):
        signs = [2 * torch.randint_like(leaf, 2) - 1 for leaf in leaves]
        products = torch.autograd.grad(
            list(slopes.values()),
            leaves,
            signs,
            retain_graph=True,
            materialize_grads=True,
        )
        for name, sign, product in zip(weights, signs, products, strict=True):
            total[name] += sign * product
    return {name: sums.detach() / draws for name, sums in total.items()}


def obd_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    curvature_of: CurvatureOf = backward_curvature,
) -> dict[str, Tensor]:
    """Return s_k for every weight of every linear and convolutional layer.

    Takes the arguments of ``curvature_of`` and raises its errors.

    Args:
        model: Not pruned. It stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: Maps output and targets to a scalar.
        curvature_of: One of the three ways; for another number of draws use
            ``functools.partial``.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False))
        >>> _ = nn.init.constant_(net[0].weight, 2.0)
        >>> x, y = torch.full((1, 1), 3.0), torch.zeros(1, 1)
        >>> obd_scores(net, x, y, loss_fn=F.mse_loss)
        {'0.weight': tensor([[36.]])}
    """
    curvature = curvature_of(model, inputs, targets, loss_fn=loss_fn)
    weights = connection_weights(model)
    return {n: h * weights[n].detach().square() / 2 for n, h in curvature.items()}
