"""Sandglass block: the wide ends of ResNet again, and depthwise layers at both ends.

Paper: Zhou et al., "Rethinking Bottleneck Structure for Efficient Mobile Network
Design", ECCV 2020, https://arxiv.org/abs/2007.02269, section 3.

The inverted residual passes narrow maps from block to block and through its shortcut.
Here the wide maps pass, and the 3 x 3 filters work on them; only the channel mixing
goes through a narrow middle of c / t channels:

    h = relu6(bn(u * x))       depthwise 3 x 3 on c channels
    h = bn(R h)                1 x 1, c to m channels, linear: the narrow middle
    h = relu6(bn(E h))         1 x 1, m to n channels
    y = bn(v * h)              depthwise 3 x 3 on n channels, stride s, linear
    y = x + y                  if s = 1 and n = c

    MACs    H W (9 c + c m + m n) + (H W / s^2) 9 n

With n = c there are 2 c^2 / t weights in the 1 x 1 layers, as many as in an inverted
residual between c / t channels with its middle of c; what changed places is the
shortcut, and there are two depthwise layers for one.

The identity tensor multiplier a in 0..1 adds only the first a c channels of x, which
saves reading and adding the others:

    y[:a c] = x[:a c] + y[:a c]

In the authors' code the middle has at least n / 6 channels, whatever t is: if c / t is
less, n / 6 is taken, rounded as in MobileNet to a multiple of 16. And where channels or
resolution change, it leaves out the first or both of the depthwise layers, which the
paper does not tell: see ``depthwise``.

Do not expect time to follow the MACs: with as many 1 x 1 weights and t = 6, a sandglass
puts out nearly half as many numbers again as an inverted residual.
"""

import math

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, scaled_channels
from effdl.checks import check_images, check_positive, check_share


class Sandglass(nn.Module):
    """Filter, squeeze, widen, filter; the shortcut joins the wide ends.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        stride: Stride s of the last depthwise layer.
        ratio: Factor t from the channels of the middle to c.
        depthwise: Number of depthwise layers: 2, 1 without the first, or 0.
        identity_share: Share a, above 0 and at most 1, of the channels that the
            shortcut adds.

    Raises:
        ValueError: If a number is below 1, ``identity_share`` or ``depthwise`` out of
            range, or there is a stride and no layer to take it.

    Example:
        >>> Sandglass(96, 144, stride=2)(torch.zeros(1, 96, 9, 9)).shape
        torch.Size([1, 144, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        ratio: int = 6,
        depthwise: int = 2,
        identity_share: float = 1.0,
    ) -> None:
        super().__init__()
        middle = middle_channels(in_channels, out_channels, ratio)  # m
        check_positive(stride=stride)
        check_share(identity_share=identity_share)
        fewest = 0 if stride == 1 else 1
        if depthwise not in range(fewest, 3):
            raise ValueError(
                f"depthwise must be in {fewest}..2 with stride {stride}, "
                f"got {depthwise}; the last depthwise layer takes the stride"
            )
        c, n, relu = in_channels, out_channels, nn.ReLU6
        self.in_channels = in_channels
        has_shortcut = stride == 1 and c == n
        self.added = round(identity_share * c) if has_shortcut else 0
        self.layers = nn.Sequential(
            conv_bn(c, middle, 1, activation=None),
            conv_bn(middle, n, 1, activation=relu),
        )
        if depthwise == 2:
            self.layers.insert(0, conv_bn(c, c, 3, groups=c, activation=relu))
        if depthwise >= 1:
            self.layers.append(
                conv_bn(n, n, 3, stride=stride, groups=n, activation=None)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / s), ceil(W / s)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        y = self.layers(x)
        if self.added == 0:
            return y
        joined = x[:, : self.added] + y[:, : self.added]
        return torch.cat((joined, y[:, self.added :]), dim=1)


def middle_channels(in_channels: int, out_channels: int, ratio: int = 6) -> int:
    """Return the channels m of the narrow middle: c / t, if that is n / 6 or more.

    Raises ``ValueError`` if a number is below 1.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        ratio: Factor t.

    Example:
        >>> middle_channels(192, 192), middle_channels(192, 288)
        (32, 48)
    """
    check_positive(in_channels=in_channels, out_channels=out_channels, ratio=ratio)
    narrow = in_channels // ratio
    if 6 * narrow >= out_channels:
        return narrow
    return scaled_channels(math.ceil(out_channels / 6), divisor=16)
