"""Widths as masks: narrow blocks in the weights of a wide one.

Paper: Luo et al., "HSCoNAS: Hardware-Software Co-Design of Efficient DNNs via Neural
Architecture Search", DATE 2021, https://arxiv.org/abs/2103.08325, where it is called
dynamic channel scaling.

A block of m channels in the middle also stands for narrower ones: with factor f, the
first round(f m) channels count and the rest is multiplied by 0.

    y = P (mask_f * h)        which is the block that has these channels only

So one supernet has all widths at the price of the widest: a masked channel is computed
all the same, and only the network that is taken out is cheaper. Do not measure latency
on the masked one.

What differs: the block is MobileNetV2's, and the factors are few and given; the paper
has its own space of ShuffleNet's units.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from effdl.checks import check_positive, check_share
from effdl.nas.gradient.mixed_net import prepare_for_search_
from effdl.nas.mbconv_space import MBConv


def channel_mask(channels: int, factor: float) -> Tensor:
    """Return ones for the first channels and zeros for the others, (channels,).

    Args:
        channels: All of them.
        factor: Share that counts, above 0 and at most 1; at least one channel does.

    Example:
        >>> channel_mask(4, 0.5)
        tensor([1., 1., 0., 0.])
    """
    check_positive(channels=channels)
    check_share(factor=factor)
    return (torch.arange(channels) < max(1, round(factor * channels))).float()


class ScaledMBConv(nn.Module):
    """An inverted residual block of which some middle channels count.

    Blocks that share ``wide`` share its weights. Maps what ``wide`` maps.

    Args:
        wide: The block with all channels, expansion 2 or more.
        factor: Share of its middle channels, above 0 and at most 1.

    Example:
        >>> wide = MBConv(8, 8, 3)
        >>> ScaledMBConv(wide, 0.5)(torch.zeros(1, 8, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    mask: Tensor

    def __init__(self, wide: MBConv, factor: float) -> None:
        super().__init__()
        self.wide = wide
        *_, project = wide.layers.children()
        [conv] = (m for m in project.modules() if isinstance(m, nn.Conv2d))
        middle = conv.in_channels
        self.register_buffer("mask", channel_mask(middle, factor)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return the narrow block's output; masked channels are computed and dropped.

        Args:
            x: Maps (N, c, H, W).
        """
        *first, project = self.wide.layers
        y = x
        for layer in first:
            y = layer(y)
        y = project(self.mask * y)
        return x + y if self.wide.has_shortcut else y


def scaled_layer(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    kernels: Sequence[int] = (3, 5),
    factors: Sequence[float] = (1 / 6, 1 / 3, 2 / 3, 1.0),
) -> dict[str, Callable[[], nn.Module]]:
    """Return candidates of one layer for a block space; those of a kernel share it.

    Batch norms use the batch at hand, since widths differ in what they send.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Of the layer.
        kernels: Sides of the depthwise kernels, odd.
        factors: Shares of six times ``in_channels``.

    Example:
        >>> list(scaled_layer(8, 8, kernels=(3,), factors=(0.5, 1.0)))
        ['k3 x0.50', 'k3 x1.00']
    """

    def maker(wide: MBConv, factor: float) -> Callable[[], nn.Module]:
        return lambda: ScaledMBConv(wide, factor)

    layer: dict[str, Callable[[], nn.Module]] = {}
    for kernel in kernels:
        wide = MBConv(in_channels, out_channels, kernel, stride=stride)
        prepare_for_search_(wide, MBConv)
        layer |= {f"k{kernel} x{f:.2f}": maker(wide, f) for f in factors}
    return layer
