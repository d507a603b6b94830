"""Partial convolution: convolve some of the channels, pass the others on.

Paper: Chen et al., "Run, Don't Walk: Chasing Higher FLOPS for Faster Neural
Networks", CVPR 2023, https://arxiv.org/abs/2303.03667 (FasterNet). The "partial
convolution" of Liu et al. 2018, for images with holes, is something else.

Of c channels, an ordinary k x k convolution sees and changes the first c_p = r c
only; the paper takes r = 1/4 and k = 3:

    Y[:c_p] = W * X[:c_p]
    Y[c_p:] = X[c_p:]

    MACs          c_p^2 k^2 H W              r^2 of the ordinary convolution: 1/16
    memory access 2 c_p H W + c_p^2 k^2      about r of it: 1/4

A depthwise convolution of many channels needs fewer MACs, but reads and writes all c
maps. That is the paper's point: MACs per second count, not MACs alone.

The memory access is that of the in-place form, :func:`partial_conv_`. The layer copies
the untouched channels into a new tensor, because training and a residual connection
need X again. And the untouched channels learn only through what follows: the paper
lets two pointwise layers mix all c.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import (
    check_images,
    check_kernel,
    check_odd,
    check_positive,
    check_share,
)
from effdl.conv.cost import ConvCost, Size, conv_cost


def partial_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Return the equations above: split, convolve the first part, concatenate.

    Raises ``ValueError`` if ``x`` is not a batch or ``weight`` is not as below.

    Args:
        x: Feature maps, (N, c, H, W); not changed.
        weight: Kernels W, (c_p, c_p, k, k), k odd and c_p at most c.

    Returns:
        (N, c, H, W); the border is padded with zeros.

    Example:
        >>> x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
        >>> partial_conv(x, torch.full((1, 1, 1, 1), 10.0)).flatten().tolist()
        [10.0, 2.0]
    """
    touched = _touched_channels(x, weight)  # c_p
    first, rest = x[:, :touched], x[:, touched:]
    return torch.cat((_convolve(first, weight), rest), dim=1)


def partial_conv_(x: Tensor, weight: Tensor) -> Tensor:
    """Overwrite the first c_p channels of ``x`` with W * X[:c_p], and return ``x``.

    The result of :func:`partial_conv`, without moving the other channels. For
    inference: what needed the old ``x``, such as a gradient, finds it gone.

    Raises ``ValueError`` if ``x`` is not a batch or ``weight`` is not as below.

    Args:
        x: Feature maps, (N, c, H, W); changed.
        weight: Kernels W, (c_p, c_p, k, k), k odd and c_p at most c.

    Returns:
        ``x`` itself.

    Example:
        >>> x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
        >>> _ = partial_conv_(x, torch.full((1, 1, 1, 1), 10.0))
        >>> x.flatten().tolist()
        [10.0, 2.0]
    """
    touched = _touched_channels(x, weight)
    x[:, :touched] = _convolve(x[:, :touched], weight)
    return x


class PartialConv2d(nn.Module):
    """Partial convolution as a layer: split, convolve the first part, concatenate.

    Args:
        channels: Channels c of input and output.
        kernel_size: Side k of the kernel; odd.
        share: Share r of the channels to convolve; r c is rounded down.

    Raises:
        ValueError: If a number is below 1, the kernel side is even, ``share`` is not
            above 0 and at most 1, or leaves no channel to convolve.

    Example:
        >>> PartialConv2d(16)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 16, 9, 9])
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, *, share: float = 0.25
    ) -> None:
        super().__init__()
        check_positive(kernel_size=kernel_size)
        check_odd(kernel_size=kernel_size)
        touched = touched_channels(channels, share)
        self.channels = channels
        self.conv = nn.Conv2d(
            touched, touched, kernel_size, padding=kernel_size // 2, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, H, W) for x of (N, c, H, W), which is not changed.

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.channels)
        touched = self.conv.in_channels  # c_p
        return torch.cat((self.conv(x[:, :touched]), x[:, touched:]), dim=1)


def touched_channels(channels: int, share: float) -> int:
    """Return c_p, the number of channels that a share r of all c comes to.

    Raises:
        ValueError: If ``channels`` is below 1, ``share`` is not above 0 and at most
            1, or their product is below 1.

    Example:
        >>> touched_channels(64, 0.25), touched_channels(10, 0.25)
        (16, 2)
    """
    check_positive(channels=channels)
    check_share(share=share)
    touched = math.floor(channels * share + 1e-9)  # 100 * 0.29 is 28.999999999999996
    if touched < 1:
        raise ValueError(
            f"share={share} of channels={channels} is less than one channel; "
            f"use a share of at least {math.ceil(1e4 / channels) / 1e4:g}"
        )
    return touched


def partial_cost(
    channels: int, kernel_size: int, output_size: Size, *, share: float = 0.25
) -> ConvCost:
    """Return parameters, MACs and memory access of the in-place form.

    Args:
        channels: Channels c of input and output.
        kernel_size: Side k of the kernel.
        output_size: H = W, or (H, W).
        share: Share r of the channels to convolve.

    Example:
        >>> partial_cost(64, 3, 56)
        ConvCost(parameters=2304, macs=7225344, memory_access=102656)
    """
    touched = touched_channels(channels, share)
    return conv_cost(touched, touched, kernel_size, output_size)


def partial_saving(share: float = 0.25) -> float:
    """Return by what factor an ordinary convolution costs more, 1 / r^2.

    Example:
        >>> partial_saving(0.25)
        16.0
    """
    check_share(share=share)
    return 1 / share**2


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def _touched_channels(x: Tensor, weight: Tensor) -> int:
    """Return c_p, once input and kernel fit each other.

    Raises:
        ValueError: If c_p is above c.
    """
    check_images(x)
    check_kernel(weight, *weight.shape[:1])  # c_p outputs, so c_p inputs
    touched = weight.shape[0]
    if touched > x.shape[1]:
        raise ValueError(
            f"weight convolves {touched} channels, but x has {x.shape[1]}; "
            "use a smaller share"
        )
    return touched
