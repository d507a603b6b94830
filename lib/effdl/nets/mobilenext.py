"""MobileNeXt: MobileNetV2's plan with sandglass blocks in place of inverted residuals.

Paper: Zhou et al., "Rethinking Bottleneck Structure for Efficient Mobile Network
Design", ECCV 2020, https://arxiv.org/abs/2007.02269, section 3.3.

A convolution with 32 channels, 20 sandglass blocks in eight stages, and the classifier
on the 1280 channels of the last one. Wide maps pass from block to block, and the
channels are mixed in a narrow middle (:mod:`effdl.nets.sandglass`).

The table is that of the authors' code, which says more than the paper's: blocks that
change the channels lack depthwise layers, the first one at stride 2, both at stride 1,
unless the block is a stage of its own. The width multiplier scales all channels, but
the 1280 of the last stage only if it is above 1. ReLU stops at 6, dropout is 0.2.

Published are 3.4 million weights and 300 million MACs; the authors' list has 3.5 and
300. Their table gives 3.54 and 311 million, here as in their code. Without batch norm
there are 3.48 million weights, and 3.4 may be that, cut off, as MobileNetV2's 3.4 is
3.47. The 300 may be MobileNetV2's 301, which this network is to match, or the 311
without the 11 of the first convolution; no source says. Of the other widths, 1.4 agrees
with the list; below 1 it is up to a tenth off (0.75: 2.5 million weights, here 2.77).

Do not expect time to follow the MACs: the maps between the blocks are wide.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_image_size, check_images, check_positive
from effdl.nets.sandglass import Sandglass


class Stage(NamedTuple):
    """Blocks in a row that put out maps of one shape.

    Attributes:
        ratio: Factor t by which their middle is narrower than their input.
        channels: Channels c that each block puts out.
        blocks: Number n of blocks.
        stride: Stride s of the first block; the others keep the resolution.
        depthwise: Depthwise layers of the first block; the others have 2.
    """

    ratio: int
    channels: int
    blocks: int
    stride: int
    depthwise: int


MOBILENEXT = (
    Stage(2, 96, 1, 2, 2),
    Stage(6, 144, 1, 1, 2),
    Stage(6, 192, 3, 2, 1),
    Stage(6, 288, 3, 2, 1),
    Stage(6, 384, 4, 1, 0),
    Stage(6, 576, 4, 2, 1),
    Stage(6, 960, 3, 1, 0),
    Stage(6, 1280, 1, 1, 2),
)
SMALL_MOBILENEXT = (
    Stage(2, 16, 1, 2, 2),
    Stage(2, 40, 2, 2, 1),
    Stage(2, 104, 2, 1, 0),
)


class MobileNeXt(nn.Module):
    """A convolution, the stages, and a linear layer on the mean over all pixels.

    Args:
        stages: The table, from the image on.
        stem: Channels of the convolution before it, 3 x 3.
        stem_stride: Its stride.
        identity_share: Share a of the channels that the shortcuts add.
        in_channels: Channels of the images.
        classes: Logits.

    Raises ``ValueError`` if a number is out of range.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Example:
        >>> import torch
        >>> net = MobileNeXt([Stage(6, 24, 2, 2, 1)], stem=16)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, net.reduction
        (torch.Size([2, 1000]), 4)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem: int = 32,
        stem_stride: int = 2,
        identity_share: float = 1.0,
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
        for t, c, n, s, depthwise in stages:
            check_positive(channels=c, blocks=n)
            for stride, layers in [(s, depthwise)] + [(1, 2)] * (n - 1):
                block = Sandglass(
                    before,
                    c,
                    stride=stride,
                    ratio=t,
                    depthwise=layers,
                    identity_share=identity_share,
                )
                self.features.append(block)
                before = c
        self.classifier = mean_linear(before, classes).insert(2, nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def mobilenext(
    width: float = 1.0,
    *,
    identity_share: float = 1.0,
    in_channels: int = 3,
    classes: int = 1000,
) -> MobileNeXt:
    """Return the network of the paper; published with width 0.35 to 1.4.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel, or
    ``identity_share`` is out of range.

    Example:
        >>> sum(p.numel() for p in mobilenext().parameters())
        3535416
    """
    last = _scaled(MOBILENEXT[-1:], max(1.0, width))
    return MobileNeXt(
        _scaled(MOBILENEXT[:-1], width) + last,
        stem=scaled_channels(32, width),
        identity_share=identity_share,
        in_channels=in_channels,
        classes=classes,
    )


def small_mobilenext(
    width: float = 1.0,
    *,
    identity_share: float = 1.0,
    in_channels: int = 1,
    classes: int = 10,
) -> MobileNeXt:
    """Return five of its blocks, squeezing less, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel, or
    ``identity_share`` is out of range.

    Example:
        >>> net = small_mobilenext()
        >>> net.reduction, sum(p.numel() for p in net.parameters())
        (4, 21666)
    """
    return MobileNeXt(
        _scaled(SMALL_MOBILENEXT, width, divisor=2),
        stem=scaled_channels(8, width, divisor=2),
        stem_stride=1,
        identity_share=identity_share,
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
