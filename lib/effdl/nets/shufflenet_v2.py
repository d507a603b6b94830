"""ShuffleNet V2: split the channels instead of grouping the weights.

Paper: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
Design", ECCV 2018, https://arxiv.org/abs/1807.11164.

The paper measures time, not MACs, and finds four rules: a pointwise layer moves least
with as many channels out as in (G1), more in groups (G2); many small branches leave
parallel machines idle (G3); additions and ReLUs are not free (G4).

G1 can be counted. A pointwise layer from c1 to c2 channels at H x W pixels does
B = H W c1 c2 MACs, and moves (arithmetic against geometric mean)

    H W (c1 + c2) + c1 c2  >=  2 sqrt(H W B) + B / (H W)     equal for c1 = c2

So a branch has one width, no groups but depthwise, and is concatenated, not added:

    branch(x) = relu(pointwise(depthwise(relu(pointwise(x)))))
    stride 1    x1, x2 = split(x)      y = shuffle([x1, branch(x2)])
    stride 2    y = shuffle([relu(pointwise(depthwise(x))), branch(x)])

with batch norm after every convolution; stem and stages as in ShuffleNet, then one more
pointwise layer. The paper lists the widths: no formula. Its rules come from one GPU and
one ARM processor. What differs: as in torchvision, both branches of the first unit make
half of its channels; in the authors' code one keeps the 24 of the stem.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_divides, check_image_size, check_images, check_positive
from effdl.conv.channel_shuffle import channel_shuffle
from effdl.conv.channel_split import SplitUnit
from effdl.conv.cost import Size, pixels
from effdl.nets.shufflenet_v1 import Stage

WIDTHS = {0.5: (48, 1024), 1.0: (116, 1024), 1.5: (176, 1024), 2.0: (244, 2048)}


class BasicUnit(SplitUnit):
    """Unit with stride 1: half of the channels wait, half go through the branch.

    Args:
        channels: Channels c of input and output; even.

    Example:
        >>> BasicUnit(16)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 16, 9, 9])
    """

    def __init__(self, channels: int) -> None:
        check_divides("parts", 2, channels=channels)
        super().__init__(_branch(channels // 2, channels // 2, stride=1))


class DownUnit(nn.Module):
    """Unit with a stride: all channels go through both branches.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels c of the output, half from each branch; even.
        stride: Stride of both.

    Example:
        >>> DownUnit(24, 116)(torch.zeros(1, 24, 9, 9)).shape
        torch.Size([1, 116, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 2) -> None:
        super().__init__()
        check_divides("parts", 2, out_channels=out_channels)
        c, half = in_channels, out_channels // 2
        spatial = conv_bn(c, c, 3, stride=stride, groups=c, activation=None)
        self.shortcut = nn.Sequential(spatial, conv_bn(c, half, 1))
        self.branch = _branch(c, half, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, ceil(H / stride), ceil(W / stride)) for x of (N, C, H, W)."""
        joined = torch.cat((self.shortcut(x), self.branch(x)), dim=1)
        return channel_shuffle(joined, groups=2)


class ShuffleNetV2(nn.Module):
    """Stem, stages of units, a pointwise layer, and a linear layer on the mean.

    Args:
        stages: The table, from the image on.
        stem: Channels of the stem.
        stem_strides: Stride of its convolution and, if it is to have one, its maximum.
        head: Channels of the last pointwise layer.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Example:
        >>> net = ShuffleNetV2([Stage(48, 2), Stage(96, 2)], classes=5)
        >>> net(torch.zeros(1, 3, 64, 64)).shape, net.reduction
        (torch.Size([1, 5]), 16)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem: int = 24,
        stem_strides: Sequence[int] = (2, 2),
        head: int = 1024,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.reduction = math.prod(stem_strides) * 2 ** len(stages)
        first, *rest = stem_strides
        self.features = nn.Sequential(conv_bn(in_channels, stem, 3, stride=first))
        self.features.extend(nn.MaxPool2d(3, stride, padding=1) for stride in rest)
        before = stem
        for c, n in stages:
            check_positive(units=n)
            self.features.append(DownUnit(before, c))
            self.features.extend(BasicUnit(c) for _ in range(n - 1))
            before = c
        self.features.append(conv_bn(before, head, 1))
        self.classifier = mean_linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def shufflenet_v2(
    width: float = 1.0, *, in_channels: int = 3, classes: int = 1000
) -> ShuffleNetV2:
    """Return the network of the paper; ``width`` is 0.5, 1, 1.5 or 2.

    Raises:
        ValueError: If ``width`` is another number.

    Example:
        >>> sum(p.numel() for p in shufflenet_v2(1.5).parameters())
        3503624
    """
    if width not in WIDTHS:
        cure = "ShuffleNetV2 takes any table of stages"
        raise ValueError(f"width must be in {list(WIDTHS)}, got {width}; {cure}")
    c, head = WIDTHS[width]
    stages = [Stage(c, 4), Stage(2 * c, 8), Stage(4 * c, 4)]
    return ShuffleNetV2(stages, head=head, in_channels=in_channels, classes=classes)


def small_shufflenet_v2(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> ShuffleNetV2:
    """Return six of its units for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in small_shufflenet_v2().parameters())
        23746
    """
    c, n, head = (scaled_channels(at_1, width, divisor=2) for at_1 in (32, 72, 96))
    return ShuffleNetV2(
        [Stage(c, 2), Stage(n, 4)],
        stem=scaled_channels(8, width, divisor=2),
        stem_strides=(1,),
        head=head,
        in_channels=in_channels,
        classes=classes,
    )


def least_memory_access(macs: int, output_size: Size) -> float:
    """Return how many numbers a pointwise layer of B = ``macs`` must move (G1).

    Example:
        >>> least_memory_access(64 * 64 * 56 * 56, 56)  # reached by 64 to 64 channels
        405504.0
    """
    check_positive(macs=macs)
    area = pixels(output_size)
    return 2 * math.sqrt(area * macs) + macs / area


def _branch(in_channels: int, c: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn(in_channels, c, 1),
        conv_bn(c, c, 3, stride=stride, groups=c, activation=None),
        conv_bn(c, c, 1),
    )
