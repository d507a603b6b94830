"""CondenseNet: a DenseNet that drops its redundant connections while it trains.

Paper: Huang et al., "CondenseNet: An Efficient DenseNet using Learned Group
Convolutions", CVPR 2018, https://arxiv.org/abs/1711.09224, sections 3 and 4.

In a DenseNet each layer reads all features before it. Most of these connections carry
little, so each layer learns here which ones to keep:

    new = conv3x3(ReLU(BN(conv1x1(ReLU(BN(x))))))     k features
    y   = [x, new]

The 1 x 1 convolution, to 4 k channels, is a learned group convolution
(:mod:`effdl.conv.learned_group`), the 3 x 3 one an ordinary group convolution. Blocks
are parted by average pooling only, so that layers read features of all resolutions so
far, and k doubles from one to the next. The classifier keeps half of the features, in
one stage of a learned group convolution on the 1 x 1 map with G = 1 and C = 2. (The
authors' code drops that half after training, here training goes on without it.)

At 224 x 224, after all stages and deployed (:func:`effdl.conv.condensing.deploy`):

    C = G = 8:  2,935,416 parameters, 261.5 M MACs     published: 2.9 M and 274 M
    C = G = 4:  4,773,944 parameters, 516.6 M MACs     published: 4.8 M and 529 M

The published counts have one more for each number that enters a ReLU or an average
pooling, 12.7 M in all. And the parameters that the authors give for CIFAR networks are
those with all features in the classifier.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effdl.blocks import scaled_channels
from effdl.checks import check_image_size, check_images, check_positive
from effdl.conv.group import GroupConv2d
from effdl.conv.learned_group import LearnedGroupConv2d


class Block(NamedTuple):
    """Layers of one resolution that add ``growth`` features k each.

    They have ``bottleneck`` channels, 4 k in the paper, between their convolutions.
    """

    layers: int
    growth: int
    bottleneck: int


# Layers and growth of each block. A first block without layers is the stem alone.
CONDENSENET_74 = ((4, 8), (6, 16), (8, 32), (10, 64), (8, 128))
SMALL = ((0, 8), (2, 16), (3, 32))


class CondenseLayer(nn.Module):
    """Layer that reads some of its input features and adds k new ones to them.

    Args:
        in_channels: Features that are there already.
        growth: Features k to add.
        bottleneck: Channels between the two convolutions.
        condensation: Factor C, and groups G as many; divides the numbers above.
        activation: Class of the activations, called without arguments.

    Raises ``ValueError`` if a number is below 1 or does not divide as it should.

    Example:
        >>> layer = CondenseLayer(16, 8, 32, condensation=8)
        >>> layer(torch.zeros(1, 16, 5, 5)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        growth: int,
        bottleneck: int,
        *,
        condensation: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        c = condensation
        self.new = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            activation(),
            LearnedGroupConv2d(in_channels, bottleneck, groups=c, condensation=c),
            nn.BatchNorm2d(bottleneck),
            activation(),
            GroupConv2d(bottleneck, growth, 3, groups=c),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c + k, H, W) for x of (N, c, H, W)."""
        return torch.cat((x, self.new(x)), dim=1)


class CondenseNetV1(nn.Module):
    """The network as it trains; :mod:`effdl.conv.condensing` condenses and deploys it.

    Args:
        blocks: Dense blocks, with an average pooling by 2 between them.
        condensation: Factor C of all layers, and groups G as many.
        in_channels: Channels of the images.
        classes: Logits.
        stem_stride: Stride of the first convolution.
        kept: The classifier keeps one in so many features.

    Raises ``ValueError`` if a number is below 1 or does not divide as it should; when
    called, if the images are smaller than ``reduction``.

    Example:
        >>> net = CondenseNetV1((Block(2, 4, 16), Block(2, 8, 32)), condensation=4)
        >>> net(torch.zeros(1, 3, 32, 32)).shape, net.reduction
        (torch.Size([1, 1000]), 4)
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        condensation: int,
        in_channels: int = 3,
        classes: int = 1000,
        stem_stride: int = 2,
        kept: int = 2,
    ) -> None:
        super().__init__()
        check_positive(blocks=len(blocks), in_channels=in_channels, classes=classes)
        check_positive(stem_stride=stem_stride)
        self.blocks, self.condensation = blocks, condensation
        self.reduction = stem_stride * 2 ** (len(blocks) - 1)
        width = 2 * blocks[0].growth
        stem = nn.Conv2d(in_channels, width, 3, stem_stride, padding=1, bias=False)
        layers: list[nn.Module] = [stem]
        for number, block in enumerate(blocks):
            for _ in range(block.layers):
                layers.append(self.layer(width, number))
                width += block.growth
            layers.append(nn.AvgPool2d(2))
        layers[-1] = nn.BatchNorm2d(width)  # no pooling after the last block
        self.in_channels, self.width = in_channels, width
        self.features = nn.Sequential(*layers, nn.ReLU())
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            LearnedGroupConv2d(width, classes, groups=1, condensation=kept, bias=True),
            nn.Flatten(),
        )

    def layer(self, width: int, number: int) -> nn.Module:
        """Return a layer of block ``number``, from 0, that finds ``width`` features."""
        _, growth, between = self.blocks[number]
        return CondenseLayer(width, growth, between, condensation=self.condensation)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W)."""
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def condensenet_v1(
    condensation: int = 8, *, in_channels: int = 3, classes: int = 1000
) -> CondenseNetV1:
    """Return CondenseNet-74 for ImageNet, before its stages; C = 8 or 4 in the paper.

    Example:
        >>> condensenet_v1(4).classifier[1]
        LearnedGroupConv2d(2064, 1000, kernel_size=(1, 1), stride=(1, 1))
    """
    return CondenseNetV1(
        [Block(layers, k, 4 * k) for layers, k in CONDENSENET_74],
        condensation=condensation,
        in_channels=in_channels,
        classes=classes,
    )


def small_condensenet_v1(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> CondenseNetV1:
    """Return five layers with C = G = 4 for digit scenes, to be condensed in training.

    Pass ``after_step=condense_on_schedule(net, epochs * len(batches))`` to ``fit``,
    then count and use ``deploy(net)``, both from :mod:`effdl.conv.condensing`. The
    growth, a multiple of C, stays: ``width`` scales the bottlenecks.

    Example:
        >>> small_condensenet_v1()(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    return CondenseNetV1(
        [Block(n, k, scaled_channels(2 * k, width, divisor=4)) for n, k in SMALL],
        condensation=4,
        in_channels=in_channels,
        classes=classes,
        stem_stride=1,
    )
