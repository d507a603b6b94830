"""What 8-bit weights cost two small networks, over seeds.

The notebook notebooks/01-introduction/eight-bits.ipynb does this once; its cells
hold the same functions. Nothing is chosen here, so all numbers are test accuracies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import conv_bn, plain_net
from effdl.data.digits import moved_digits
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

Rounding = Callable[[Tensor, int], Tensor]


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a depthwise convolution and a pointwise one."""
    depthwise = conv_bn(inputs, inputs, 3, stride=stride, groups=inputs)
    return nn.Sequential(depthwise, conv_bn(inputs, outputs, 1))


def depthwise_net(width: int) -> nn.Sequential:
    """Return a small network in the manner of MobileNet."""
    return nn.Sequential(
        conv_bn(1, width, 3, stride=2),
        separable(width, 2 * width),
        separable(2 * width, 2 * width, stride=2),
        separable(2 * width, 4 * width),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)),
    )


def folded(net: nn.Module) -> nn.Module:
    """Return a copy whose batch norms are part of the convolutions before them."""
    net = copy.deepcopy(net).eval()
    for block in net.modules():
        if isinstance(block, nn.Sequential) and len(block) > 1:
            conv, norm = block[0], block[1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[0], block[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return net


def per_tensor(weight: Tensor, bits: int) -> Tensor:
    """Return the weights on a grid of 2^bits - 1 steps, one grid for all."""
    step = weight.abs().max() / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


def per_channel(weight: Tensor, bits: int) -> Tensor:
    """Return the weights with a grid of its own for every output channel."""
    return torch.stack([per_tensor(channel, bits) for channel in weight])


@torch.no_grad()
def with_weights(net: nn.Module, rounding: Rounding, bits: int) -> nn.Module:
    """Return a copy of the network with rounded weights; biases stay as they are."""
    net = copy.deepcopy(net)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.copy_(rounding(layer.weight, bits))
    return net


@torch.no_grad()
def imbalanced(net: nn.Module, octaves: int) -> nn.Module:
    """Return a copy that computes the same with channels of very different size.

    What goes into a depthwise filter is multiplied by a power of two, and the filter
    divided by it. ReLU lets positive factors through, so nothing changes outside.
    """
    net = copy.deepcopy(net)
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    for before, conv in pairwise(convs):
        if conv.groups > 1:
            exponents = torch.randint(-octaves, octaves + 1, (conv.groups, 1, 1, 1))
            factors = 2.0**exponents
            before.weight.mul_(factors)
            before.bias.mul_(factors.flatten())  # type: ignore[union-attr]
            conv.weight.div_(factors)
    return net


def measure(net_name: str, seed: int) -> Case:
    """Train one network and return its test accuracy with rounded weights."""
    splits = moved_digits()
    with seeded(seed):
        net = plain_net(16) if net_name == "plain" else depthwise_net(24)
        train_classifier(net, splits.train, epochs=4, seed=seed)
    net = folded(net)
    if net_name == "depthwise, injected":
        with seeded(seed):
            net = imbalanced(net, octaves=4)
    versions = {
        "float": net,
        "tensor_8": with_weights(net, per_tensor, 8),
        "channel_8": with_weights(net, per_channel, 8),
        "tensor_4": with_weights(net, per_tensor, 4),
        "channel_4": with_weights(net, per_channel, 4),
    }
    test = splits.test.batches(500)
    return {name: accuracy(version, test) for name, version in versions.items()}


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    nets = ("plain", "depthwise", "depthwise, injected")
    cases = [{"net_name": net, "seed": seed} for seed in seeds for net in nets]
    fill_table(__file__, cases, measure)
