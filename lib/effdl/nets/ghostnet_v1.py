"""GhostNetV1: MobileNetV3's layers with Ghost convolutions for pointwise ones.

Paper: Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020,
https://arxiv.org/abs/1911.11907, section 3.2 and its table of layers.

A 3 x 3 convolution, sixteen Ghost bottlenecks (:mod:`effdl.nets.ghost_bottleneck`) in
the manner of MobileNetV3-Large, a pointwise layer, the mean over all pixels, a layer
of 1,280 units and the classifier. Every activation is ReLU. As published, for
224 x 224 pixels (multiply-adds, parameters, accuracy on ImageNet):

    width 0.5    42 M    2.6 M    66.2 %
    width 1.0   141 M    5.2 M    73.9 %
    width 1.3   226 M    7.3 M    75.7 %

Half of the width leaves half of the parameters, not a quarter: at width 1.0, a quarter
of them belong to the classifier, which the width does not touch, and another quarter
to the layer before it, which shrinks on one side only. The multiply-adds, which those
two hardly have, fall to 0.3.

Few multiply-adds are not little time: depthwise filters, gates and concatenations move
many numbers for each of theirs. And tools differ in what they add: fvcore's total is
4 to 8 % higher, because it counts batch norm and pooling.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import conv_bn, scaled_channels
from effdl.checks import check_image_size, check_images, check_positive
from effdl.conv.ghost import GhostConv2d
from effdl.nets.ghost_bottleneck import GhostBottleneck


class GhostRow(NamedTuple):
    """One bottleneck: a row of the paper's table, its letters in the same order.

    Attributes:
        kernel_size: Side k of the depthwise kernels; odd.
        expanded: Channels exp between the two Ghost convolutions.
        channels: Channels c of the output.
        squeeze: Share SE of the channels that the gate squeezes them to; 0 for no gate.
        stride: Stride s.
        expand: What the first layer is, called with its input and output channels.
    """

    kernel_size: int
    expanded: int
    channels: int
    squeeze: float
    stride: int
    expand: Callable[[int, int], nn.Module] = GhostConv2d


GHOSTNET = (
    GhostRow(3, 16, 16, 0, 1),
    GhostRow(3, 48, 24, 0, 2),
    GhostRow(3, 72, 24, 0, 1),
    GhostRow(5, 72, 40, 0.25, 2),
    GhostRow(5, 120, 40, 0.25, 1),
    GhostRow(3, 240, 80, 0, 2),
    GhostRow(3, 200, 80, 0, 1),
    GhostRow(3, 184, 80, 0, 1),
    GhostRow(3, 184, 80, 0, 1),
    GhostRow(3, 480, 112, 0.25, 1),
    GhostRow(3, 672, 112, 0.25, 1),
    GhostRow(5, 672, 160, 0.25, 2),
    GhostRow(5, 960, 160, 0, 1),
    GhostRow(5, 960, 160, 0.25, 1),
    GhostRow(5, 960, 160, 0, 1),
    GhostRow(5, 960, 160, 0.25, 1),
)
SMALL_GHOSTNET = (
    GhostRow(3, 16, 24, 0, 2),
    GhostRow(3, 40, 24, 0, 1),
    GhostRow(3, 40, 24, 0, 1),
    GhostRow(3, 48, 40, 0.25, 2),
    GhostRow(3, 96, 40, 0.25, 1),
)


class GhostNetV1(nn.Module):
    """GhostNet, from a table of bottlenecks.

    Args:
        rows: The bottlenecks, from the image on; at least one.
        stem: Channels of the convolution before them.
        stem_stride: Its stride.
        head: Units of the layer before the classifier.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Raises ``ValueError`` if a number is below 1, or a kernel side is even.

    Example:
        >>> import torch
        >>> net = GhostNetV1(SMALL_GHOSTNET, in_channels=1, classes=10)
        >>> net(torch.zeros(2, 1, 16, 16)).shape, net.reduction
        (torch.Size([2, 10]), 8)
    """

    def __init__(
        self,
        rows: Sequence[GhostRow],
        *,
        stem: int = 16,
        stem_stride: int = 2,
        head: int = 1280,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(rows=len(rows), head=head, classes=classes)
        self.in_channels = in_channels
        self.reduction = stem_stride * math.prod(row.stride for row in rows)
        layers: list[nn.Module] = [conv_bn(in_channels, stem, 3, stride=stem_stride)]
        before = stem
        for k, exp, c, se, s, expand in rows:
            layers.append(
                GhostBottleneck(before, exp, c, k, stride=s, squeeze=se, expand=expand)
            )
            before = c
        last = rows[-1].expanded
        self.features = nn.Sequential(*layers, conv_bn(before, last, 1))
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(last, head, 1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(head, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def ghostnet_v1(
    width: float = 1.0, *, in_channels: int = 3, classes: int = 1000
) -> GhostNetV1:
    """Return GhostNet for ImageNet; published with width 0.5, 1.0 and 1.3.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in ghostnet_v1().parameters())
        5182508
    """
    rows = scaled_rows(GHOSTNET, width)
    stem = scaled_channels(16, width, divisor=4)
    return GhostNetV1(rows, stem=stem, in_channels=in_channels, classes=classes)


def small_ghostnet_v1(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> GhostNetV1:
    """Return five bottlenecks like GhostNet's, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in small_ghostnet_v1().parameters())
        32778
    """
    return GhostNetV1(
        scaled_rows(SMALL_GHOSTNET, width, divisor=2),
        stem=scaled_channels(8, width, divisor=2),
        stem_stride=1,
        head=scaled_channels(96, width, divisor=2),
        in_channels=in_channels,
        classes=classes,
    )


def scaled_rows(
    rows: Sequence[GhostRow], width: float, *, divisor: int = 4
) -> tuple[GhostRow, ...]:
    """Return the table, channels scaled by :func:`~effdl.blocks.scaled_channels`.

    Example:
        >>> [(row.expanded, row.channels) for row in scaled_rows(GHOSTNET[:3], 1.3)]
        [(20, 20), (64, 32), (92, 32)]
    """
    scaled = partial(scaled_channels, width=width, divisor=divisor)
    return tuple(
        row._replace(expanded=scaled(row.expanded), channels=scaled(row.channels))
        for row in rows
    )
