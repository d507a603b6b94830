"""Depthwise and depthwise separable convolution: space first, channels after.

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile
Vision Applications", 2017, https://arxiv.org/abs/1704.04861, section 3.1.

An ordinary convolution looks at the neighbours and mixes the channels in one step.
The separable one takes two, and each is cheap:

    y[c] = w[c] * x[c]                       depthwise: k^2 weights per channel
    z[o, h, w] = sum_c P[o, c] y[c, h, w]    pointwise: n c weights

which together are the ordinary convolution with kernels W[o, c] = P[o, c] w[c]: for
each input channel one shape, shared by all n outputs. Weights and MACs, as a share
of the ordinary convolution's (c k^2 + n c) / (n c k^2):

    1 / n + 1 / k^2        0.113 for n = 512, k = 3

With a multiplier m, every channel gets m kernels and the depthwise layer m c outputs;
output c m + j comes from channel c.

MobileNet puts batch norm and ReLU after each of the two steps; the layers here are
bare, so that the identity above can be checked. Do not expect the share in time: the
depthwise step does about k^2 / 2 MACs per number it moves and waits for memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import (
    check_divides,
    check_images,
    check_kernel,
    check_odd,
    check_positive,
)
from effdl.conv.cost import ConvCost, Size, conv_cost
from effdl.conv.pointwise import PointwiseConv2d, pointwise_cost


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """Return each channel under its own kernel, as a sum of k^2 shifted copies.

    Raises ``ValueError`` if ``x`` is not a batch or ``weight`` is not as below.

    Args:
        x: Feature maps, (N, c, H, W).
        weight: Kernels w, (m c, 1, k, k), k odd.

    Returns:
        (N, m c, H, W); the border is padded with zeros.

    Example:
        >>> x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
        >>> depthwise(x, torch.full((2, 1, 1, 1), 10.0)).flatten().tolist()
        [10.0, 20.0]
    """
    check_images(x)
    check_kernel(weight, channels=1)
    check_divides("x.shape[1]", x.shape[1], kernels=weight.shape[0])
    side = weight.shape[-1]
    multiplier = weight.shape[0] // x.shape[1]
    sources = x.repeat_interleave(multiplier, dim=1)  # (N, m c, H, W)
    padded = F.pad(sources, [side // 2] * 4)  # (N, m c, H + k - 1, W + k - 1)
    height, width = x.shape[2:]
    y = torch.zeros_like(sources)
    for u in range(side):
        for v in range(side):
            shifted = padded[:, :, u : u + height, v : v + width]
            y = y + weight[:, :, u, v, None] * shifted  # (m c, 1, 1) by (N, m c, H, W)
    return y


class DepthwiseConv2d(nn.Conv2d):
    """The same by PyTorch's ``groups`` argument, one group a channel.

    Args:
        channels: Channels c of the input.
        kernel_size: Side k of the kernels; odd.
        multiplier: Kernels m for each channel.
        stride: Pixels from one output to the next.

    Raises:
        ValueError: If a number is below 1 or the kernel side is even.

    Example:
        >>> DepthwiseConv2d(16, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 16, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        *,
        multiplier: int = 1,
        stride: int = 1,
    ) -> None:
        check_positive(channels=channels, kernel_size=kernel_size)
        check_positive(multiplier=multiplier, stride=stride)
        check_odd(kernel_size=kernel_size)
        super().__init__(
            channels,
            channels * multiplier,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=channels,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, m c, ceil(H / stride), ceil(W / stride)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return super().forward(x)


class SeparableConv2d(nn.Module):
    """Depthwise, then pointwise, with nothing between.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side k of the depthwise kernels; odd.
        stride: Stride of the depthwise step.

    Raises:
        ValueError: If a number is below 1 or the kernel side is even.

    Example:
        >>> SeparableConv2d(16, 32)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels)
        self.depthwise = DepthwiseConv2d(in_channels, kernel_size, stride=stride)
        self.pointwise = PointwiseConv2d(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / stride), ceil(W / stride)) for x of (N, c, H, W)."""
        return self.pointwise(self.depthwise(x))


def depthwise_cost(
    channels: int, kernel_size: int, output_size: Size, *, multiplier: int = 1
) -> ConvCost:
    """Return parameters, MACs and memory access for stride 1, without bias.

    Args:
        channels: Channels c of the input.
        kernel_size: Side k of the kernels.
        output_size: H = W, or (H, W).
        multiplier: Kernels m for each channel.

    Example:
        >>> depthwise_cost(64, 3, 56)
        ConvCost(parameters=576, macs=1806336, memory_access=401984)
    """
    outputs = channels * multiplier
    return conv_cost(channels, outputs, kernel_size, output_size, groups=channels)


def separable_cost(
    in_channels: int, out_channels: int, kernel_size: int, output_size: Size
) -> ConvCost:
    """Return the cost of both steps, the maps between them written and read.

    Example:
        >>> separable_cost(64, 128, 3, 56)
        ConvCost(parameters=8768, macs=27496448, memory_access=1012288)
    """
    spatial = depthwise_cost(in_channels, kernel_size, output_size)
    return spatial + pointwise_cost(in_channels, out_channels, output_size)


def separable_saving(out_channels: int, kernel_size: int) -> float:
    """Return by what factor an ordinary convolution costs more: 1 / (1/n + 1/k^2).

    Example:
        >>> round(1 / separable_saving(512, 3), 4)
        0.1131
    """
    check_positive(out_channels=out_channels, kernel_size=kernel_size)
    return 1 / (1 / out_channels + 1 / kernel_size**2)
