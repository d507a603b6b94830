"""MobileNetV2: residual blocks turned inside out, with linear bottlenecks.

Paper: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR
2018, https://arxiv.org/abs/1801.04381.

A convolution with 32 channels, 17 inverted residual blocks in seven stages, a pointwise
convolution to 1280 channels, and the classifier. Each block widens its few channels t
times, filters them there, and returns to few (:mod:`effdl.nets.inverted_residual`).

The width multiplier scales all channels, but the 1280 of the last convolution only if
it is above 1. ReLU stops at 6 and dropout is 0.2, as in the authors' code.

Published are 3.4 million weights, and 3.47 million in the authors' later list of their
models: that is without batch norm. With it, here and elsewhere, there are 3.50.

Do not expect time to follow the MACs: the wide maps in the middle of each block are
written and read, and the depthwise layers do few MACs for each number of them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_image_size, check_images, check_positive
from effdl.nets.inverted_residual import InvertedResidual


class Stage(NamedTuple):
    """Blocks in a row that put out maps of one shape.

    Attributes:
        expansion: Factor t by which their middle is wider than their input.
        channels: Channels c that each block puts out.
        blocks: Number n of blocks.
        stride: Stride s of the first block; the others keep the resolution.
    """

    expansion: int
    channels: int
    blocks: int
    stride: int


MOBILENET_V2 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
SMALL_MOBILENET_V2 = (Stage(1, 16, 1, 2), Stage(2, 16, 1, 1), Stage(3, 32, 3, 2))


class MobileNetV2(nn.Module):
    """A 3 x 3 convolution, the stages, a 1 x 1 convolution, a linear layer on the mean.

    Raises ``ValueError`` if a number is below 1.

    Args:
        stages: The table, from the image on.
        stem: Channels of the first convolution.
        stem_stride: Its stride.
        head: Channels of the last convolution.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Example:
        >>> import torch
        >>> net = MobileNetV2([Stage(6, 8, 2, 2)], stem=4, head=16)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, net.reduction
        (torch.Size([2, 1000]), 4)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem: int = 32,
        stem_stride: int = 2,
        head: int = 1280,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(stem=stem, stem_stride=stem_stride, head=head)
        self.in_channels = in_channels
        self.reduction = stem_stride * math.prod(stage.stride for stage in stages)
        self.features = nn.Sequential(
            conv_bn(in_channels, stem, 3, stride=stem_stride, activation=nn.ReLU6)
        )
        before = stem
        for t, c, n, s in stages:
            check_positive(channels=c, blocks=n)
            for stride in [s] + [1] * (n - 1):
                block = InvertedResidual(before, c, stride=stride, expansion=t)
                self.features.append(block)
                before = c
        self.features.append(conv_bn(before, head, 1, activation=nn.ReLU6))
        self.classifier = mean_linear(head, classes).insert(2, nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def mobilenet_v2(
    width: float = 1.0, *, in_channels: int = 3, classes: int = 1000
) -> MobileNetV2:
    """Return the network of the paper; published with width 0.35 to 1.4.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in mobilenet_v2().parameters())
        3504872
    """
    return MobileNetV2(
        _scaled(MOBILENET_V2, width),
        stem=scaled_channels(32, width),
        head=scaled_channels(1280, max(1.0, width)),
        in_channels=in_channels,
        classes=classes,
    )


def small_mobilenet_v2(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> MobileNetV2:
    """Return five of its blocks, expanding less, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in small_mobilenet_v2().parameters())
        22538
    """
    return MobileNetV2(
        _scaled(SMALL_MOBILENET_V2, width, divisor=2),
        stem=scaled_channels(8, width, divisor=2),
        stem_stride=1,
        head=scaled_channels(64, width, divisor=2),
        in_channels=in_channels,
        classes=classes,
    )


def _scaled(
    stages: Sequence[Stage], width: float, divisor: int = 8
) -> tuple[Stage, ...]:
    return tuple(
        stage._replace(channels=scaled_channels(stage.channels, width, divisor=divisor))
        for stage in stages
    )
