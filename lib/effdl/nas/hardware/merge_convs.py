"""From deep to shallow: two convolutions with nothing between become one.

Paper: Luo et al., "Double-Win NAS: Towards Deep-to-Shallow Transformable Neural
Architecture Search for Intelligent Embedded Systems"; the same method is in
"Exploring Deep-to-Shallow Transformable Neural Networks for Intelligent Embedded
Systems", 2025, https://arxiv.org/abs/2512.19731 (we read its abstract).

The search wants depth, the device wants few layers. If no activation is left between
two convolutions, they are one, whose kernel is the full convolution of both:

    W[n, c] = sum over m of  W2[n, m] (*) W1[m, c]       side k1 + (k2 - 1) s1
    b[n]    = b2[n] + sum over m of  b1[m] sum(W2[n, m])    stride s1 s2, padding
                                                            p1 + s1 p2

A batch norm behind a convolution is folded into it first, with the mean and variance
that it has collected: g = gamma / sqrt(var + eps), W <- g W, b <- g (b - mean) + beta.

Where it is exact: everywhere if the second convolution has no padding. Its padding
puts zeros beside what the first one made, and one convolution cannot: it sees zeros
beside the *input*. Then p2 pixels at the border differ. (All of that is a matter of
rounding otherwise.)

When it pays: not in general. MACs and parameters go from k1^2 c m + k2^2 m n to
(k1 + k2 - 1)^2 c n. Two 3 x 3 layers of one width become 25 / 18 times as expensive;
a wide middle m makes it cheaper, and so does a 1 x 1 among the two if all widths are
equal. One layer less is one start less; a device may be faster at more MACs: measure.

Not here: how the search finds out which activations can go, and how the network is
trained for it. We could not read that part.
"""

import copy

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from effdl.conv.cost import ConvCost, conv_cost


def fold_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution with a bias that does what both do in evaluation mode.

    Args:
        conv: What runs first.
        norm: What runs on its output; its running mean and variance are used.

    Raises:
        ValueError: If the batch norm has no running statistics, or another width.

    Example:
        >>> fold_norm(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)).bias.shape
        torch.Size([4])
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            "norm has no running statistics to fold; train with track_running_stats"
        )
    if norm.num_features != conv.out_channels:
        raise ValueError(
            f"norm must have the {conv.out_channels} channels that conv puts out, got "
            f"{norm.num_features}"
        )
    factor = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight
    before = 0 if conv.bias is None else conv.bias
    bias = factor * (before - norm.running_mean)
    if norm.affine:
        bias = bias + norm.bias
    new = copy.deepcopy(conv)
    new.weight = nn.Parameter((factor[:, None, None, None] * conv.weight).detach())
    new.bias = nn.Parameter(bias.detach())
    return new


def merged_kernel(first: Tensor, second: Tensor, *, stride: int = 1) -> Tensor:
    """Return the kernel of the second convolution after the first.

    Args:
        first: W1, (m, c, k1, k1).
        second: W2, (n, m, k2, k2).
        stride: s1, of the first.

    Returns:
        W, (n, c, k, k) with k = k1 + (k2 - 1) s1.

    Raises:
        ValueError: If the second does not read what the first puts out.

    Example:
        >>> import torch
        >>> merged_kernel(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2)).flatten()
        tensor([1., 2., 1.])
    """
    if second.shape[1] != first.shape[0]:
        raise ValueError(
            f"second must have {first.shape[0]} input channels, as many as the first "
            f"has outputs, got {second.shape[1]}"
        )
    # A transposed convolution spreads each weight of the second over the first.
    return F.conv_transpose2d(second, first, stride=stride)


def merge(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """Return the one convolution that does what two do, but for the border.

    Exact everywhere if ``second`` has no padding; else not for the outermost pixels.
    Groups of the two are resolved: the result has one group.

    Args:
        first: Padded by zeros, not dilated. So is the second.
        second: Reads what the first makes, with nothing between.

    Raises:
        ValueError: If a convolution is dilated, or padded by other than zeros.

    Example:
        >>> both = merge(nn.Conv2d(4, 24, 1), nn.Conv2d(24, 4, 3, padding=1))
        >>> both
        Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    for name, conv in (("first", first), ("second", second)):
        plain = not isinstance(conv.padding, str) and conv.padding_mode == "zeros"
        equal = len({*conv.stride}) == len({*conv.padding}) == 1
        if not plain or not equal or {*conv.dilation} != {1}:
            raise ValueError(
                f"{name} must be padded by one number of zeros, have one stride and no "
                f"dilation, got {conv}"
            )
    w1, w2, step = dense_kernel(first), dense_kernel(second), first.stride[0]
    kernel = merged_kernel(w1, w2, stride=step)
    bias = kernel.new_zeros(len(kernel)) if second.bias is None else second.bias
    if first.bias is not None:
        bias = bias + w2.sum(dim=(2, 3)) @ first.bias
    n, c, height, width = kernel.shape
    p1, p2 = first.padding[0], second.padding[0]
    new: nn.Conv2d = skip_init(
        nn.Conv2d,
        *(c, n, (height, width), step * second.stride[0]),
        padding=int(p1) + step * int(p2),
        device=kernel.device,
        dtype=kernel.dtype,
    )
    new.load_state_dict({"weight": kernel.detach(), "bias": bias.detach()})
    return new


def dense_kernel(conv: nn.Conv2d) -> Tensor:
    """Return the kernel (n, c, k, k) with zeros where groups do not connect.

    Args:
        conv: Of any number of groups.

    Example:
        >>> dense_kernel(nn.Conv2d(4, 4, 1, groups=4)).count_nonzero().item()
        4
    """
    parts = conv.weight.chunk(conv.groups)
    n, c = len(parts[0]), parts[0].shape[1]
    whole = conv.weight.new_zeros(
        conv.out_channels, conv.in_channels, *conv.kernel_size
    )
    for g, part in enumerate(parts):
        whole[g * n : (g + 1) * n, g * c : (g + 1) * c] = part
    return whole


def merge_costs(
    channels: tuple[int, int, int], sides: tuple[int, int], size: int
) -> tuple[ConvCost, ConvCost]:
    """Return the costs before and after, for stride 1, one group, without biases.

    Args:
        channels: Of the input, between the two, and of the output: c, m and n.
        sides: Of the two kernels, k1 and k2.
        size: H = W of all maps.

    Example:
        >>> before, after = merge_costs((16, 16, 16), (3, 3), 12)
        >>> round(after.macs / before.macs, 3)
        1.389
        >>> before, after = merge_costs((16, 96, 16), (1, 3), 12)
        >>> round(after.macs / before.macs, 3)
        0.15
    """
    (c, m, n), (k1, k2) = channels, sides
    before = conv_cost(c, m, k1, size) + conv_cost(m, n, k2, size)
    return before, conv_cost(c, n, k1 + k2 - 1, size)
