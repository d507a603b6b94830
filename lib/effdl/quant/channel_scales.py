"""Scale moved from the channels of one layer into the next.

Paper: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, https://arxiv.org/abs/1906.04721, section 4.1.

ReLU lets a positive factor through, relu(f x) = f relu(x), and so do the mean, dropout
and flatten. So for any f_i > 0 the network computes the same with

    W1'_i = f_i W1_i        b1'_i = f_i b1_i        W2'_i = W2_i / f_i

where W1_i is output channel i of the first layer, and W2_i all that the second layer
multiplies it by. In a depthwise layer, W2_i is the kernel of channel i; its own output
then comes out as before.

ReLU6 lets no factor through: min(f x, 6) is not f min(x, 6). The paper replaces it by
ReLU. That is another network, and may be worse: measure it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from effdl.quant.graph import Weighted, check_folded, layer_at, traced

HOMOGENEOUS = nn.ReLU | nn.Dropout | nn.Identity | nn.AdaptiveAvgPool2d | nn.Flatten


class Pair(NamedTuple):
    """Two layers between which scale can be moved.

    Attributes:
        names: Of both.
        first: The layer whose output channels are scaled.
        second: The only layer that they go to.
    """

    names: tuple[str, str]
    first: Weighted
    second: Weighted


def consecutive_layers(model: fx.GraphModule) -> list[Pair]:
    """Return the layers between which scale can be moved, in order.

    What the first puts out goes to the second alone, through nothing but ReLU, dropout,
    flatten and the mean over all pixels, and the channels stay the same.

    Args:
        model: Traced, without batch norm, or ``ValueError``.

    Raises:
        ValueError: If there are none.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU6())
        >>> [pair.names for pair in consecutive_layers(traced(net))]
        [('0', '2')]
    """
    check_folded(model)
    found = []
    called = [layer_at(model, node) for node in model.graph.nodes]
    for node in model.graph.nodes:
        after = _after(model, node)
        first, second = layer_at(model, node), layer_at(model, after)
        if node is after or max(called.count(first), called.count(second)) > 1:
            continue  # its output forks, or a layer is used twice
        if isinstance(first, Weighted) and isinstance(second, Weighted):
            names = str(node.target), str(after.target)
            if len(first.weight) == len(input_ranges(second)):
                found.append(Pair(names, first, second))
    if not found:
        raise ValueError(
            "model has no two layers with nothing but ReLU between them; if it has "
            "ReLU6, call relu6_to_relu first"
        )
    return found


def scale_between_(first: Weighted, second: Weighted, factor: Tensor) -> None:
    """Multiply the channels between two layers, and undo it in the second.

    Args:
        first: Its output channels and biases are multiplied.
        second: Its weights on these channels are divided.
        factor: Above 0, (channels,).

    Raises:
        ValueError: If there are other channels, or a factor is not above 0.

    Example:
        >>> first, second = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> _ = first.weight.data.fill_(3.0), second.weight.data.fill_(8.0)
        >>> scale_between_(first, second, torch.tensor([2.0]))
        >>> first.weight.item(), second.weight.item()
        (6.0, 4.0)
    """
    channels = (len(first.weight), len(input_ranges(second)), *factor.shape)
    if len(set(channels)) != 1 or factor.ndim != 1:
        raise ValueError(f"first, second, factor must have channels alike: {channels}")
    if not bool(((factor > 0) & factor.isfinite()).all()):
        raise ValueError(f"factor must be above 0 and finite, got {factor.tolist()}")
    if any(parametrize.is_parametrized(layer) for layer in (first, second)):
        raise ValueError("first and second have quantizers; scale them before")
    with torch.no_grad():
        first.weight.mul_(factor.reshape([-1] + [1] * (first.weight.ndim - 1)))
        if first.bias is not None:
            first.bias.mul_(factor)
        by_input = _by_input(second)
        by_input.div_(factor.reshape(len(by_input), 1, -1, 1))


def relu6_to_relu(model: nn.Module) -> fx.GraphModule:
    """Return a copy with ReLU for ReLU6: another function, but one that lets scales by.

    Args:
        model: Left as it is.

    Example:
        >>> relu6_to_relu(nn.Sequential(nn.ReLU6()))(torch.tensor([-1.0, 9.0]))
        tensor([0., 9.])
    """
    copied = traced(model)
    for node in copied.graph.nodes:
        if node.target is F.relu6:
            node.target = F.relu
        if isinstance(layer_at(copied, node), nn.ReLU6):
            copied.set_submodule(str(node.target), nn.ReLU())
    copied.recompile()
    return copied


def channel_ranges(layer: Weighted) -> Tensor:
    """Return the largest absolute weight of every output channel, (out,).

    Args:
        layer: Convolution or linear layer.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -4.0], [0.5, 0.25]]))
        >>> channel_ranges(layer)
        tensor([4.0000, 0.5000])
    """
    return layer.weight.detach().abs().flatten(1).amax(1)


def input_ranges(layer: Weighted) -> Tensor:
    """Return the largest absolute weight on every input channel, (in,).

    Args:
        layer: Convolution, of any groups, or linear layer.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -4.0], [0.5, 0.25]]))
        >>> input_ranges(layer)
        tensor([1., 4.])
    """
    return _by_input(layer).detach().abs().amax((1, 3)).flatten()


def _after(model: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Return the first node behind this one that is not homogeneous; or a fork."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        homogeneous = isinstance(layer_at(model, node), HOMOGENEOUS)
        if not homogeneous and node.target not in (F.relu, torch.relu):
            break
    return node


def _by_input(layer: Weighted) -> Tensor:
    """Return the weight as (groups, out / groups, in / groups, kernel), not copied."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return layer.weight.view(
        groups, len(layer.weight) // groups, layer.weight.shape[1], -1
    )
