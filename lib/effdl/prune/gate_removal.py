"""Take closed gates out of a network: what is left is ordinary, dense and smaller.

Paper: Guo et al., "GDP: Stabilized Neural Network Pruning via Gates with Differentiable
Polarization", ICCV 2021, https://arxiv.org/abs/2109.02220.

A gate g_c before a layer multiplies one of its inputs, and the layer is linear:

    sum over c of  W[:, c] (g_c x_c)  =  sum over c of  (W[:, c] g_c) x_c

So gates fold into the weights behind them, and an input whose gate is 0 need not be
computed: its weights go, and with them the output of the layer before, its bias, and
its place in the norm between them.

What differs: nothing is removed across a sum, as in a residual block, where the paper
has two layers share their gates.

Before trusting it: the layers must be a chain in the order in which they are listed,
with nothing in between that mixes channels, and without groups. That is not checked;
compare the outputs.
"""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from effdl.nas.proxies.weights import Connected
from effdl.prune.gdp import PolarizedLayer, gates_of
from effdl.prune.swap import swapped


def fold_gates(model: nn.Module) -> nn.Module:
    """Return a copy without gates; they are in the weights of the layers behind them.

    Nothing is removed: an input with a closed gate has weights of 0.

    Args:
        model: A network from :func:`effdl.prune.gdp.with_gates`.

    Example:
        >>> from effdl.prune.gdp import with_gates
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> [type(layer).__name__ for layer in fold_gates(with_gates(net))]
        ['Linear', 'Linear']
    """
    return swapped(model, PolarizedLayer, _folded)


def remove_closed(model: nn.Module) -> nn.Module:
    """Return a smaller copy without gates, and without the channels whose gate is 0.

    In evaluation it computes what the network computes.

    Args:
        model: A chain from :func:`effdl.prune.gdp.with_gates`.

    Raises:
        ValueError: If all gates of a layer are closed. Also if a layer has not as many
            outputs as the next one has gates.

    Example:
        >>> import torch
        >>> from effdl.prune.gdp import with_gates
        >>> net = with_gates(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
        >>> _ = net[1].phi.data.copy_(torch.tensor([1.0, 0.0, 1.0]))
        >>> remove_closed(net)
        Sequential(
          (0): Linear(in_features=4, out_features=2, bias=True)
          (1): Linear(in_features=2, out_features=2, bias=True)
        )
    """
    gates = gates_of(model)
    for name, values in gates.items():
        if not values.any():
            raise ValueError(
                f"all gates before layer {name or 'of the model'} are closed: nothing "
                "passes; train with a lower strength or amount"
            )
    folded = fold_gates(model)
    read: Tensor | None = None  # which outputs are read behind, seen from the end
    for name, module in reversed(list(folded.named_modules())):
        if not isinstance(module, Connected | _BatchNorm):
            continue
        if read is not None:
            _check_channels(name, module, read)
            _keep_(module, 0, read)
        if isinstance(module, Connected):
            read = gates[name] > 0 if name in gates else None
            if read is not None:
                _keep_(module, 1, read)
    return folded


def _folded(gated: PolarizedLayer) -> Connected:
    layer, gates = gated.layer, gated.gates().detach()
    gates = gates.view(-1, *(1,) * (layer.weight.ndim - 2))
    layer.weight = nn.Parameter(layer.weight.detach() * gates)
    return layer


def _check_channels(name: str, module: Connected | _BatchNorm, read: Tensor) -> None:
    norm = isinstance(module, _BatchNorm)
    channels = module.num_features if norm else len(module.weight)
    if channels != len(read):
        raise ValueError(
            f"{name} has {channels} outputs, but what follows has {len(read)} gates; "
            "gates are removed from chains only"
        )


def _keep_(module: nn.Module, side: int, left: Tensor) -> None:
    """Change a layer or a norm: some outputs (side 0) or inputs (side 1) are left."""

    def cut(tensor: Tensor) -> Tensor:
        return tensor.detach()[:, left] if side else tensor.detach()[left]

    for name, parameter in list(module.named_parameters()):
        if parameter.ndim > side:
            setattr(module, name, nn.Parameter(cut(parameter)))
    for name, buffer in list(module.named_buffers()):
        if buffer.ndim > side:  # batch norm counts its batches in a scalar
            setattr(module, name, cut(buffer))
    sizes = {0: ("out_features", "out_channels", "num_features")}
    for name in sizes.get(side, ("in_features", "in_channels")):
        if hasattr(module, name):
            setattr(module, name, int(left.sum()))
