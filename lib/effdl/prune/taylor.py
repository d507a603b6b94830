"""Taylor scores: how the loss begins to change when something is turned down.

Papers: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
Inference", ICLR 2017, https://arxiv.org/abs/1611.06440; Molchanov et al., "Importance
Estimation for Neural Network Pruning", CVPR 2019, https://arxiv.org/abs/1906.10771.

To first order, setting w to 0 changes the loss L by - g w, g = dL/dw. Give each channel
c of a layer's output z a gate m_c, 1 for each sample n, and let G_nc = dL/dm_nc, which
is the sum over the pixels of z dL/dz. Then

    weight          (g w)^2                                  2019, one parameter
    channel         (sum over n of G_nc)^2                   2019, "gate"
    activation      mean over n of |G_nc|, each layer's      2017
                    scores divided by their l2 norm

The gate needs no parameter. Behind a convolution its slope is the sum of g w over the
filter (and g b of its bias), behind batch norm g_gamma gamma + g_beta beta.

Signs cancel in what is summed before the square: over the batch in 2019, not over
samples in 2017, whose mean over pixels falls out with the norm. The authors' program
for 2019 squares each minibatch and adds the squares; ours has one batch.

On single weights this is the order of SNIP, |g w|, taken after training
(:mod:`effdl.nas.proxies.snip`).

Before trusting it: in a minimum g is 0, and what is left is noise of the batch, unless
squares of batches are added. A first-order score is exact only where the loss is linear
in the gate all the way down to 0.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.proxies.weights import LossFunction, gradients, loss_of_weights


def taylor_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return (g w)^2 for every weight of every linear and convolutional layer.

    Raises ``ValueError`` as :func:`effdl.nas.proxies.weights.loss_of_weights` does.

    Args:
        model: Not pruned; see :func:`effdl.prune.pruned.plain_copy`. It stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 3.0)
        >>> x, y = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1)
        >>> taylor_scores(layer, x, y, loss_fn=F.mse_loss)
        {'weight': tensor([[324.,   0.]])}
    """
    with torch.enable_grad():
        weights, loss = loss_of_weights(model, inputs, targets, loss_fn)
    slopes = gradients(loss, weights)
    return {n: (w.detach() * slopes[n]).square() for n, w in weights.items()}


def gate_slopes(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    layers: Sequence[str],
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return G, the slope of the loss by a gate on every channel of every sample.

    The model runs in the mode it is in and comes back unchanged.

    Args:
        model: Not pruned.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        layers: Names of modules that put out (N, C, ...), as ``named_modules`` has
            them, each used once in a pass.
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Returns:
        From the name of the layer to G, (N, C).

    Raises:
        ValueError: If there is no such module, or none at all is named.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False))
        >>> _ = nn.init.constant_(net[0].weight, 3.0)
        >>> x, y = torch.ones(1, 1), torch.zeros(1, 1)
        >>> gate_slopes(net, x, y, layers=["0"], loss_fn=F.mse_loss)
        {'0': tensor([[18.]])}
    """
    modules = dict(model.named_modules())
    missing = [name for name in layers if name not in modules]
    if missing or not layers:
        raise ValueError(f"layers must name modules of the model, got {list(layers)}")
    gates: dict[str, Tensor] = {}
    hooks = []
    for name in layers:

        def close(_: nn.Module, __: object, out: Tensor, name: str = name) -> Tensor:
            gates[name] = out.new_ones(out.shape[:2]).requires_grad_()
            return out * gates[name].view(*out.shape[:2], *[1] * (out.ndim - 2))

        hooks.append(modules[name].register_forward_hook(close))
    try:
        with torch.enable_grad():
            _, loss = loss_of_weights(model, inputs, targets, loss_fn)
    finally:
        for hook in hooks:
            hook.remove()
    return gradients(loss, gates)


def channel_taylor_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    layers: Sequence[str],
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return the score of 2019 for every channel of the named layers, each (C,).

    Takes the arguments of :func:`gate_slopes` and raises its errors.

    Args:
        model: Not pruned; it stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        layers: Names of modules that put out (N, C, ...).
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False))
        >>> _ = nn.init.constant_(net[0].weight, 3.0)
        >>> x, y = torch.ones(1, 1), torch.zeros(1, 1)
        >>> channel_taylor_scores(net, x, y, layers=["0"], loss_fn=F.mse_loss)
        {'0': tensor([324.])}
    """
    slopes = gate_slopes(model, inputs, targets, layers=layers, loss_fn=loss_fn)
    return {name: slope.sum(dim=0).square() for name, slope in slopes.items()}


def activation_taylor_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    layers: Sequence[str],
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return the score of 2017 for every channel of the named layers, each (C,).

    Takes the arguments of :func:`gate_slopes` and raises its errors.

    Args:
        model: Not pruned; it stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        layers: Names of modules that put out (N, C, ...).
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 2, bias=False))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[3.0], [0.0]]))
        >>> x, y = torch.ones(1, 1), torch.zeros(1, 2)
        >>> activation_taylor_scores(net, x, y, layers=["0"], loss_fn=F.mse_loss)
        {'0': tensor([1., 0.])}
    """
    slopes = gate_slopes(model, inputs, targets, layers=layers, loss_fn=loss_fn)
    scores = {name: slope.abs().mean(dim=0) for name, slope in slopes.items()}
    # a layer that does nothing has scores of 0, not of 0 / 0
    return {name: F.normalize(score, dim=0) for name, score in scores.items()}
