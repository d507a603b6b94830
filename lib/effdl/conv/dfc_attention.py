"""DFC attention: a gate that looks along the rows and the columns of a map.

Paper: Tang et al., "GhostNetV2: Enhance Cheap Operation with Long-Range Attention",
NeurIPS 2022, https://arxiv.org/abs/2211.12905. DFC: decoupled fully connected.

Cheap layers see a few neighbours. A fully connected layer over all pixels would see
everything, one weight for each pair of pixels and each channel, at H W multiplications
a pixel. Decoupled, it sums over a column first and over a row then, H + W
multiplications a pixel, and still every pixel reaches every other one:

    a_hw  = sum over h', w' of F[hw, h'w'] z_h'w'           fully connected
    a'_hw = sum over h' of F^H[h, h'w] z_h'w                decoupled: columns,
    a_hw  = sum over w' of F^W[w, hw'] a'_hw'               then rows

:func:`decoupled_fc` computes the last two lines. They fix the image size. So let the
weights depend on h' - h and w' - w only, the same all over the map: that is a K x 1
and a 1 x K depthwise convolution, for any size. With K >= 2 H - 1 and K >= 2 W - 1
nothing of the sums is lost; the networks take K = 5. The gate for c channels x:

    z    = BN(pointwise(averages of 2 x 2 pixels of x))      c to n channels
    gate = nearest(sigmoid(BN(K x 1 (BN(1 x K (z))))))       back to H x W
    y    = gate * ghost(x)                                   in GhostNetV2

Working on a quarter of the pixels makes the gate cheap. It has no activation before
the sigmoid, and multiplies each pixel of each channel by a number of its own, where
squeeze-and-excitation has one number for a whole channel.

The paper sums over columns first; the authors' code, and we, over rows first. Without
borders and batch norm the order would not matter. The code enlarges by repetition, too,
where the paper writes of bilinear interpolation. "Long range" is a matter of the map:
K = 5 at half resolution reaches 10 pixels, little of 56 but all of 7.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn
from effdl.checks import (
    check_image_size,
    check_images,
    check_odd,
    check_positive,
)
from effdl.conv.cost import ConvCost, Size, conv_cost, pixels


def decoupled_fc(z: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Return the two decoupled sums, over the columns and then over the rows.

    Args:
        z: Feature maps, (N, C, H, W).
        vertical: Weights F^H, (C, H, H, W): element [c, h, h', w] says what pixel h'
            of column w counts for pixel h. (C, H, H, 1) shares them among columns.
        horizontal: Weights F^W, (C, W, W, H): element [c, w, w', h] says what pixel w'
            of row h counts for pixel w. (C, W, W, 1) shares them among rows.

    Returns:
        (N, C, H, W), before any sigmoid.

    Raises ``ValueError`` if ``z`` is not a batch or a weight has another shape.

    Example:
        >>> z = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
        >>> ones = torch.ones(1, 2, 2, 1)
        >>> decoupled_fc(z, ones, ones).flatten().tolist()  # all pixels, everywhere
        [10.0, 10.0, 10.0, 10.0]
    """
    check_images(z)
    channels, height, width = z.shape[1:]
    _check_weight("vertical", vertical, (channels, height, height, width))
    _check_weight("horizontal", horizontal, (channels, width, width, height))
    columns = torch.einsum("chkw,nckw->nchw", vertical, z)  # k is h'
    return torch.einsum("cwkh,nchk->nchw", horizontal, columns)  # k is w'


