"""Channel shuffle: deal the channels of every group out to all groups.

Paper: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network
for Mobile Devices", CVPR 2018, https://arxiv.org/abs/1707.01083, section 3.1.

After a group convolution each group knows only its own part of the input. Write the
c channels as a table of g rows (groups) and c / g columns, transpose it, and read it
row by row:

    channel  i (c / g) + j   goes to   j g + i        i = 0..g-1, j = 0..c/g-1

Two group convolutions with a shuffle between them see everything (if c / g >= g).
The inverse is the shuffle with c / g groups.

A depthwise convolution, and batch norm, treat each channel by itself. So it does not
matter on which side of the shuffle they stand, if their weights are permuted, too:

    shuffle(depthwise(x; w)) = depthwise(shuffle(x); w[order])

The paper draws the shuffle before the depthwise layer, other code puts it after: the
same functions can be learned.

No weights and no MACs, but not free: each number is read and written once. As a
layer of a network take ``torch.nn.ChannelShuffle``, which computes the same.
"""

import torch
from torch import Tensor

from effdl.checks import check_divides, check_images, check_positive
from effdl.conv.cost import ConvCost, Size, pixels


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Return the channels in the new order: a table, transposed.

    Raises ``ValueError`` if ``x`` is not a batch or g does not divide c.

    Args:
        x: Feature maps, (N, c, H, W).
        groups: Groups g of the convolution before, a divisor of c.

    Returns:
        (N, c, H, W), a copy; with 1 or c groups, where nothing moves, ``x``'s memory.

    Example:
        >>> x = torch.arange(6.0).reshape(1, 6, 1, 1)
        >>> channel_shuffle(x, groups=2).flatten().tolist()
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """
    check_images(x)
    check_positive(groups=groups)
    check_divides("groups", groups, channels=x.shape[1])
    table = x.unflatten(1, (groups, -1))  # (N, g, c / g, H, W)
    return table.transpose(1, 2).flatten(1, 2).contiguous()  # (N, c, H, W)


def shuffle_order(channels: int, groups: int) -> Tensor:
    """Return the old channel at each new place: shuffle(x) = x[:, order].

    Raises ``ValueError`` if a number is below 1 or g does not divide c.

    Args:
        channels: Channels c.
        groups: Groups g, a divisor of c.

    Returns:
        A permutation of 0..c-1, int64, (c,). Index the weights of a per-channel layer
        with it to move the layer from before a shuffle to after it.

    Example:
        >>> shuffle_order(6, groups=2).tolist()
        [0, 3, 1, 4, 2, 5]
    """
    check_positive(channels=channels, groups=groups)
    check_divides("groups", groups, channels=channels)
    return torch.arange(channels).reshape(groups, -1).T.flatten()


def shuffle_cost(channels: int, output_size: Size) -> ConvCost:
    """Return no parameters, no MACs, and 2 c H W numbers moved.

    Raises ``ValueError`` if a number is below 1.

    Args:
        channels: Channels c.
        output_size: H = W, or (H, W).

    Example:
        >>> shuffle_cost(64, 56)
        ConvCost(parameters=0, macs=0, memory_access=401408)
    """
    check_positive(channels=channels)
    return ConvCost(0, 0, 2 * channels * pixels(output_size))
