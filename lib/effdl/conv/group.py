"""Group convolution: g narrow convolutions side by side.

Papers: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural
Networks", NeurIPS 2012, reprinted as https://doi.org/10.1145/3065386, with g = 2
because one GPU could not hold the network; Xie et al., "Aggregated Residual
Transformations for Deep Neural Networks", CVPR 2017,
https://arxiv.org/abs/1611.05431, with g = 32 by choice.

Cut the c input channels into g groups. Convolve every group by itself, with a kernel
of (c / g) x k x k for each output channel, and lay the results side by side:

    Y_i = W_i * X_i     i = 1..g, X_i has c / g channels, Y_i has n / g
    Y   = [Y_1, ..., Y_g]

Each output channel sums over c / g channels instead of c, so parameters and MACs
fall by exactly g. In the n x c table of kernels only g blocks on the diagonal are
left: g = 1 is the ordinary convolution, g = c the depthwise one.

The price: no output sees another group, however many such layers follow, unless
something mixes the channels (:mod:`effdl.conv.channel_shuffle`, or a pointwise
layer). And the maps move through memory as before, so time falls by far less than g.
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


def group_conv(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Return the equations above: split, convolve each, concatenate.

    Raises ``ValueError`` if ``x`` is not a batch of c feature maps, g does not divide
    n, or ``weight`` is not as below.

    Args:
        x: Feature maps, (N, c, H, W).
        weight: The W_i one below the other, (n, c / g, k, k), k odd.
        groups: Groups g.

    Returns:
        (N, n, H, W); the border is padded with zeros.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1)
        >>> group_conv(x, torch.ones(2, 2, 1, 1), groups=2).flatten().tolist()
        [3.0, 7.0]
    """
    check_positive(groups=groups)
    check_kernel(weight)
    check_images(x, weight.shape[1] * groups)
    check_divides("groups", groups, out_channels=weight.shape[0])
    padding = weight.shape[-1] // 2
    pairs = zip(x.chunk(groups, dim=1), weight.chunk(groups, dim=0), strict=True)
    return torch.cat([F.conv2d(x_i, w_i, padding=padding) for x_i, w_i in pairs], dim=1)


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """Return the ordinary weight that computes the same, zero outside g blocks.

    Raises ``ValueError`` if g does not divide n.

    Args:
        weight: As for :func:`group_conv`, (n, c / g, k, k).
        groups: Groups g.

    Returns:
        (n, c, k, k).

    Example:
        >>> block_diagonal(torch.ones(4, 1, 1, 1), groups=2)[:, :, 0, 0].tolist()
        [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    check_positive(groups=groups)
    check_divides("groups", groups, out_channels=weight.shape[0])
    rows, columns = weight.shape[0] // groups, weight.shape[1]  # n / g, c / g
    dense = weight.new_zeros(weight.shape[0], columns * groups, *weight.shape[2:])
    for i, block in enumerate(weight.chunk(groups, dim=0)):
        dense[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = block
    return dense


class GroupConv2d(nn.Conv2d):
    """The same by PyTorch's ``groups`` argument, which takes the same weight.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side k of the kernel; odd.
        groups: Groups g, a divisor of both channel numbers.
        stride: Pixels from one output to the next.

    Raises:
        ValueError: If a number is below 1, ``groups`` does not divide the channels,
            or the kernel side is even.

    Example:
        >>> GroupConv2d(16, 32, groups=4)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        groups: int = 2,
        stride: int = 1,
    ) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_positive(kernel_size=kernel_size, groups=groups, stride=stride)
        check_divides(
            "groups", groups, in_channels=in_channels, out_channels=out_channels
        )
        check_odd(kernel_size=kernel_size)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / stride), ceil(W / stride)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return super().forward(x)


def group_cost(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    output_size: Size,
    *,
    groups: int = 2,
) -> ConvCost:
    """Return parameters, MACs and memory access for stride 1, without bias.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side k of the kernel.
        output_size: H = W, or (H, W).
        groups: Groups g.

    Example:
        >>> group_cost(64, 128, 3, 56, groups=4)
        ConvCost(parameters=18432, macs=57802752, memory_access=620544)
    """
    return conv_cost(in_channels, out_channels, kernel_size, output_size, groups=groups)


def group_saving(
    in_channels: int, kernel_size: int, *, groups: int = 2, bias: bool = False
) -> float:
    """Return by what factor an ordinary convolution has more parameters: g.

    Without bias this is the factor of the MACs, too, whatever channels and kernel.

    Raises ``ValueError`` if a number is below 1 or g does not divide c.

    Args:
        in_channels: Channels c of the input.
        kernel_size: Side k of both kernels.
        groups: Groups g.
        bias: Whether both layers have one.

    Example:
        >>> group_saving(64, 3, groups=4), group_saving(4, 1, groups=4, bias=True)
        (4.0, 2.5)
    """
    check_positive(in_channels=in_channels, kernel_size=kernel_size, groups=groups)
    check_divides("groups", groups, in_channels=in_channels)
    taps = in_channels * kernel_size**2
    return (taps + bias) / (taps // groups + bias)
