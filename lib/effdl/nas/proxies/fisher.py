"""Fisher as a zero-cost proxy: would anybody miss a channel?

Papers: Theis et al., "Faster gaze prediction with dense networks and Fisher pruning",
2018, https://arxiv.org/abs/1801.05787; Turner et al., "BlockSwap: Fisher-guided Block
Substitution for Network Compression on a Budget", ICLR 2020,
https://arxiv.org/abs/1906.04113; and, for the sum over a network, Abdelfattah et al.,
"Zero-Cost Proxies for Lightweight NAS", ICLR 2021, https://arxiv.org/abs/2101.08134,
section 3.

Give every output channel c of a layer a switch for every sample n, on at 1 and off at
0. z is what the layer puts out, before batch norm and activation:

    g_nc    = dL / d switch_nc  at 1 = sum over pixels of z_nc dL/dz_nc
    Delta_c = 1/2 mean_n g_nc^2

    S = sum over channels of Delta_c (weights of the channel)    the larger, the better

-g_nc is the first-order change of the loss if channel c were off for sample n, and its
mean square is the diagonal of the empirical Fisher information of the switches: hence
the name. The proxy spreads Delta_c over all k^2 c_in weights of the channel and adds
up, so a channel counts once a weight.

What differs: Theis et al. differentiate the loss of every sample alone. The loss here
is usually a mean over N samples; then g is smaller by N and S by N^2. That changes no
ranking at one batch size. With the sum as ``loss_fn`` and no batch norm, S is theirs.
Where ReLU follows the layer at once, z may be read behind it as well, since z dL/dz
vanishes where it is off. Behind batch norm g would be another.

Before trusting S: if batch norm in training mode follows the layer, sum_n g_nc = 0,
because to turn a channel down for all samples alike does nothing. What is left is how
much the samples disagree about it.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.measure.probe import as_inputs
from effdl.nas.proxies.weights import (
    LossFunction,
    connected_layers,
    finite_sum,
    gradients,
    loss_of_weights,
)


def fisher_score(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> float:
    """Return S, every channel's Delta_c times the weights that the channel has.

    Takes the arguments of :func:`channel_saliency` and raises its errors, and
    ``ValueError`` if a gradient is not finite.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> x, y = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1)
        >>> fisher_score(model, x, y, loss_fn=F.mse_loss)  # g = 3 * 6, twice g^2 / 2
        324.0
    """
    saliency = channel_saliency(model, inputs, targets, loss_fn=loss_fn)
    layers = connected_layers(model)
    return finite_sum(s * layers[n].weight[0].numel() for n, s in saliency.items())


def channel_saliency(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return Delta_c for every channel of every linear and convolutional layer.

    The network runs in the mode it is in (train or eval) and comes back unchanged:
    weights, ``.grad`` fields, batch-norm statistics and hooks stay as they were.

    Raises ``ValueError`` if the batch is empty, the model has no layer to score, or
    the loss is not a finite scalar that depends on the weights.

    Args:
        model: The network, as initialised. A layer that it runs twice has one set of
            switches. One whose weight it uses without running the layer counts 0.
        inputs: One batch, (N, ...). Do not split it.
        targets: What ``loss_fn`` expects beside the output, (N, ...).
        loss_fn: Maps output and targets to a scalar.

    Returns:
        From the name of a layer to its channels' values, (channels,). Layers that the
        loss does not reach are 0.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1))
        >>> _ = nn.init.constant_(model[0].weight, 0.0)
        >>> channel_saliency(model, torch.ones(1, 1), torch.ones(1, 1))["0"]
        tensor([0., 0.])
    """
    layers, samples = connected_layers(model), len(as_inputs(inputs)[0])
    switches: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(partial(_switched, switches, name, samples))
        for name, layer in layers.items()
    ]
    try:
        with torch.enable_grad():
            _, loss = loss_of_weights(model, inputs, targets, loss_fn)
    finally:
        for handle in handles:
            handle.remove()
    slopes = gradients(loss, switches)  # g, (N, channels) each
    return {
        name: slopes[name].square().mean(dim=0) / 2
        if name in slopes
        else layer.weight.new_zeros(len(layer.weight))
        for name, layer in layers.items()
    }


def _switched(
    switches: dict[str, Tensor],
    name: str,
    samples: int,
    layer: nn.Module,
    _inputs: tuple[Tensor, ...],
    output: Tensor,
) -> Tensor:
    """Return the layer's output times its switches, which are made at the first call.

    A product is a new tensor, so an activation that works in place spoils nothing.

    Raises:
        ValueError: If the output has another number of samples, or no channels.
    """
    if len(output) != samples or output.ndim < 2:
        raise ValueError(
            f"layer {name!r} puts out {tuple(output.shape)} for a batch of {samples}; "
            "Fisher needs one output per sample in dimension 0"
        )
    last = isinstance(layer, nn.Linear)  # (N, ..., C), else (N, C, ...)
    channels = output.shape[-1 if last else 1]
    if name not in switches:
        switches[name] = output.new_ones(samples, channels, requires_grad=True)
    pixels = [1] * (output.ndim - 2)
    shape = (samples, *pixels, channels) if last else (samples, channels, *pixels)
    return output * switches[name].view(shape)
