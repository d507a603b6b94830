"""The eight operations of DARTS, and how one of them halves the resolution.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 3.1.1.

    none           0
    skip_connect   x                        with stride 2: a factorised reduction
    *_pool_3x3     the mean or the largest of the pixels around
    sep_conv_kxk   twice:  ReLU, depthwise k x k, pointwise, batch norm
    dil_conv_kxk   once:   ReLU, depthwise k x k with rate 2, pointwise, batch norm

Only the first half of a separable convolution has the stride. A factorised reduction
reads every other pixel with half of its filters and, shifted by one pixel along both
axes, every other of the rest with the other half:

    BN(cat(W_1 ReLU(x)[0::2, 0::2], W_2 ReLU(x)[1::2, 1::2]))

so it sees half of the pixels, where one convolution with stride 2 would see a quarter.

Beyond the authors' code: maps of odd size get a row or a column of zeros in the shifted
half. There, such a map ends in an error.

What differs: batch norm always learns a scale and a shift, as in the networks that are
evaluated. In the search of DARTS it does not, and follows the poolings, too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.cell_net import ReluConvBn
from effdl.nas.darts_space import OPERATIONS


class Zero(nn.Module):
    """The operation none: zeros, (N, C, H, W) to (N, C, ceil(H / stride), ...).

    Args:
        stride: 1 or more.

    Example:
        >>> Zero(stride=2)(torch.ones(1, 2, 5, 5)).sum().item()
        0.0
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        check_positive(stride=stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the output's shape."""
        return torch.zeros_like(x[..., :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """A skip that halves the resolution, (N, in, H, W) to (N, out, ceil(H / 2), ...).

    Args:
        in_channels: At least 1.
        out_channels: At least 2; an odd one gives the shifted half one more.

    Example:
        >>> FactorizedReduce(4, 6)(torch.zeros(1, 4, 8, 7)).shape
        torch.Size([1, 6, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        check_positive(in_channels=in_channels, half_of_out_channels=half)
        self.even = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of half the height and width."""
        x = x.relu()
        height, width = x.shape[-2:]
        shifted = F.pad(x, (0, width % 2, 0, height % 2))[..., 1:, 1:]
        return self.norm(torch.cat((self.even(x), self.odd(shifted)), dim=1))


def separable_conv(channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Return a separable convolution of DARTS: two of ReLU, depthwise, pointwise, BN.

    Args:
        channels: Of input and output.
        kernel_size: Odd.
        stride: Of the first depthwise convolution.

    Example:
        >>> separable_conv(4, 3, stride=2)(torch.zeros(1, 4, 8, 8)).shape
        torch.Size([1, 4, 4, 4])
    """
    return nn.Sequential(
        *_depthwise_pointwise(channels, kernel_size, stride=stride),
        *_depthwise_pointwise(channels, kernel_size),
    )


def dilated_conv(channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Return a dilated convolution of DARTS: ReLU, depthwise of rate 2, pointwise, BN.

    Args:
        channels: Of input and output.
        kernel_size: Odd; the taps span 2 (kernel_size - 1) + 1 pixels.
        stride: Of the depthwise convolution.

    Example:
        >>> dilated_conv(4, 5)(torch.zeros(1, 4, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """
    layers = _depthwise_pointwise(channels, kernel_size, stride=stride, dilation=2)
    return nn.Sequential(*layers)


def darts_operation(name: str, channels: int, stride: int = 1) -> nn.Module:
    """Return the module of an operation, (N, channels, H, W) to the same channels.

    Args:
        name: From ``OPERATIONS`` of :mod:`effdl.nas.darts_space`.
        channels: At least 1, or 2 for a skip with stride 2.
        stride: 1 in a normal cell, 2 on what reads the inputs of a reduction cell.

    Raises:
        ValueError: If there is no such operation, or the stride is another.

    Example:
        >>> darts_operation("skip_connect", 8)
        Identity()
    """
    check_positive(channels=channels)
    if stride not in (1, 2):
        raise ValueError(f"stride must be 1 or 2, got {stride}")
    if name not in OPERATIONS:
        raise ValueError(f"unknown operation {name!r}; choose from {list(OPERATIONS)}")
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    conv = separable_conv if name.startswith("sep") else dilated_conv
    return conv(channels, int(name[-1]), stride)


def preprocess(in_channels: int, channels: int, *, halve: bool) -> nn.Module:
    """Return what brings an input of a cell to its channels and its resolution.

    Args:
        in_channels: Of the earlier cell's output.
        channels: Of the nodes.
        halve: Whether the earlier cell stands before a reduction: twice the resolution.

    Example:
        >>> preprocess(16, 8, halve=True)(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 8, 4, 4])
    """
    if halve:
        return FactorizedReduce(in_channels, channels)
    return ReluConvBn(in_channels, channels, 1)


def _depthwise_pointwise(
    channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1
) -> tuple[nn.Module, ...]:
    depthwise = nn.Conv2d(
        channels,
        channels,
        kernel_size,
        stride,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        groups=channels,
        bias=False,
    )
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels)
