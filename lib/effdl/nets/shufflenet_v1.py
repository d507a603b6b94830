"""ShuffleNet: pointwise layers in groups, and a shuffle so that the groups meet.

Paper: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network
for Mobile Devices", CVPR 2018, https://arxiv.org/abs/1707.01083.

A bottleneck of c channels outside and m inside, with a depthwise layer in the middle,
spends nearly all of its MACs on the two pointwise layers. Here both have g groups:

    MACs = H W (2 c m / g + 9 m)      for H x W pixels and m = c / 4

so one budget buys more channels: 144 in the first stage for g = 1, 384 for g = 8.
The shuffle of :mod:`effdl.conv.channel_shuffle` lets them learn of each other:

    branch(x) = pointwise_g(depthwise(shuffle_g(relu(pointwise_g(x)))))
    stride 1    y = relu(x + branch(x))
    stride 2    y = relu([mean3x3(x), branch(x)])   the branch adds what is missing to c

with batch norm after every convolution. The very first pointwise layer has one group:
it reads the few channels of the stem.

What differs: the authors' code (g = 3 and 8) shuffles after the depthwise layer, which
gives the same functions, and its last layer has no bias. Where g does not divide c / 4
(100 channels, g = 2), we round. Groups save no memory traffic: expect less in time.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_divides, check_image_size, check_images, check_positive

STAGE_2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # g: channels at width 1
STEM = {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}  # width: channels, as the authors' code


class Stage(NamedTuple):
    """Units in a row that each put out ``channels`` maps; the first has stride 2."""

    channels: int
    units: int


class ShuffleUnit(nn.Module):
    """Unit that adds (stride 1) or concatenates (stride 2).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels c of the output: as many with stride 1, more with 2.
        groups: Groups g of both pointwise layers, a divisor of both numbers.
        first_groups: Groups of the first of them, where they differ.
        stride: 1 or 2.

    Raises:
        ValueError: If the numbers do not fit each other.

    Example:
        >>> ShuffleUnit(24, 240, stride=2)(torch.zeros(1, 24, 9, 9)).shape
        torch.Size([1, 240, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int = 3,
        first_groups: int | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        c, n, g = in_channels, out_channels, groups
        check_positive(in_channels=c, out_channels=n, groups=g)
        check_divides("groups", g, in_channels=c, out_channels=n)
        if (stride, c == n) not in {(1, True), (2, False)} or c > n:
            raise ValueError(
                "stride must be 1, with out_channels = in_channels, or 2, with more; "
                f"got {stride} with {c} to {n} channels"
            )
        middle = max(1, round(n / 4 / g)) * g  # m, a multiple of g
        self.branch = nn.Sequential(
            conv_bn(c, middle, 1, groups=g if first_groups is None else first_groups),
            nn.ChannelShuffle(g),
            conv_bn(middle, middle, 3, stride=stride, groups=middle, activation=None),
            conv_bn(middle, n - c if stride == 2 else n, 1, groups=g, activation=None),
        )
        self.mean = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, ceil(H / stride), ceil(W / stride)) for x of (N, C, H, W)."""
        y = self.branch(x)
        joined = x + y if self.mean is None else torch.cat((self.mean(x), y), dim=1)
        return joined.relu()


class ShuffleNetV1(nn.Module):
    """Stem, stages of shuffle units, and a linear layer on the mean.

    Args:
        stages: The table, from the image on.
        groups: Groups g of every pointwise layer but the first.
        stem: Channels of the stem, a multiple of g.
        stem_strides: Stride of its convolution and, if it is to have one, its maximum.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Example:
        >>> net = ShuffleNetV1([Stage(48, 2), Stage(96, 2)], classes=5)
        >>> net(torch.zeros(1, 3, 64, 64)).shape, net.reduction
        (torch.Size([1, 5]), 16)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        groups: int = 3,
        stem: int = 24,
        stem_strides: Sequence[int] = (2, 2),
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.reduction = math.prod(stem_strides) * 2 ** len(stages)
        first, *rest = stem_strides
        self.features = nn.Sequential(conv_bn(in_channels, stem, 3, stride=first))
        self.features.extend(nn.MaxPool2d(3, stride, padding=1) for stride in rest)
        before, f, g = stem, 1, groups  # f: groups of the first pointwise layer
        for c, n in stages:
            check_positive(units=n)
            for s in [2] + [1] * (n - 1):
                unit = ShuffleUnit(before, c, groups=g, first_groups=f, stride=s)
                self.features.append(unit)
                before, f = c, g
        self.classifier = mean_linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def shufflenet_v1(
    width: float = 1.0, *, groups: int = 3, in_channels: int = 3, classes: int = 1000
) -> ShuffleNetV1:
    """Return the network of the paper: ``width`` 0.5, 1, 1.5 or 2; g 1, 2, 3, 4 or 8.

    Raises:
        ValueError: If ``width`` or ``groups`` is another number.

    Example:
        >>> sum(p.numel() for p in shufflenet_v1(1.5).parameters())
        3442168
    """
    if width not in STEM or groups not in STAGE_2:
        raise ValueError(
            f"width must be in {list(STEM)} and groups in {list(STAGE_2)}, "
            f"got {width} and {groups}; ShuffleNetV1 takes any table of stages"
        )
    c = scaled_channels(STAGE_2[groups], width, divisor=groups)
    return ShuffleNetV1(
        [Stage(c, 4), Stage(2 * c, 8), Stage(4 * c, 4)],
        groups=groups,
        stem=scaled_channels(STEM[width], divisor=groups),
        in_channels=in_channels,
        classes=classes,
    )


def small_shufflenet_v1(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> ShuffleNetV1:
    """Return six of its units, g = 2, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in small_shufflenet_v1().parameters())
        24010
    """
    stem, c, n = (scaled_channels(at_1, width, divisor=2) for at_1 in (8, 48, 144))
    return ShuffleNetV1(
        [Stage(c, 2), Stage(n, 4)],
        groups=2,
        stem=stem,
        stem_strides=(1,),
        in_channels=in_channels,
        classes=classes,
    )
