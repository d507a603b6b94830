"""MobileNetV1: depthwise separable blocks in a row, and two knobs for their size.

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile
Vision Applications", 2017, https://arxiv.org/abs/1704.04861.

The network is a chain without shortcuts. An ordinary convolution reads the image; each
block after it looks at the neighbours first and mixes the channels second:

    y = relu(bn(w[c] * x[c]))        depthwise, 3 x 3, stride s
    z = relu(bn(P y))                pointwise, c to n channels

On H x W output pixels this takes H W c (9 + n) MACs, an ordinary 3 x 3 convolution
9 H W c n: the share is 1/n + 1/9 (:mod:`effdl.conv.depthwise`). With ordinary
convolutions (argument ``block``) there are 7 times the weights and 8.6 times the MACs.
What is left is nearly all pointwise: 95 % of the MACs, 3 % are depthwise.

Two numbers scale the network, and both are felt squared:

    width a         times the channels              MACs and weights about a^2
    resolution r    times the sides of the image    MACs r^2, weights as before

The resolution is a matter of the input: 32 x 32 pixels or more.

Differences: the paper writes ReLU; the authors' code and timm clip it at 6, as here.
Its Table 1 prints stride 2 for the last depthwise layer; the sizes beside it are those
of stride 1, and so are the MACs. Do not expect time to follow the MACs: the depthwise
layers do few of them for each number that they move.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_image_size, check_images, check_positive


class Stage(NamedTuple):
    """Blocks in a row that put out maps of one shape.

    Attributes:
        channels: Channels c that each block puts out.
        blocks: Number n of blocks.
        stride: Stride s of the first block; the others keep the resolution.
    """

    channels: int
    blocks: int
    stride: int


MOBILENET_V1 = (
    Stage(64, 1, 1),
    Stage(128, 2, 2),
    Stage(256, 2, 2),
    Stage(512, 6, 2),
    Stage(1024, 2, 2),
)
SMALL_MOBILENET_V1 = (Stage(32, 2, 2), Stage(64, 4, 2))


class SeparableBlock(nn.Module):
    """Depthwise 3 x 3, then pointwise, both with batch norm and ReLU6.

    Raises ``ValueError`` if a number is below 1.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        stride: Stride s of the depthwise step.

    Example:
        >>> import torch
        >>> SeparableBlock(16, 32, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        c, relu = in_channels, nn.ReLU6
        self.in_channels = in_channels
        self.depthwise = conv_bn(c, c, 3, stride=stride, groups=c, activation=relu)
        self.pointwise = conv_bn(c, out_channels, 1, activation=relu)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / s), ceil(W / s)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return self.pointwise(self.depthwise(x))


class MobileNetV1(nn.Module):
    """A convolution, the stages, and a linear layer on the mean over all pixels.

    Args:
        stages: The table, from the image on.
        stem: Channels of the convolution before it, 3 x 3.
        stem_stride: Its stride.
        block: What the stages consist of, called as
            ``block(in_channels, out_channels, stride=stride)``.
        in_channels: Channels of the images.
        classes: Logits.

    Raises ``ValueError`` if a number is below 1.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Example:
        >>> import torch
        >>> net = MobileNetV1((Stage(8, 1, 2), Stage(16, 2, 2)), stem=4)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, net.reduction
        (torch.Size([2, 1000]), 8)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem: int = 32,
        stem_stride: int = 2,
        block: Callable[..., nn.Module] = SeparableBlock,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(stem=stem, stem_stride=stem_stride)
        self.in_channels = in_channels
        self.reduction = stem_stride * math.prod(stage.stride for stage in stages)
        self.features = nn.Sequential(
            conv_bn(in_channels, stem, 3, stride=stem_stride, activation=nn.ReLU6)
        )
        before = stem
        for c, n, s in stages:
            check_positive(channels=c, blocks=n, stride=s)
            for stride in [s] + [1] * (n - 1):
                self.features.append(block(before, c, stride=stride))
                before = c
        self.classifier = mean_linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def mobilenet_v1(
    width: float = 1.0, *, in_channels: int = 3, classes: int = 1000
) -> MobileNetV1:
    """Return the network of the paper; published with width 1, 0.75, 0.5 and 0.25.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in mobilenet_v1().parameters())
        4231976
    """
    return MobileNetV1(
        _scaled(MOBILENET_V1, width),
        stem=scaled_channels(32, width),
        in_channels=in_channels,
        classes=classes,
    )


def small_mobilenet_v1(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> MobileNetV1:
    """Return six of its blocks, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in small_mobilenet_v1().parameters())
        20330
    """
    return MobileNetV1(
        _scaled(SMALL_MOBILENET_V1, width, divisor=2),
        stem=scaled_channels(16, width, divisor=2),
        stem_stride=1,
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
