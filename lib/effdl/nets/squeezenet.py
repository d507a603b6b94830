"""SqueezeNet: few channels where the large kernels look.

Paper: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
and <0.5MB model size", 2016, https://arxiv.org/abs/1602.07360.

The Fire module replaces most 3 x 3 kernels by 1 x 1 and gives the others few inputs:

    z = relu(1x1 x)                      squeeze: c to s channels, s < e_1 + e_3
    y = [relu(1x1 z), relu(3x3 z)]       expand: to e_1 and e_3 channels, joined
    parameters: (c s + s) + (s e_1 + e_1) + (9 s e_3 + e_3)

Modules come in groups behind 3 x 3 maximum pooling of stride 2. There is no linear
layer: a 1 x 1 convolution makes a map of each class; its mean after ReLU is the logit.

Small is not cheap. SqueezeNet has 49 times fewer parameters than AlexNet and makes 15 %
more multiply-adds (819 and 714 million): most of AlexNet's parameters are in linear
layers, where each is used once. Version 1.1 pools earlier: 349 million.

There is no batch norm, and training shows it: choose a smaller learning rate. On digit
scenes, seeds differ widely with 0.01, and 0.03 left one of three networks at chance.

What differs: the paper's maps (111 x 111 behind the stem) come from images of 227
pixels; ours have 224. The bias of the class maps starts at 1. From 0, as elsewhere,
half of their pixels start behind the ReLU, without a gradient.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import scaled_channels
from effdl.checks import check_image_size, check_images, check_positive


class Stem(NamedTuple):
    """First convolution, without padding; ReLU follows."""

    channels: int
    kernel_size: int
    stride: int


class FireSize(NamedTuple):
    """A Fire module with s = ``squeeze`` and e_1 = e_3 = ``expand`` channels."""

    squeeze: int
    expand: int


F16, F32, F48, F64 = (FireSize(s, 4 * s) for s in (16, 32, 48, 64))
SQUEEZENET = ((F16, F16, F32), (F32, F48, F48, F64), (F64,))
SQUEEZENET1_1 = ((F16, F16), (F32, F32), (F48, F48, F64, F64))


class Fire(nn.Module):
    """Squeeze the channels, then expand them with two kernel sizes.

    Args:
        in_channels: Channels c of the input.
        squeeze: Channels s between.
        expand_1x1: Outputs e_1 of the 1 x 1 convolution.
        expand_3x3: Outputs e_3 of the 3 x 3 convolution.

    Raises ``ValueError`` if a number is below 1.

    Example:
        >>> Fire(96, 16, 64, 64)(torch.zeros(1, 96, 8, 8)).shape
        torch.Size([1, 128, 8, 8])
    """

    def __init__(
        self, in_channels: int, squeeze: int, expand_1x1: int, expand_3x3: int
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, squeeze=squeeze)
        check_positive(expand_1x1=expand_1x1, expand_3x3=expand_3x3)
        self.in_channels = in_channels
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand_1x1 = nn.Conv2d(squeeze, expand_1x1, 1)
        self.expand_3x3 = nn.Conv2d(squeeze, expand_3x3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, e_1 + e_3, H, W) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        squeezed = F.relu(self.squeeze(x))  # (N, s, H, W)
        expanded = (self.expand_1x1(squeezed), self.expand_3x3(squeezed))
        return F.relu(torch.cat(expanded, dim=1))


class SqueezeNet(nn.Module):
    """Stem, groups of Fire modules, a map of each class, their means.

    Raises ``ValueError`` if a number is below 1.

    Args:
        groups: Fire modules of one resolution each.
        stem: What comes first.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor r between the sides of the image and those of the last maps.
        smallest: Side of the smallest image; above r, as the stem has no padding.

    Example:
        >>> net = SqueezeNet([[F16], [F16, F32]], stem=Stem(8, 3, 1), in_channels=1)
        >>> net(torch.zeros(2, 1, 12, 12)).shape, net.reduction, net.smallest
        (torch.Size([2, 1000]), 4, 6)
    """

    def __init__(
        self,
        groups: Sequence[Sequence[FireSize]],
        *,
        stem: Stem,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, classes=classes, **stem._asdict())
        self.in_channels = in_channels
        channels, side, stride = stem
        conv = nn.Conv2d(in_channels, channels, side, stride=stride)
        self.features = nn.Sequential(conv, nn.ReLU(inplace=True))
        for group in groups:
            self.features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for squeeze, expand in group:
                self.features.append(Fire(channels, squeeze, expand, expand))
                channels = 2 * expand
        last = nn.Conv2d(channels, classes, 1)
        mean = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(0.5), last, nn.ReLU(), *mean)
        self.reduction = stride * 2 ** len(groups)
        self.smallest = side + (2 ** len(groups) - 1) * stride
        for parameter in self.features.parameters():
            if parameter.dim() == 1:  # a bias
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_uniform_(parameter, nonlinearity="relu")
        nn.init.normal_(last.weight, std=0.01)
        nn.init.ones_(list(last.parameters())[1])  # the bias

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no such batch or has sides below ``smallest``.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.smallest)
        return self.classifier(self.features(x))


def squeezenet(*, in_channels: int = 3, classes: int = 1000) -> SqueezeNet:
    """Return the network of the paper, known as SqueezeNet 1.0.

    Example:
        >>> sum(p.numel() for p in squeezenet().parameters())
        1248424
    """
    stem = Stem(channels=96, kernel_size=7, stride=2)
    return SqueezeNet(SQUEEZENET, stem=stem, in_channels=in_channels, classes=classes)


def squeezenet1_1(*, in_channels: int = 3, classes: int = 1000) -> SqueezeNet:
    """Return the version 1.1, which the authors published later.

    Example:
        >>> sum(p.numel() for p in squeezenet1_1().parameters())
        1235496
    """
    stem, groups = Stem(channels=64, kernel_size=3, stride=2), SQUEEZENET1_1
    return SqueezeNet(groups, stem=stem, in_channels=in_channels, classes=classes)


def small_squeezenet(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> SqueezeNet:
    """Return three Fire modules for 16 x 16 or 12 x 12 pixels.

    Train it with a learning rate of 0.01. Raises ``ValueError`` if ``width`` leaves no
    channel.

    Example:
        >>> sum(p.numel() for p in small_squeezenet().parameters())
        30746
    """
    few, more, many = (scaled_channels(c, width, divisor=1) for c in (16, 32, 64))
    groups = ([FireSize(few, more)], [FireSize(few, many), FireSize(few, many)])
    stem = Stem(channels=few, kernel_size=3, stride=1)
    return SqueezeNet(groups, stem=stem, in_channels=in_channels, classes=classes)
