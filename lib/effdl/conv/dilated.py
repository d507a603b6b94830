"""Dilated (atrous) convolution: the same weights, further apart.

Paper: Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR
2016, https://arxiv.org/abs/1511.07122, section 2.

Rate d puts d pixels, not one, from each tap of a k x k kernel to the next:

    y[o, h, w] = sum_{c, u, v} W[o, c, u, v] x[c, h + d u, w + d v]    u, v from centre

Rate 1 is the ordinary convolution. Parameters and MACs do not depend on d; what grows
is the side of the square that the taps span, and with it the receptive field of a
stack of layers with stride 1 and rates d_l:

    k_eff = k + (k - 1)(d - 1)          3 x 3: rate 1 spans 3, rate 2 spans 5
    field = 1 + sum_l (k - 1) d_l       3 x 3, rates 1, 2, 4: 15

Some texts count the zeros between the taps, d - 1, and call the kernel that spans 5 x 5
"rate 1". The paper, PyTorch, TensorFlow and this file do not.
A span of 5 x 5 is not a 5 x 5 kernel: 9 of its 25 pixels are seen. A stack whose rates
share a factor never sees the pixels between (gridding): vary the rates.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_images, check_kernel, check_odd, check_positive
from effdl.conv.cost import ConvCost, Size, conv_cost
from effdl.conv.pointwise import pointwise
from effdl.measure.probe import undisturbed


def dilated_conv(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Return the equation above: one pointwise convolution for each tap, shifted.

    Raises ``ValueError`` if ``x`` is not c maps, d below 1, or ``weight`` not as below.

    Args:
        x: Feature maps, (N, c, H, W).
        weight: Kernels W, (n, c, k, k), k odd.
        dilation: Rate d.

    Returns:
        (N, n, H, W); the border is padded with zeros.

    Example:
        >>> x = torch.arange(5.0).reshape(1, 1, 1, 5)
        >>> row = torch.zeros(1, 1, 3, 3)
        >>> row[0, 0, 1] = 1.0  # the pixel itself and one at each side
        >>> dilated_conv(x, row, dilation=2).flatten().tolist()
        [2.0, 4.0, 6.0, 4.0, 6.0]
    """
    check_kernel(weight)
    check_images(x, weight.shape[1])
    check_positive(dilation=dilation)
    side = weight.shape[-1]
    padded = F.pad(x, [dilation * (side // 2)] * 4)
    count, _, height, width = x.shape
    y = x.new_zeros(count, len(weight), height, width)
    for u in range(side):
        for v in range(side):
            top, left = dilation * u, dilation * v
            shifted = padded[:, :, top : top + height, left : left + width]
            y = y + pointwise(shifted, weight[:, :, u, v])
    return y


def dilate_kernel(weight: Tensor, dilation: int) -> Tensor:
    """Return the ordinary kernel that computes the same: zeros between the taps.

    Args:
        weight: Kernels, (n, c, k, k).
        dilation: Rate d, at least 1.

    Returns:
        (n, c, k_eff, k_eff).

    Example:
        >>> dilate_kernel(torch.ones(1, 1, 2, 2), dilation=2)[0, 0].tolist()
        [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    """
    span = effective_kernel_size(weight.shape[-1], dilation)
    stuffed = weight.new_zeros(*weight.shape[:2], span, span)
    stuffed[:, :, ::dilation, ::dilation] = weight
    return stuffed


class DilatedConv2d(nn.Conv2d):
    """The same by PyTorch's ``dilation`` argument, which takes the same weight.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side k of the kernel; odd.
        dilation: Rate d; 1 is the ordinary convolution.
        stride: Pixels from one output to the next.

    Raises:
        ValueError: If a number is below 1 or the kernel side is even.

    Example:
        >>> DilatedConv2d(16, 32, dilation=4)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        dilation: int = 2,
        stride: int = 1,
    ) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_positive(kernel_size=kernel_size, dilation=dilation, stride=stride)
        check_odd(kernel_size=kernel_size)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / stride), ceil(W / stride)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return super().forward(x)


def effective_kernel_size(kernel_size: int, dilation: int) -> int:
    """Return k_eff, the side of the square that the taps span.

    Example:
        >>> [effective_kernel_size(3, dilation=d) for d in (1, 2, 4)]
        [3, 5, 9]
    """
    check_positive(kernel_size=kernel_size, dilation=dilation)
    return kernel_size + (kernel_size - 1) * (dilation - 1)


def receptive_field(dilations: Sequence[int], kernel_size: int = 3) -> int:
    """Return the side of the input square that a stack of such layers spans.

    Args:
        dilations: The rates d_l, one for each layer; every layer has stride 1.
        kernel_size: Side k of all kernels.

    Example:
        >>> receptive_field([1, 1, 1]), receptive_field([1, 2, 4])
        (7, 15)
    """
    return 1 + sum(effective_kernel_size(kernel_size, d) - 1 for d in dilations)


def seen_pixels(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return which input pixels the central output pixel depends on, measured.

    A pixel is seen if the output's derivative by it is not 0. Dead ReLUs hide pixels.

    Args:
        model: Maps (N, C, H, W) to (N, C', H', W'). Runs in eval mode; left as it was.
        inputs: One batch, (N, C, H, W).

    Returns:
        True where a pixel is seen in any image and channel, (H, W).

    Example:
        >>> layer = DilatedConv2d(1, 1, dilation=3)
        >>> int(seen_pixels(layer, torch.rand(1, 1, 7, 7)).sum())
        9
    """
    check_images(inputs)
    with undisturbed(model):
        leaf = inputs.detach().clone().requires_grad_()
        outputs = model(leaf)
        height, width = outputs.shape[2:]
        centre = outputs[:, :, height // 2, width // 2].sum()
        (gradient,) = torch.autograd.grad(centre, leaf)
    return gradient.abs().amax(dim=(0, 1)) > 0


def dilated_cost(
    in_channels: int, out_channels: int, kernel_size: int, output_size: Size
) -> ConvCost:
    """Return the cost for stride 1: that of rate 1, as d is in none of the counts.

    Example:
        >>> dilated_cost(64, 128, 3, 56) == conv_cost(64, 128, 3, 56)
        True
    """
    return conv_cost(in_channels, out_channels, kernel_size, output_size)
