"""GhostNetV2: GhostNet whose expanded maps are gated by DFC attention.

Paper: Tang et al., "GhostNetV2: Enhance Cheap Operation with Long-Range Attention",
NeurIPS 2022, https://arxiv.org/abs/2211.12905.

In a Ghost convolution, half of the maps come from a pointwise layer and see no
neighbour, the other half see 3 x 3 pixels. GhostNetV2 multiplies the output of the
first Ghost convolution of a bottleneck, where the channels are many, by the gate of
:mod:`effdl.conv.dfc_attention`, computed from the same input:

    y = sigmoid(DFC(x)) * ghost(x)

The first two bottlenecks, with the largest maps, stay as they are, and so does all
else. As published, for 224 x 224 pixels (multiply-adds, parameters, accuracy on
ImageNet):

    width 1.0   167 M    6.1 M    75.3 %
    width 1.3   269 M    8.9 M    76.9 %
    width 1.6   399 M   12.3 M    77.8 %

Against GhostNetV1 of the same width, a gate costs about half of its Ghost convolution's
multiply-adds, at a quarter of the pixels, but more than twice its weights: 18 % more
multiply-adds and 19 % more parameters for the network. Not all of the 1.4 points over
V1's 73.9 % come from the gates: the abstract gives a V1 of similar cost 74.5 %.

The gates halve their maps once more: images of 32 x 32 pixels leave the last ones 1 x 1
and cannot be halved. Three convolutions in a row, and an enlargement, stand beside each
expanding layer: on a processor they cost more time than their multiply-adds suggest.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from effdl.blocks import scaled_channels
from effdl.checks import check_image_size
from effdl.conv.dfc_attention import DfcGate
from effdl.conv.ghost import GhostConv2d
from effdl.nets.ghostnet_v1 import (
    GHOSTNET,
    SMALL_GHOSTNET,
    GhostNetV1,
    GhostRow,
    scaled_rows,
)

PLAIN_ROWS = 2  # bottlenecks without a gate


class GatedGhostConv2d(nn.Module):
    """A pointwise Ghost convolution times the gate of DFC attention.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.

    Raises ``ValueError`` if a number is below 1.

    Example:
        >>> import torch
        >>> GatedGhostConv2d(16, 32)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.ghost = GhostConv2d(in_channels, out_channels)
        self.gate = DfcGate(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, H, W) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c maps of at least 2 x 2.
        """
        return self.ghost(x) * self.gate(x)


class GhostNetV2(GhostNetV1):
    """GhostNetV1 with a gate in every bottleneck from the third on.

    Args:
        rows: The bottlenecks, from the image on; at least one.
        stem: Channels of the convolution before them.
        stem_stride: Its stride.
        head: Units of the layer before the classifier.
        in_channels: Channels of the images.
        classes: Logits.

    Raises ``ValueError`` if a number is below 1, or a kernel side is even.

    Example:
        >>> import torch
        >>> net = GhostNetV2(SMALL_GHOSTNET, stem_stride=1, in_channels=1, classes=10)
        >>> net(torch.zeros(2, 1, 16, 16)).shape, net.reduction
        (torch.Size([2, 10]), 4)
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
        super().__init__(
            gated_rows(rows),
            stem=stem,
            stem_stride=stem_stride,
            head=head,
            in_channels=in_channels,
            classes=classes,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, in_channels, H, W).

        Raises ``ValueError`` if ``x`` is no batch of such images, or not larger than
        ``reduction`` in height and width.
        """
        check_image_size(x, self.reduction + 1)  # two pixels left for the last gates
        return super().forward(x)


def ghostnet_v2(
    width: float = 1.0, *, in_channels: int = 3, classes: int = 1000
) -> GhostNetV2:
    """Return GhostNetV2 for ImageNet; published with width 1.0, 1.3 and 1.6.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in ghostnet_v2().parameters())
        6156908
    """
    rows = scaled_rows(GHOSTNET, width)
    stem = scaled_channels(16, width, divisor=4)
    return GhostNetV2(rows, stem=stem, in_channels=in_channels, classes=classes)


def small_ghostnet_v2(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> GhostNetV2:
    """Return five bottlenecks, three of them gated, for 16 x 16 or 12 x 12 pixels.

    Raises ``ValueError`` if ``width`` leaves a layer without a channel.

    Example:
        >>> sum(p.numel() for p in small_ghostnet_v2().parameters())
        41674
    """
    return GhostNetV2(
        scaled_rows(SMALL_GHOSTNET, width, divisor=2),
        stem=scaled_channels(8, width, divisor=2),
        stem_stride=1,
        head=scaled_channels(96, width, divisor=2),
        in_channels=in_channels,
        classes=classes,
    )


def gated_rows(rows: Sequence[GhostRow]) -> tuple[GhostRow, ...]:
    """Return the table with a gated first layer from the third row on.

    Example:
        >>> [row.expand.__name__ for row in gated_rows(GHOSTNET[:4])]
        ['GhostConv2d', 'GhostConv2d', 'GatedGhostConv2d', 'GatedGhostConv2d']
    """
    plain, gated = rows[:PLAIN_ROWS], rows[PLAIN_ROWS:]
    return (*plain, *(row._replace(expand=GatedGhostConv2d) for row in gated))
