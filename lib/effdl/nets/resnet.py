"""ResNet: stages of residual blocks, for ImageNet, CIFAR-10 and digit scenes.

Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385. The blocks: :mod:`effdl.nets.residual`.

Each stage halves the resolution, the first one excepted, and doubles the channels, so
that its blocks cost as much as those of the stage before.

                stem                          blocks in a stage     its channels
    ResNet-50   7x7 / 2, maximum 3x3 / 2      3, 4, 6, 3            256 ... 2048
    CIFAR-10    3x3                           n, n, n               16, 32, 64
    small       3x3                           1, 2, 2               4, 10, 20

ResNet-50 has bottlenecks and projections (option B). The networks for CIFAR-10 have
basic blocks and depth 6 n + 2; their shortcuts have no weights (option A). That is what
the paper's table counts: 0.27 M parameters for depth 20 to 1.7 M for depth 110.

What differs: strides as in v1.5 (see the blocks). With them, ResNet-50 makes 4.09
billion multiply-adds for 224 x 224 pixels; with those of the authors it would be 3.86,
and the paper says 3.8. Weights start as PyTorch starts them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_image_size, check_images, check_positive
from effdl.nets.residual import BasicBlock, Bottleneck, ResidualBlock, ZeroPadShortcut


class Stem(NamedTuple):
    """First convolution; if ``pooled``, 3 x 3 maximum pooling of stride 2 follows."""

    channels: int
    kernel_size: int
    stride: int
    pooled: bool


class Stage(NamedTuple):
    """``blocks`` blocks of ``channels`` outputs; the first one has the ``stride``."""

    channels: int
    blocks: int
    stride: int


IMAGENET_STEM = Stem(channels=64, kernel_size=7, stride=2, pooled=True)
RESNET50 = (Stage(256, 3, 1), Stage(512, 4, 2), Stage(1024, 6, 2), Stage(2048, 3, 2))


class ResNet(nn.Module):
    """Stem, stages of residual blocks, mean over all pixels, linear layer.

    Raises ``ValueError`` if a number is below 1, or the blocks refuse a number.

    Args:
        stages: What follows the stem.
        stem: What comes first.
        block: Called with input channels, output channels and ``stride``.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor r between the sides of the image and those of the last maps.

    Example:
        >>> import torch
        >>> net = ResNet([Stage(8, 1, 2)], stem=Stem(4, 3, 1, pooled=False))
        >>> net.features(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 8, 8, 8])
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        stem: Stem = IMAGENET_STEM,
        block: Callable[..., ResidualBlock] = Bottleneck,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        channels = stem.channels
        conv = conv_bn(in_channels, channels, stem.kernel_size, stride=stem.stride)
        layers: list[nn.Module] = [conv]
        if stem.pooled:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        for stage in stages:
            check_positive(blocks=stage.blocks)
            for number in range(stage.blocks):
                stride = 1 if number else stage.stride
                layers.append(block(channels, stage.channels, stride=stride))
                channels = stage.channels
        self.features = nn.Sequential(*layers)
        self.classifier = mean_linear(channels, classes)
        strides = [stem.stride, 2 if stem.pooled else 1, *(s.stride for s in stages)]
        self.reduction = prod(strides)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no such batch or has sides below r.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def resnet50(*, in_channels: int = 3, classes: int = 1000) -> ResNet:
    """Return ResNet-50 (v1.5), the same as in torchvision and timm.

    Example:
        >>> sum(p.numel() for p in resnet50().parameters())
        25557032
    """
    return ResNet(RESNET50, in_channels=in_channels, classes=classes)


def cifar_resnet(depth: int = 20, *, in_channels: int = 3, classes: int = 10) -> ResNet:
    """Return the network of the paper for images of 32 x 32 pixels.

    Args:
        depth: Layers with weights, 6 n + 2: 20, 32, 44, 56 and 110 in the paper.
        in_channels: Channels of the images.
        classes: Logits.

    Raises:
        ValueError: If the depth is another one, or a number is below 1.

    Example:
        >>> sum(p.numel() for p in cifar_resnet(20).parameters())
        269722
    """
    check_positive(depth=depth)
    blocks, remainder = divmod(depth - 2, 6)
    if blocks < 1 or remainder:
        raise ValueError(f"depth must be 6 n + 2, got {depth}; use 8, 14, 20, ...")
    stages = (Stage(16, blocks, 1), Stage(32, blocks, 2), Stage(64, blocks, 2))
    return _basic(stages, in_channels, classes)


def small_resnet(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> ResNet:
    """Return the form for CIFAR-10 with five blocks, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves no channel.

    Example:
        >>> sum(p.numel() for p in small_resnet().parameters())
        16458
    """
    first, second, third = (scaled_channels(c, width, divisor=1) for c in (4, 10, 20))
    stages = (Stage(first, 1, 1), Stage(second, 2, 2), Stage(third, 2, 2))
    return _basic(stages, in_channels, classes)


def _basic(stages: Sequence[Stage], in_channels: int, classes: int) -> ResNet:
    """Return a network of basic blocks with option A."""
    stem = Stem(stages[0].channels, kernel_size=3, stride=1, pooled=False)
    block = partial(BasicBlock, shortcut=ZeroPadShortcut)
    return ResNet(
        stages, stem=stem, block=block, in_channels=in_channels, classes=classes
    )