def shared_weights(kernel: Tensor, size: int) -> Tensor:
    """Return a 1-d kernel as weights for :func:`decoupled_fc`, the same everywhere.

    Element [c, i, j] is ``kernel[c, j - i + K // 2]``, or 0 where the kernel ends.

    Args:
        kernel: One kernel a channel, (C, K), K odd.
        size: H for vertical, W for horizontal weights; at least 1.

    Returns:
        (C, size, size, 1).

    Raises ``ValueError`` if K is even or ``size`` below 1.

    Example:
        >>> shared_weights(torch.tensor([[1.0, 2.0, 3.0]]), 3)[0, :, :, 0].tolist()
        [[2.0, 3.0, 0.0], [1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]
    """
    taps = kernel.shape[1]
    check_positive(size=size)
    check_odd(kernel_size=taps)
    place = torch.arange(size, device=kernel.device)
    tap = place[None, :] - place[:, None] + taps // 2  # (size, size)
    inside = (tap >= 0) & (tap < taps)
    return (kernel[:, tap.clamp(0, taps - 1)] * inside)[..., None]


class DfcGate(nn.Module):
    """The gate of DFC attention, to be multiplied with maps of the same size.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the maps to gate.
        kernel_size: Length K of both 1-d convolutions; odd.

    Raises ``ValueError`` if a number is below 1 or ``kernel_size`` is even.

    Example:
        >>> DfcGate(16, 24)(torch.zeros(1, 16, 9, 8)).shape
        torch.Size([1, 24, 9, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 5
    ) -> None:
        super().__init__()
        check_positive(kernel_size=kernel_size)
        check_odd(kernel_size=kernel_size)
        self.in_channels = in_channels
        self.project = conv_bn(in_channels, out_channels, 1, activation=None)
        self.horizontal = _line_conv_bn(out_channels, (1, kernel_size))
        self.vertical = _line_conv_bn(out_channels, (kernel_size, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return numbers between 0 and 1, (N, n, H, W), for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c maps of at least 2 x 2.
        """
        check_images(x, self.in_channels)
        check_image_size(x, 2)
        z = self.project(F.avg_pool2d(x, 2))  # (N, n, H // 2, W // 2)
        gate = torch.sigmoid(self.vertical(self.horizontal(z)))
        return F.interpolate(gate, size=x.shape[-2:], mode="nearest")


def dfc_cost(
    in_channels: int, out_channels: int, output_size: Size, *, kernel_size: int = 5
) -> ConvCost:
    """Return the cost of the three convolutions, at half the resolution.

    Batch norm, pooling, sigmoid, enlarging and the product are not counted.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the maps to gate.
        output_size: H = W, or (H, W), of the maps to gate; halves are rounded down.
        kernel_size: Length K of both 1-d convolutions.

    Raises:
        ValueError: If a number is below 1, or a side of ``output_size`` below 2.

    Example:
        >>> dfc_cost(40, 120, 28)
        ConvCost(parameters=6000, macs=1176000, memory_access=131440)
    """
    check_positive(kernel_size=kernel_size)
    sides = output_size if isinstance(output_size, tuple) else (output_size,) * 2
    if min(sides) < 2:
        raise ValueError(
            f"output_size must be at least 2 x 2, got {sides[0]} x {sides[1]}; "
            "a gate halves it"
        )
    half = sides[0] // 2, sides[1] // 2
    weights = 2 * kernel_size * out_channels
    moved = 4 * out_channels * pixels(half) + weights  # each convolution: in and out
    lines = ConvCost(weights, weights * pixels(half), moved)
    return conv_cost(in_channels, out_channels, 1, half) + lines


def _line_conv_bn(channels: int, kernel_size: tuple[int, int]) -> nn.Sequential:
    """Return a depthwise 1-d convolution that keeps the size, and batch norm."""
    padding = kernel_size[0] // 2, kernel_size[1] // 2
    conv = nn.Conv2d(
        channels, channels, kernel_size, padding=padding, groups=channels, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def _check_weight(name: str, weight: Tensor, shape: tuple[int, ...]) -> None:
    """Require a shape, or the shape with 1 in the last place.

    Raises:
        ValueError: If the shape is another.
    """
    if tuple(weight.shape) not in (shape, (*shape[:3], 1)):
        raise ValueError(
            f"{name} must have shape {shape}, or 1 in the last place, "
            f"got {tuple(weight.shape)}; shared_weights() makes one from a kernel"
        )
