"""XNOR-Net: signs with a scale, for weights and for inputs of a convolution.

Paper: Rastegari et al., "XNOR-Net: ImageNet Classification Using Binary Convolutional
Neural Networks", ECCV 2016, https://arxiv.org/abs/1603.05279.

Which signs B and scale alpha are nearest to the n weights W of a filter?

    |W - alpha B|^2 = |W|^2 - 2 alpha sum(W B) + n alpha^2

For any alpha > 0 it is least where sum(W B) is largest, at B = sign(W). Then sum(W B) =
sum ``|W|``, and alpha = sum ``|W|`` / n. What is left over is |W|^2 - n alpha^2.

    Binary-Weight-Network    I * W ~ alpha (I * B)
    XNOR-Net                 I * W ~ alpha K (sign(I) * B)

alpha leaves the convolution and scales an output channel. It could not scale the input,
which all filters read and each has its own alpha. The input's scale is K: the mean over
the channels of ``|I|``, averaged over the window of each output pixel.

    backward     g(W) = g(alpha B) (1 / n + alpha [|W| <= 1])

This is the paper's. The full derivative of alpha would add the other weights of the
filter to the first term: sign(W_i) / n sum over j of g_j sign(W_j).

What differs: the authors' program multiplies the gradient by n (1 - 1 / c), subtracts
the mean over the c channels from W, and clips W, before every step.

Before trusting it: K comes from float inputs, costs a convolution of one channel, and
is left out of the speed-up formula. Padding adds zeros, which are no signs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear
from effdl.checks import check_images, check_odd, check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign
from effdl.quant.straight_signs import clipped_sign


def nearest_signs(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha (filters,) and the signs B, of the weight's shape; no gradient.

    Args:
        weight: (filters, ...), at least two dimensions.

    Raises:
        ValueError: If it has fewer dimensions or is empty.

    Example:
        >>> alpha, signs = nearest_signs(torch.tensor([[0.5, -1.0, 0.0]]))
        >>> alpha.tolist(), signs.tolist()
        ([0.5], [[1.0, -1.0, 1.0]])
    """
    if weight.ndim < 2 or not weight.numel():
        shape = tuple(weight.shape)
        raise ValueError(f"weight must be (filters, ...), got shape {shape}")
    return weight.detach().abs().flatten(1).mean(dim=1), sign(weight)


class ScaledSigns(nn.Module):
    """A weight as alpha B, with the gradient of the paper: a Binary-Weight-Network.

    It is a parametrization, and may be what a weight factory of
    :mod:`effdl.quant.insert` returns.

    Example:
        >>> ScaledSigns()(torch.tensor([[0.5, -1.0, 0.0]]))
        tensor([[ 0.5000, -0.5000,  0.5000]])
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return alpha B, of the shape of the weight (filters, ...)."""
        alpha, signs = nearest_signs(weight)
        alpha = alpha.reshape(-1, *[1] * (weight.ndim - 1))
        inside = torch.where(weight.detach().abs() <= 1, alpha, 0)
        slope = 1 / weight[0].numel() + inside
        return straight_through(slope * weight, alpha * signs)


def input_scale(x: Tensor, kernel_size: int, *, stride: int = 1) -> Tensor:
    """Return K, (N, 1, ceil(H / stride), ceil(W / stride)).

    At the border the window holds zeros, and they count.

    Args:
        x: Images (N, C, H, W).
        kernel_size: Side of the convolution's kernel; odd. Half of it is padded.
        stride: Of the convolution.

    Example:
        >>> input_scale(torch.tensor([[[[9.0]], [[-3.0]]]]), 1).item()
        6.0
    """
    check_images(x)
    check_odd(kernel_size=kernel_size)
    size = x.abs().mean(dim=1, keepdim=True)
    return F.avg_pool2d(size, kernel_size, stride, kernel_size // 2)


class XnorConv2d(nn.Module):
    """A convolution of signs, scaled by alpha and K, in floats.

    Maps (N, c, H, W) to (N, n, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side of the kernel; odd.
        stride: Pixels from one output to the next.
        scaled_input: Whether to scale by K.

    Example:
        >>> layer = XnorConv2d(3, 8, 3, stride=2)
        >>> layer(torch.randn(2, 3, 9, 9)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        scaled_input: bool = True,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_positive(stride=stride)
        check_odd(kernel_size=kernel_size)
        self.stride, self.scaled_input = stride, scaled_input
        side, area = kernel_size, in_channels * kernel_size**2
        start = torch.empty(out_channels, in_channels, side, side)
        self.weight = nn.Parameter(start.uniform_(-1, 1) / math.sqrt(area))
        self.binarize = ScaledSigns()

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, H', W')."""
        side, stride = self.weight.shape[-1], self.stride
        weight = self.binarize(self.weight)
        y = F.conv2d(clipped_sign(x), weight, stride=stride, padding=side // 2)
        return y * input_scale(x, side, stride=stride) if self.scaled_input else y


def xnor_net(width: int, *, in_channels: int = 1, classes: int = 10) -> nn.Sequential:
    """Return :func:`effdl.blocks.plain_net` with signs in four of five convolutions.

    Each of them is batch norm, sign, convolution. The first convolution and the linear
    layer are real, as in the paper.

    Args:
        width: As of ``plain_net``, and so are the others; ``ValueError`` below 1.
        in_channels: Channels of the images.
        classes: Logits.

    Example:
        >>> xnor_net(4)(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    layers: list[nn.Module] = [conv_bn(in_channels, width, 3)]
    channels = width
    for factor, stride in zip((1, 2, 2, 4), (2, 1, 2, 1), strict=True):
        conv = XnorConv2d(channels, factor * width, 3, stride=stride)
        layers += [nn.BatchNorm2d(channels), conv]
        channels = factor * width
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, *mean_linear(channels, classes))


def speed_up(channels: int, kernel_area: int) -> float:
    """Return S = 64 c a / (c a + 64), the paper's ratio of numbers of operations.

    A word of 64 bits does 64 products; one float product an output scales the sum. It
    counts, and measures nothing.

    Args:
        channels: Channels c of the input.
        kernel_area: Weights a of a kernel in one channel, such as 9.

    Example:
        >>> round(speed_up(256, 9), 2)
        62.27
    """
    check_positive(channels=channels, kernel_area=kernel_area)
    products = channels * kernel_area
    return 64 * products / (products + 64)
