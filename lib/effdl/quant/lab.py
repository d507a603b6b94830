"""LAB: a binarizer that looks at the neighbours before it decides on a bit.

Paper: Falkena et al., "LAB: Learnable Activation Binarizer for Binary Neural Networks",
WACV 2023, https://arxiv.org/abs/2210.13858.

    (l0, l1) = depthwise 3 x 3 convolution of x, with bias: two maps a channel
    bit = +1 if l1 >= l0, else -1
    slope = that of 2 softmax(beta l)_1 - 1,  beta learned, at first 1

The sign compares every pixel with the same 0, so maps that differ only in how far they
are from 0 become one. Compared with its neighbours, a pixel on a bright slope can be
told from one on a flat ground: more maps stay different (:func:`unique_patterns`).

Two maps are one too many. What counts is their difference d = l1 - l0, the output of
*one* depthwise convolution: the bit is sign(d), its slope that of tanh(beta d / 2). The
sum of the two kernels has no effect and no gradient; two maps only double the step of
the difference. An implementation needs one.

What differs: we read the authors' program; of the paper only the introduction was at
hand. In the program equal maps give -1. And it compares map c with map c + C of 2 C,
while TensorFlow says that the two maps of an input channel lie side by side: so it
compares those of *different* channels, if we read it right (we did not run it). Ours
are those of the same channel.

When not to trust it: the convolution is one of floats. Its 9 products for each number
of the input are no binary arithmetic, and take time: in ReActNet 95 % more, by the
authors' table (210.9 ms against 108.1 ms).
"""

import torch
from torch import Tensor, nn

from effdl.checks import check_images, check_odd, check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign


class LearnedBinarizer(nn.Module):
    """Binarizes feature maps by a depthwise convolution.

    Args:
        channels: C of the input.
        kernel_size: Side of the kernels; odd.

    Attributes:
        conv: The depthwise convolution; its maps 2c and 2c + 1 are those of channel c.
        beta: Of the softmax, ().

    Example:
        >>> layer = LearnedBinarizer(3)
        >>> bits = layer(torch.randn(2, 3, 5, 5))
        >>> bits.shape, sorted(set(bits.flatten().tolist()))
        (torch.Size([2, 3, 5, 5]), [-1.0, 1.0])
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        check_positive(channels=channels, kernel_size=kernel_size)
        check_odd(kernel_size=kernel_size)
        self.channels = channels
        padding = kernel_size // 2
        self.conv = nn.Conv2d(
            channels, 2 * channels, kernel_size, padding=padding, groups=channels
        )
        self.beta = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return bits -1 and +1, shaped like the input (N, C, H, W)."""
        check_images(x, channels=self.channels)
        maps = self.conv(x).unflatten(1, (self.channels, 2))
        return larger_is_second(maps, self.beta)


def larger_is_second(maps: Tensor, beta: Tensor) -> Tensor:
    """Return +1 where the second map is at least the first, else -1, with the slope.

    Args:
        maps: (N, C, 2, H, W).
        beta: Of the softmax whose slope is taken.

    Raises:
        ValueError: If there are not two maps a channel.

    Example:
        >>> maps = torch.tensor([1.0, 3.0]).reshape(1, 1, 2, 1, 1)
        >>> larger_is_second(maps, torch.tensor(1.0)).item()
        1.0
    """
    if maps.ndim != 5 or maps.shape[2] != 2:
        raise ValueError(
            f"maps must be (N, C, 2, H, W), got shape {tuple(maps.shape)}; "
            "use unflatten(1, (C, 2))"
        )
    soft = 2 * (beta * maps).softmax(dim=2)[:, :, 1] - 1
    return straight_through(soft, sign(maps[:, :, 1] - maps[:, :, 0]))


def set_to_sign_(layer: LearnedBinarizer) -> None:
    """Change the kernels so that the layer computes the sign.

    Args:
        layer: Its first maps become -x / 2, the second x / 2.

    Example:
        >>> layer = LearnedBinarizer(1)
        >>> set_to_sign_(layer)
        >>> layer(torch.tensor([[[[-0.1, 0.0, 5.0]]]])).tolist()
        [[[[-1.0, 1.0, 1.0]]]]
    """
    middle = layer.conv.kernel_size[0] // 2
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.weight[0::2, 0, middle, middle] = -0.5
        layer.conv.weight[1::2, 0, middle, middle] = 0.5
        if layer.conv.bias is not None:
            layer.conv.bias.zero_()


def unique_patterns(bits: Tensor) -> list[int]:
    """Return for each channel how many different maps a batch has.

    Args:
        bits: (N, C, H, W).

    Example:
        >>> bits = torch.ones(3, 2, 1, 2)
        >>> bits[0, 1, 0, 0] = -1
        >>> unique_patterns(bits)
        [1, 2]
    """
    check_images(bits)
    maps = bits.detach().transpose(0, 1).flatten(2)
    return [len(torch.unique(channel, dim=0)) for channel in maps]
