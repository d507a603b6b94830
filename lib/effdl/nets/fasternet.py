"""FasterNet: partial convolutions, pointwise layers, and little else.

Paper: Chen et al., "Run, Don't Walk: Chasing Higher FLOPS for Faster Neural
Networks", CVPR 2023, https://arxiv.org/abs/2303.03667.

Depthwise layers do few MACs, but wait for memory. With the paper's spelling, FLOPS for
the rate, and multiply-adds for both:

    latency = FLOPs / FLOPS

So the paper reduces the work with an operator that keeps the rate high. The partial
convolution of :mod:`effdl.conv.partial` looks at neighbours in a quarter of the c
channels, 1/16 of the MACs of an ordinary one; two pointwise layers then mix them all:

    y = x + P2 relu(norm(P1 partial(x)))     P1 from c to 2 c channels, P2 back to c

One batch norm and one activation a block: more would take time and help little. The
resolution falls between the stages, by *patches*: an ordinary convolution whose stride
is the side of its kernel, 4 x 4 at first, then 2 x 2 with twice the channels.

T0 and T1 use GELU, the larger ones ReLU. What differs: stochastic depth, with which
the authors train and which does nothing afterwards, is left out.

More FLOPs are not the aim, they are tolerated. Whether more of them at a higher rate
take less time depends on the machine: the authors measured on three.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import scaled_channels
from effdl.checks import check_image_size, check_images, check_positive
from effdl.conv.partial import PartialConv2d


class Stage(NamedTuple):
    """Patches, then blocks in a row that each put out ``channels`` maps."""

    channels: int
    blocks: int


class Size(NamedTuple):
    """Network of the paper: ``channels`` of the first stage, blocks of all four."""

    channels: int
    blocks: tuple[int, ...]
    activation: Callable[[], nn.Module] = nn.ReLU


T0 = Size(40, (1, 2, 8, 2), nn.GELU)
T1 = Size(64, (1, 2, 8, 2), nn.GELU)
T2 = Size(96, (1, 2, 8, 2))
S = Size(128, (1, 2, 13, 2))
M = Size(144, (3, 4, 18, 3))
L = Size(192, (3, 4, 18, 3))


class FasterBlock(nn.Module):
    """Partial convolution and two pointwise layers, with a residual connection.

    Args:
        channels: Channels c of input and output.
        share: Share of the channels that the partial convolution touches.
        activation: Class of the activation.

    Example:
        >>> import torch
        >>> FasterBlock(16)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 16, 9, 9])
    """

    def __init__(
        self,
        channels: int,
        *,
        share: float = 0.25,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        hidden = 2 * channels
        self.partial = PartialConv2d(channels, share=share)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            activation(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, H, W) for x of (N, c, H, W)."""
        return x + self.mix(self.partial(x))


class FasterNet(nn.Module):
    """Stages of blocks, patches before each, and a head of two layers on the mean.

    Args:
        stages: The table, from the image on.
        patch: Side of the first patches, then 2. Pixels that fill no patch are lost.
        head: Channels between the two last layers.
        activation: Class of what stands between two pointwise layers.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        reduction: Factor between the sides of the image and those of the last maps.

    Example:
        >>> import torch
        >>> net = FasterNet([Stage(16, 1), Stage(32, 2)], classes=5)
        >>> net(torch.zeros(1, 3, 64, 64)).shape, net.reduction
        (torch.Size([1, 5]), 8)
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        patch: int = 4,
        head: int = 1280,
        activation: Callable[[], nn.Module] = nn.ReLU,
        in_channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(stages=len(stages), patch=patch, head=head)
        check_positive(in_channels=in_channels, classes=classes)
        self.in_channels = in_channels
        self.reduction = patch * 2 ** (len(stages) - 1)
        self.features = nn.Sequential()
        before, side = in_channels, patch
        for c, n in stages:
            check_positive(channels=c, blocks=n)
            self.features.append(_patches(before, c, side))
            self.features.extend(
                FasterBlock(c, activation=activation) for _ in range(n)
            )
            before, side = c, 2
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(before, head, 1, bias=False),
            activation(),
            nn.Flatten(),
            nn.Linear(head, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or too small.
        """
        check_images(x, self.in_channels)
        check_image_size(x, self.reduction)
        return self.classifier(self.features(x))


def fasternet(size: Size, *, in_channels: int = 3, classes: int = 1000) -> FasterNet:
    """Return a network of the paper: size T0, T1, T2, S, M or L.

    Example:
        >>> sum(p.numel() for p in fasternet(T1).parameters())
        7595368
    """
    c = size.channels
    return FasterNet(
        [Stage(c * 2**i, blocks) for i, blocks in enumerate(size.blocks)],
        activation=size.activation,
        in_channels=in_channels,
        classes=classes,
    )


def small_fasternet(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> FasterNet:
    """Return five of its blocks and smaller patches, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a partial convolution without a channel.

    Example:
        >>> sum(p.numel() for p in small_fasternet().parameters())
        30790
    """
    c, n, head = (scaled_channels(k, width, divisor=1) for k in (16, 40, 64))
    return FasterNet(
        [Stage(c, 2), Stage(n, 3)],
        patch=2,
        head=head,
        activation=nn.GELU,
        in_channels=in_channels,
        classes=classes,
    )


def _patches(in_channels: int, channels: int, side: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, side, stride=side, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))
