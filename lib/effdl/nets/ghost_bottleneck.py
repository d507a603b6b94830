"""Ghost bottleneck: an inverted residual whose pointwise layers are Ghost convolutions.

Paper: Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020,
https://arxiv.org/abs/1911.11907, section 3.2.

MobileNetV2's block widens, looks around with a depthwise layer, and narrows. Here both
pointwise layers are Ghost convolutions (:mod:`effdl.conv.ghost`), each of which brings
its own 3 x 3 depthwise filters. So a depthwise layer in the middle is needed only to
halve the resolution:

    x -> Ghost, ReLU (expand) -> [k x k depthwise, stride 2] -> [gate] -> Ghost -> + x

In brackets: what some blocks have. All layers end in batch norm, the expanding one
alone in ReLU. Where the shape changes, a k x k depthwise and a pointwise layer bring x
to the shape of the branch. The gate is squeeze-and-excitation with its own rules,

    hidden units  c / 4, rounded to a multiple of 4
    s             hard sigmoid: min(max(x + 3, 0), 6) / 6

so that :class:`effdl.conv.squeeze_excite.SqueezeExcite`, which keeps to its paper, is
not used. The hard sigmoid is exactly 0 below -3 and 1 above 3: no exponential, but no
gradient there either.
"""

from collections.abc import Callable

from torch import Tensor, nn

from effdl.blocks import conv_bn, scaled_channels
from effdl.conv.ghost import GhostConv2d


class GhostBottleneck(nn.Module):
    """Two Ghost convolutions, to more channels and back, around a shortcut.

    Args:
        in_channels: Channels of the input.
        expanded: Channels between the two Ghost convolutions.
        out_channels: Channels of the output.
        kernel_size: Side k of the depthwise kernels; odd.
        stride: Stride of the depthwise layer; with 1, the branch has none.
        squeeze: Share of the channels that the gate squeezes them to; 0 for no gate.
        expand: What the first layer is, called with its input and output channels.

    Raises ``ValueError`` if a number is below 1, or ``kernel_size`` is even.

    Example:
        >>> import torch
        >>> GhostBottleneck(16, 48, 24, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        squeeze: float = 0,
        expand: Callable[[int, int], nn.Module] = GhostConv2d,
    ) -> None:
        super().__init__()
        layers = [expand(in_channels, expanded)]
        if stride != 1:
            layers.append(_depthwise_bn(expanded, kernel_size, stride))
        if squeeze:
            layers.append(_HardSqueezeExcite(expanded, squeeze))
        layers.append(GhostConv2d(expanded, out_channels, activation=None))
        self.branch = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _depthwise_bn(in_channels, kernel_size, stride),
                conv_bn(in_channels, out_channels, 1, activation=None),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, ceil(H / stride), ceil(W / stride)).

        Raises ``ValueError`` if ``x`` is not (N, in_channels, H, W).
        """
        return self.branch(x) + self.shortcut(x)


class _HardSqueezeExcite(nn.Module):
    """Squeeze-and-excitation with the rounding and the gate of GhostNet."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        hidden = scaled_channels(max(channels, 4), share, divisor=4)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(dim=(2, 3), keepdim=True))


def _depthwise_bn(channels: int, kernel_size: int, stride: int) -> nn.Sequential:
    return conv_bn(
        channels,
        channels,
        kernel_size,
        stride=stride,
        groups=channels,
        activation=None,
    )
