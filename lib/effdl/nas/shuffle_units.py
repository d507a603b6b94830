"""Units of ShuffleNetV2 with a free branch: another kernel, depth or inner width.

Papers: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform
Sampling", ECCV 2020, https://arxiv.org/abs/1904.00420, section 3.4 and figure 5, for
the units; Luo et al., "HSCoNAS", DATE 2021, https://arxiv.org/abs/2103.08325, for the
inner width.

    3x3, 5x5, 7x7   relu(pointwise(depthwise(relu(pointwise(x)))))
    xception        three times relu(pointwise(depthwise(x)))

with batch norm after every convolution. With stride 1 the branch works on half of the
channels, with a stride on all of them, and a second branch shortens the way:

    stride 1    x1, x2 = split(x)    y = shuffle([x1, branch(x2)])
    stride 2    y = shuffle([relu(pointwise(depthwise(x))), branch(x)])

The inner width is the share w of a branch's middle channels. Narrow branches need no
weights of their own: they take the first ones of the widest. This computes what the
wide branch does if the other middle channels are set to zero, and is cheaper.

What differs: both branches of a unit with a stride make half of the channels (in the
authors' code one keeps as many as it gets), and the shuffle stands behind the unit,
as in torchvision, not before it.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, scaled_channels
from effdl.checks import check_divides, check_positive, check_share
from effdl.conv.channel_shuffle import channel_shuffle
from effdl.conv.channel_split import SplitUnit

Branch = Callable[[int, int, int, int], nn.Sequential]


def shuffle_branch(
    in_channels: int, out_channels: int, middle: int, stride: int, kernel_size: int = 3
) -> nn.Sequential:
    """Return pointwise, depthwise, pointwise: the branch of ShuffleNetV2.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        middle: Channels of the depthwise layer.
        stride: Its stride.
        kernel_size: Side of its kernel, odd.

    Example:
        >>> shuffle_branch(8, 8, 4, 1)(torch.zeros(1, 8, 9, 9)).shape
        torch.Size([1, 8, 9, 9])
    """
    return nn.Sequential(
        conv_bn(in_channels, middle, 1),
        _depthwise(middle, kernel_size, stride),
        conv_bn(middle, out_channels, 1),
    )


def xception_branch(
    in_channels: int, out_channels: int, middle: int, stride: int
) -> nn.Sequential:
    """Return three depthwise-separable convolutions; the first one strides.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        middle: Channels between them.
        stride: Stride of the first depthwise layer.

    Example:
        >>> xception_branch(8, 8, 4, 2)(torch.zeros(1, 8, 9, 9)).shape
        torch.Size([1, 8, 5, 5])
    """
    return nn.Sequential(
        _depthwise(in_channels, 3, stride),
        conv_bn(in_channels, middle, 1),
        _depthwise(middle, 3, 1),
        conv_bn(middle, middle, 1),
        _depthwise(middle, 3, 1),
        conv_bn(middle, out_channels, 1),
    )


BRANCHES: dict[str, Branch] = {
    "3x3": shuffle_branch,
    "5x5": partial(shuffle_branch, kernel_size=5),
    "7x7": partial(shuffle_branch, kernel_size=7),
    "xception": xception_branch,
}


class StridedUnit(nn.Module):
    """Unit that changes the shape: all channels go through both branches.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, even.
        stride: Stride of both branches.
        branch: Maps ``in_channels`` to half of ``out_channels``, with the stride.

    Example:
        >>> unit = StridedUnit(8, 24, 2, shuffle_branch(8, 12, 12, 2))
        >>> unit(torch.zeros(1, 8, 9, 9)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, branch: nn.Module
    ) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(
            _depthwise(in_channels, 3, stride),
            conv_bn(in_channels, out_channels // 2, 1),
        )
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, ceil(H / stride), ...) for x of (N, c, H, W)."""
        joined = torch.cat((self.shortcut(x), self.branch(x)), dim=1)
        return channel_shuffle(joined, groups=2)


def shuffle_unit(
    branch: Branch,
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    width: float = 1.0,
) -> nn.Module:
    """Return a unit of ShuffleNetV2 around a branch of a kind.

    Args:
        branch: Makes it from channels in, out and in the middle, and the stride, as
            :func:`shuffle_branch` does.
        in_channels: Channels of the input; even if the unit keeps the shape.
        out_channels: Channels of the output, even.
        stride: Stride of the unit.
        width: Share w of the middle channels, which are otherwise half of the output.

    Example:
        >>> unit = shuffle_unit(xception_branch, 16, 16, width=0.5)
        >>> unit(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 16, 9, 9])
    """
    check_positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
    check_divides("parts", 2, out_channels=out_channels)
    check_share(width=width)
    half = out_channels // 2
    middle = scaled_channels(half, width, divisor=1)
    if stride == 1 and in_channels == out_channels:
        return SplitUnit(branch(half, half, middle, 1))
    made = branch(in_channels, half, middle, stride)
    return StridedUnit(in_channels, out_channels, stride, made)


def inherit_first_(narrow: nn.Module, wide: nn.Module) -> None:
    """Overwrite every tensor of a narrow unit with the first elements of a wide one.

    Args:
        narrow: A unit of the same kind with a smaller width; changed in place.
        wide: Left as it is.

    Raises:
        ValueError: If the units are of two kinds, or the first one is wider.

    Example:
        >>> wide = shuffle_unit(shuffle_branch, 8, 8)
        >>> narrow = shuffle_unit(shuffle_branch, 8, 8, width=0.5)
        >>> inherit_first_(narrow, wide)
        >>> first, whole = (unit.branch[0][0].weight for unit in (narrow, wide))
        >>> torch.equal(first, whole[:2])
        True
    """
    source, target = wide.state_dict(), narrow.state_dict()
    shapes = [tensor.shape for tensor in target.values()]
    if list(source) != list(target):
        raise ValueError("narrow and wide differ in kind; give both the same branch")
    taken = {
        name: tensor[tuple(slice(side) for side in shape)]
        for (name, tensor), shape in zip(source.items(), shapes, strict=True)
    }
    if [tensor.shape for tensor in taken.values()] != shapes:
        raise ValueError("narrow must not be wider than wide; swap the two")
    narrow.load_state_dict(taken)


def _depthwise(channels: int, kernel_size: int, stride: int) -> nn.Sequential:
    return conv_bn(
        channels,
        channels,
        kernel_size,
        stride=stride,
        groups=channels,
        activation=None,
    )
