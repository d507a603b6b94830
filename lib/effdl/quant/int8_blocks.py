"""Candidate blocks whose gain from INT8 differs, and networks that are chains of them.

Paper: Wang et al., "SpaceEvo: Hardware-Friendly Search Space Design for Efficient INT8
Inference", ICCV 2023, https://arxiv.org/abs/2303.08308, section 3: which operators a
device is quick at in INT8 is not what their MACs say.

    conv_relu             3 x 3 convolution, ReLU
    depthwise_relu        3 x 3 depthwise and pointwise convolution, a ReLU after each
    conv_hardswish        3 x 3 convolution, hard-swish x min(max(x + 3, 0), 6) / 6
    conv_squeeze_excite   3 x 3 convolution, ReLU, squeeze-and-excitation

ReLU costs nothing in integers: it is the lower end of the grid. Hard-swish, and the
mean in squeeze-and-excitation, are left in floats by ONNX Runtime as we export them:
numbers are turned into floats, and back. And a depthwise kernel has few products for
each number that it reads. How much that costs is to be measured; it is a property of
runtime, version and processor, not of the blocks.

A block is a function of channels in, channels out and stride. The authors' blocks are
those of MobileNets and ResNets for ImageNet; these are small ones for digit scenes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn

from effdl.blocks import conv_bn, mean_linear
from effdl.conv.squeeze_excite import SqueezeExcite

Block = Callable[[int, int, int], nn.Module]


class Choice(NamedTuple):
    """What one stage of a network is.

    Attributes:
        block: Makes it, from channels in, channels out and stride.
        width: Channels out.
    """

    block: Block
    width: int


def conv_relu(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch norm and ReLU.

    Args:
        inputs: Channels in, at least 1, or ``ValueError``; so are the others.
        outputs: Channels out.
        stride: Pixels from one output to the next.

    Example:
        >>> [type(layer).__name__ for layer in conv_relu(4, 8, 2)]
        ['Conv2d', 'BatchNorm2d', 'ReLU']
    """
    return conv_bn(inputs, outputs, 3, stride=stride)


def depthwise_relu(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return a depthwise and a pointwise convolution, each with batch norm and ReLU.

    Args:
        inputs: Channels in, at least 1, or ``ValueError``; so are the others.
        outputs: Channels out.
        stride: Of the depthwise convolution.

    Example:
        >>> [layer[0].groups for layer in depthwise_relu(4, 8, 2)]
        [4, 1]
    """
    return nn.Sequential(
        conv_bn(inputs, inputs, 3, stride=stride, groups=inputs),
        conv_bn(inputs, outputs, 1),
    )


def conv_hardswish(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch norm and hard-swish.

    Args:
        inputs: Channels in, at least 1, or ``ValueError``; so are the others.
        outputs: Channels out.
        stride: Pixels from one output to the next.

    Example:
        >>> [type(layer).__name__ for layer in conv_hardswish(4, 8, 2)]
        ['Conv2d', 'BatchNorm2d', 'Hardswish']
    """
    return conv_bn(inputs, outputs, 3, stride=stride, activation=nn.Hardswish)


def conv_squeeze_excite(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch norm, ReLU and squeeze-and-excitation.

    Args:
        inputs: Channels in, at least 1, or ``ValueError``; so are the others.
        outputs: Channels out, a multiple of 4: the gate has a quarter of them inside.
        stride: Pixels from one output to the next.

    Example:
        >>> conv_squeeze_excite(4, 8, 2)[1].reduce.out_features
        2
    """
    convolution = conv_bn(inputs, outputs, 3, stride=stride)
    return nn.Sequential(convolution, SqueezeExcite(outputs, reduction=4))


def chain_net(
    net: Sequence[Choice], *, stem: int = 8, in_channels: int = 1, classes: int = 10
) -> nn.Sequential:
    """Return a convolution, the stages, each of stride 2, and a linear classifier.

    Args:
        net: What each stage is, from the image on.
        stem: Channels of the first convolution.
        in_channels: Channels of the images.
        classes: Logits.

    Raises:
        ValueError: If there is no stage. Numbers below 1 are refused, too.

    Example:
        >>> import torch
        >>> net = chain_net([Choice(conv_relu, 16), Choice(depthwise_relu, 32)])
        >>> net(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    if not net:
        raise ValueError("net is empty; give one choice for each stage")
    layers: list[nn.Module] = [conv_bn(in_channels, stem, 3)]
    channels = stem
    for block, width in net:
        layers.append(block(channels, width, 2))
        channels = width
    return nn.Sequential(*layers, *mean_linear(channels, classes))
