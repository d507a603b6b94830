"""Residual blocks: compute a correction to the input instead of the output.

Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385.

    y = relu(F(x) + shortcut(x))

F is the *residual*. With c channels in and out, it is one of two kinds:

    basic        3x3 c - BN - ReLU - 3x3 c - BN                        18 c^2 weights
    bottleneck   1x1 m - BN - ReLU - 3x3 m - BN - ReLU - 1x1 c - BN    17 m^2, m = c / 4

The shortcut is x itself where the shapes agree. Where they do not, the paper has

    option A     every stride-th pixel, zeros for the missing channels    no weights
    option B     1 x 1 convolution with the stride, and batch norm

If weight and bias of the last batch norm are 0, F(x) is 0, and the block passes on
relu(x). Goyal et al., "Accurate, Large Minibatch SGD", 2017,
https://arxiv.org/abs/1706.02677, start there: :func:`zero_last_batch_norm_`.

What differs: the bottleneck has its stride in the 3 x 3 convolution, as in torchvision
and timm ("v1.5"). The authors' has it in the first 1 x 1, which skips three of four
pixels.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn
from effdl.checks import check_divides, check_images, check_positive

EXPANSION = 4  # outputs of a bottleneck for every channel of its 3 x 3 convolution

Shortcut = Callable[[int, int, int], nn.Module]  # of input, output channels and stride


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, and zeros for the channels that are missing.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        stride: Pixels from one output to the next.

    Raises:
        ValueError: If n is below c, or a number is below 1.

    Example:
        >>> import torch
        >>> ZeroPadShortcut(1, 2, 2)(torch.arange(4.0).reshape(1, 1, 1, 4)).tolist()
        [[[[0.0, 2.0]], [[0.0, 0.0]]]]
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, stride=stride)
        if out_channels < in_channels:
            raise ValueError(
                f"out_channels must be at least in_channels ({in_channels}), "
                f"got {out_channels}; use projection_shortcut"
            )
        self.missing = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / stride), ceil(W / stride)) for x of (N, c, H, W)."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, 0, self.missing))  # nothing in W and in H


def projection_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return option B: a strided 1 x 1 convolution with batch norm.

    Takes what :class:`ZeroPadShortcut` takes; n may be below c.

    Example:
        >>> sum(p.numel() for p in projection_shortcut(16, 32, 2).parameters())
        576
    """
    return conv_bn(in_channels, out_channels, 1, stride=stride, activation=None)


class ResidualBlock(nn.Module):
    """The sum that both kinds of block end in.

    Args:
        residual: F, maps (N, c, H, W) to (N, n, ceil(H / stride), ceil(W / stride)).
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        stride: Pixels from one output to the next.
        shortcut: Makes the shortcut, unless n is c and the stride 1.

    Example:
        >>> import torch
        >>> ResidualBlock(nn.Identity(), 1, 1)(torch.tensor([[[[-1.0, 2.0]]]])).tolist()
        [[[[0.0, 4.0]]]]
    """

    def __init__(
        self,
        residual: nn.Module,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        shortcut: Shortcut = projection_shortcut,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x) + shortcut(x)).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return F.relu(self.residual(x) + self.shortcut(x))


class BasicBlock(ResidualBlock):
    """Residual block with two 3 x 3 convolutions, the first one with the stride.

    The arguments are those of :class:`ResidualBlock` without the residual.

    Example:
        >>> import torch
        >>> BasicBlock(16, 32, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = projection_shortcut,
    ) -> None:
        residual = nn.Sequential(
            conv_bn(in_channels, out_channels, 3, stride=stride),
            conv_bn(out_channels, out_channels, 3, activation=None),
        )
        super().__init__(residual, in_channels, out_channels, stride, shortcut)


class Bottleneck(ResidualBlock):
    """Residual block whose 3 x 3 convolution works on m = n / 4 channels.

    As :class:`BasicBlock`; ``ValueError`` if 4 does not divide ``out_channels``.

    Example:
        >>> import torch
        >>> Bottleneck(64, 256, stride=2)(torch.zeros(1, 64, 9, 9)).shape
        torch.Size([1, 256, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = projection_shortcut,
    ) -> None:
        check_divides("expansion", EXPANSION, out_channels=out_channels)
        middle = out_channels // EXPANSION  # m
        residual = nn.Sequential(
            conv_bn(in_channels, middle, 1),
            conv_bn(middle, middle, 3, stride=stride),
            conv_bn(middle, out_channels, 1, activation=None),
        )
        super().__init__(residual, in_channels, out_channels, stride, shortcut)


def zero_last_batch_norm_(net: nn.Module) -> None:
    """Set the last batch norm of every residual to 0, so that F(x) is 0; in place.

    Args:
        net: A network of residual blocks, or one block; before training.

    Example:
        >>> import torch
        >>> block = BasicBlock(1, 1)
        >>> zero_last_batch_norm_(block)
        >>> block(torch.tensor([[[[-1.0, 3.0]]]])).tolist()
        [[[[0.0, 3.0]]]]
    """
    for block in net.modules():
        if isinstance(block, ResidualBlock):
            layers = block.residual.modules()
            last = [m for m in layers if isinstance(m, nn.BatchNorm2d)][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
