"""DenseNet: every layer sees the feature maps of all layers before it.

Paper: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017,
https://arxiv.org/abs/1608.06993, the variant with bottlenecks and compression ("BC").

    x_l = H([x_0, x_1, ..., x_{l-1}])        [...] joins channels
    H   = BN - ReLU - 1x1 (b) - BN - ReLU - 3x3 (k)

Each layer adds k new maps, the *growth rate*, and leaves the old ones as they are, so
that after l layers there are c_0 + l k channels. The 1 x 1 convolution bounds the
inputs of the 3 x 3 one, however many channels there are: b = 4 k.

Between two dense blocks a transition halves channels and resolution:

    BN - ReLU - 1x1 (c / 2) - mean of 2 x 2 pixels

Whatever H computes, a block puts out x_0, too: the loss has a direct path to it. Here a
layer returns its input and its new maps together: a dense block is a plain sequence.

When not to trust the count: joining is no multiply-add, but it copies. A block of l
layers, written like this, writes l c_0 + k l (l + 1) / 2 maps to join them.

What differs: the small network has b = 16, not 4 k = 48, which is more than its layers
get. Weights start as PyTorch starts them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear, scaled_channels
from effdl.checks import check_image_size, check_images, check_positive


class DenseLayer(nn.Module):
    """Join k new maps to the input; ``ValueError`` if a number is below 1.

    Args:
        in_channels: Channels c of the input.
        growth: New maps k.
        bottleneck: Maps b from the 1 x 1 to the 3 x 3 convolution; in the paper 4 k.

    Example:
        >>> DenseLayer(64, 32, 128)(torch.zeros(1, 64, 8, 8)).shape
        torch.Size([1, 96, 8, 8])
    """

    def __init__(self, in_channels: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, growth=growth, bottleneck=bottleneck)
        self.in_channels = in_channels
        self.new_maps = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            *conv_bn(in_channels, bottleneck, 1),
            nn.Conv2d(bottleneck, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c + k, H, W) for x of (N, c, H, W); x comes first, unchanged.

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return torch.cat((x, self.new_maps(x)), dim=1)


class Transition(nn.Sequential):
    """Halve channels, c = ``in_channels`` to c // 2, and resolution, rounding down.

    Raises:
        ValueError: If there is no half of the channels.

    Example:
        >>> Transition(256)(torch.zeros(1, 256, 9, 9)).shape
        torch.Size([1, 128, 4, 4])
    """

    def __init__(self, in_channels: int) -> None:
        if in_channels < 2:
            raise ValueError(f"in_channels must be at least 2, got {in_channels}")
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, in_channels // 2, 1, bias=False),
            nn.AvgPool2d(2),
        )


def dense_channels(channels: int, layers: int, growth: int) -> int:
    """Return c_0 + l k, the channels behind l layers that each add k = ``growth``.

    Example:
        >>> dense_channels(64, 6, 32)
        256
    """
    check_positive(channels=channels, layers=layers, growth=growth)
    return channels + layers * growth


class DenseNet(nn.Module):
    """Convolution, maximum pooling, dense blocks with transitions, linear layer.

    Raises ``ValueError`` if a number is below 1 or a kernel side even.

    Args:
        layers: Layers of each dense block.
        growth: New maps k of each layer.
        bottleneck: Maps b within each layer.
        stem: Channels, side of the kernel and stride of the first convolution.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor r between the sides of the image and those of the last maps.

    Example:
        >>> net = DenseNet([2, 3], growth=4)  # (64 + 2 * 4) / 2 + 3 * 4 = 48
        >>> net.features(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 48, 8, 8])
    """

    def __init__(
        self,
        layers: Sequence[int],
        *,
        growth: int = 32,
        bottleneck: int = 128,
        stem: tuple[int, int, int] = (64, 7, 2),
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(blocks=len(layers))
        self.in_channels = in_channels
        channels, side, stride = stem
        self.features = nn.Sequential(
            conv_bn(in_channels, channels, side, stride=stride),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        for number, count in enumerate(layers):
            if number:
                self.features.append(Transition(channels))
                channels //= 2
            before, channels = channels, dense_channels(channels, count, growth)
            for c in range(before, channels, growth):
                self.features.append(DenseLayer(c, growth, bottleneck))
        self.features.extend((nn.BatchNorm2d(channels), nn.ReLU(inplace=True)))
        self.classifier = mean_linear(channels, classes)
        self.reduction = stride * 2 ** len(layers)  # of the pooling, the transitions

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no such batch or has sides below r.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def densenet121(*, in_channels: int = 3, classes: int = 1000) -> DenseNet:
    """Return DenseNet-121.

    Example:
        >>> sum(p.numel() for p in densenet121().parameters())
        7978856
    """
    return DenseNet((6, 12, 24, 16), in_channels=in_channels, classes=classes)


def densenet201(*, in_channels: int = 3, classes: int = 1000) -> DenseNet:
    """Return DenseNet-201.

    Example:
        >>> sum(p.numel() for p in densenet201().parameters())
        20013928
    """
    return DenseNet((6, 12, 48, 32), in_channels=in_channels, classes=classes)


def small_densenet(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> DenseNet:
    """Return five dense layers for 16 x 16 pixels; ``width`` must leave a channel.

    Example:
        >>> sum(p.numel() for p in small_densenet().parameters())
        13058
    """
    k, b, stem = (scaled_channels(c, width, divisor=1) for c in (12, 16, 16))
    return DenseNet(
        (2, 3),
        growth=k,
        bottleneck=b,
        stem=(stem, 3, 1),
        in_channels=in_channels,
        classes=classes,
    )
