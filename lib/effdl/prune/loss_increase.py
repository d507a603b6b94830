"""The truth about importance, by brute force: take it away and look.

Papers: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
Inference", ICLR 2017, https://arxiv.org/abs/1611.06440, section 3 (the oracle that the
scores are compared with); LeCun et al., "Optimal Brain Damage", NeurIPS 1989.

    increase_k = L(w with w_k = 0) - L(w)        one forward pass for each weight

Negative where the loss is better without the weight. For channels alike, with the
channel of a layer's output set to 0. What a *set* of weights costs is not the sum of
these: the best mask of a tiny layer is found by trying all masks.

Before trusting it as the truth: it is the truth on one batch, for one weight, without
any training afterwards.
"""

import math
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from effdl.measure.probe import as_inputs, clones
from effdl.nas.proxies.weights import LossFunction
from effdl.prune.sensitivity import chosen_weights

MOST_MASKS = 100_000


class BestMask(NamedTuple):
    """The best of all masks, and the loss with it, nothing trained afterwards."""

    mask: Tensor
    loss: float


def weight_increases(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    names: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Return the increase of the loss for every weight that is taken away alone.

    Args:
        model: Not pruned. Runs in the mode it is in and stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: Maps output and targets to a scalar.
        names: Which weights; None takes those of linear and convolutional layers.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, -1.0]]))
        >>> x, y = torch.ones(1, 2), torch.zeros(1, 1)
        >>> weight_increases(layer, x, y, loss_fn=F.mse_loss)
        {'weight': tensor([[-3.,  5.]])}
    """
    before = _loss(model, inputs, targets, loss_fn, {})
    increases = {}
    for name, weight in chosen_weights(model, names).items():
        tried = weight.detach().clone()
        increases[name] = torch.empty_like(tried)
        for k in range(tried.numel()):
            value = tried.view(-1)[k].item()
            tried.view(-1)[k] = 0
            after = _loss(model, inputs, targets, loss_fn, {name: tried})
            tried.view(-1)[k] = value
            increases[name].view(-1)[k] = after - before
    return increases


def channel_increases(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    layers: Sequence[str],
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return the increase of the loss for every channel that is set to 0 alone.

    Args:
        model: Runs in the mode it is in and stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        layers: Names of modules that put out (N, C, ...).
        loss_fn: Maps output and targets to a scalar.

    Returns:
        From the name of the layer to (C,).

    Raises:
        ValueError: If there is no such module.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False))
        >>> _ = nn.init.constant_(net[0].weight, 3.0)
        >>> x, y = torch.ones(1, 1), torch.zeros(1, 1)
        >>> channel_increases(net, x, y, layers=["0"], loss_fn=F.mse_loss)
        {'0': tensor([-9.])}
    """
    modules = dict(model.named_modules())
    increases = {}
    for layer in layers:
        if layer not in modules:
            raise ValueError(f"layers has {layer!r}, which is no module of the model")
        silence = _Silence()
        with modules[layer].register_forward_hook(silence):
            before, after = _loss(model, inputs, targets, loss_fn, {}), []
            for channel in range(silence.width):
                silence.gone = [channel]
                after.append(_loss(model, inputs, targets, loss_fn, {}))
        increases[layer] = torch.tensor(after) - before
    return increases


def best_mask(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    name: str,
    kept: int,
    loss_fn: LossFunction = F.cross_entropy,
) -> BestMask:
    """Return the mask of one layer with the lowest loss, by trying all of them.

    Args:
        model: Not pruned. Runs in the mode it is in and stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        name: The weight, such as "0.weight".
        kept: How many of its n weights stay.
        loss_fn: Maps output and targets to a scalar.

    Raises:
        ValueError: If ``kept`` is out of range, or there are over 100,000 masks.

    Example:
        >>> layer = nn.Linear(3, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, -2.0, 2.5]]))
        >>> x, y = torch.ones(1, 3), torch.zeros(1, 1)
        >>> best_mask(layer, x, y, name="weight", kept=2, loss_fn=F.mse_loss)
        BestMask(mask=tensor([[False,  True,  True]]), loss=0.25)
    """
    weight = chosen_weights(model, [name])[name].detach()
    count = weight.numel()
    if not 0 <= kept <= count:
        raise ValueError(f"kept must be from 0 to {count}, got {kept}")
    if math.comb(count, kept) > MOST_MASKS:
        raise ValueError(
            f"{kept} of {count} weights have {math.comb(count, kept):,} masks; "
            "choose a smaller layer"
        )
    best = BestMask(torch.zeros_like(weight, dtype=torch.bool), math.inf)
    for chosen in combinations(range(count), kept):
        mask = torch.zeros_like(weight, dtype=torch.bool)
        mask.view(-1)[list(chosen)] = True
        loss = _loss(model, inputs, targets, loss_fn, {name: weight * mask})
        if loss < best.loss:
            best = BestMask(mask, loss)
    return best


class _Silence:
    """The hook that sets channels of what a layer puts out to 0, none at first."""

    def __init__(self) -> None:
        self.gone: list[int] = []
        self.width = 0

    def __call__(self, _: nn.Module, __: object, out: Tensor) -> Tensor:
        self.width = out.shape[1]
        left = out.clone()
        left[:, self.gone] = 0
        return left


@torch.no_grad()
def _loss(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_fn: LossFunction,
    weights: dict[str, Tensor],
) -> float:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    outputs = functional_call(model, weights | buffers, clones(as_inputs(inputs)))
    loss = loss_fn(outputs, targets).item()
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}; is a weight nan, or infinite?")
    return loss
