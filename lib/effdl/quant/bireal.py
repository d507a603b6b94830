"""Bi-Real Net: real numbers run past every 1-bit convolution, and a softer slope.

Paper: Liu et al., "Bi-Real Net: Enhancing the Performance of 1-bit CNNs with Improved
Representational Capability and Advanced Training Algorithm", ECCV 2018,
https://arxiv.org/abs/1808.00278, sections 3.2 and 3.3.

    y = BN(conv(sign(x), V)) + x          a shortcut around *each* convolution
    F(x) = x (2 - |x|) on -1 to 1, else -1 or 1
    F'(x) = 2 - 2 |x|, else 0             the slope that stands in for that of sign
    V = mean|W| sign(W)                   for each filter; the mean takes no slope

A sign lets one bit of x through. What the convolution puts out is a sum of many, and a
shortcut carries it on until the next sum: nothing but the sign forgets it. F rises from
-1 to 1, as sign does; the clipped identity does so as well, with less slope at 0.

What differs: where the resolution is halved or channels are added, the paper has a
convolution of floats in the shortcut. Ours has no weights: it averages and repeats. So
a block has the same weights with and without its shortcut. The paper trains in stages,
from a network of floats on; here all is binary from the first step.

When not to trust it: the convolution pads with 0, which is no sign. An implementation
in bits has to pad with a sign or to correct the border.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effdl.blocks import conv_bn, mean_linear
from effdl.checks import check_divides, check_images, check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign

OnChannels = Callable[[int], nn.Module]  # called with a number of channels
Block = Callable[[int, int, int], nn.Module]  # with channels in and out, and a stride


def polynomial(x: Tensor) -> Tensor:
    """Return F(x), the two parabolas in place of the sign.

    Args:
        x: Floats, of any shape.

    Example:
        >>> import torch
        >>> polynomial(torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0]))
        tensor([-1.0000, -1.0000,  0.0000,  0.7500,  1.0000])
    """
    x = x.clamp(-1, 1)
    return x * (2 - x.abs())


def polynomial_sign(x: Tensor) -> Tensor:
    """Return the sign, +1 at 0, with the slope 2 - 2 ``|x|`` within -1 to 1.

    Args:
        x: Floats, of any shape; NaN stays NaN.

    Example:
        >>> import torch
        >>> x = torch.tensor([-3.0, 0.0, 0.75], requires_grad=True)
        >>> polynomial_sign(x).sum().backward()
        >>> polynomial_sign(x).tolist(), x.grad.tolist()
        ([-1.0, 1.0, 1.0], [0.0, 2.0, 0.5])
    """
    return straight_through(polynomial(x), sign(x))


class PolynomialSign(nn.Module):
    """The sign of activations as a layer without weights.

    Args:
        _channels: Not used, so that it may stand where other binarizers do.

    Example:
        >>> import torch
        >>> PolynomialSign()(torch.tensor([-0.5, 2.0]))
        tensor([-1.,  1.])
    """

    def __init__(self, _channels: int | None = None) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return the signs."""
        return polynomial_sign(x)


class MagnitudeSign(nn.Module):
    """Maps a weight to its signs, times the mean size of each filter.

    Example:
        >>> import torch
        >>> MagnitudeSign()(torch.tensor([[0.5, -1.5], [0.0, 2.0]]))
        tensor([[ 1., -1.],
                [ 1.,  1.]])
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return V, of the shape (filters, ...) of the weight."""
        scale = weight.detach().abs().flatten(1).mean(dim=1)
        scale = scale.reshape([-1] + [1] * (weight.ndim - 1))
        return scale * straight_through(weight.clamp(-1, 1), sign(weight))


class BinaryBlock(nn.Module):
    """A 3 x 3 convolution of signs with signs, batch norm, and real numbers beside it.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output; a multiple of c for a shortcut.
        stride: Pixels from one output to the next.
        binarize: Makes the layer before the convolution.
        weight: Makes the parametrization of the convolution's weight.
        tail: Makes the layer behind all, such as ``RPReLU``; at first nothing.
        shortcut: Whether the input is added behind the batch norm.

    Example:
        >>> import torch
        >>> block = BinaryBlock(8, 16, 2)
        >>> block(torch.zeros(1, 8, 7, 7)).shape
        torch.Size([1, 16, 4, 4])
        >>> bool((block.main[1].weight.abs() > 0).all())
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        binarize: OnChannels = PolynomialSign,
        weight: Callable[[], nn.Module] = MagnitudeSign,
        tail: OnChannels = nn.Identity,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        conv, norm = conv_bn(
            in_channels, out_channels, 3, stride=stride, activation=None
        )
        if shortcut:
            check_divides("in_channels", in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.shortcut = stride, shortcut
        parametrize.register_parametrization(conv, "weight", weight(), unsafe=True)
        self.main = nn.Sequential(binarize(in_channels), conv, norm)
        self.tail = tail(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / stride), ceil(W / stride))."""
        check_images(x, channels=self.in_channels)
        y: Tensor = self.main(x)
        if self.shortcut:
            past = F.avg_pool2d(x, self.stride, ceil_mode=True)
            y = y + past.repeat(1, self.out_channels // self.in_channels, 1, 1)
        return self.tail(y)


def small_binary_net(
    block: Block = BinaryBlock, width: int = 16, *, classes: int = 10
) -> nn.Sequential:
    """Return a network for digit scenes with four binary blocks inside.

    The first convolution and the classifier compute with floats, as usual. The first
    convolution and the third block halve the resolution.

    Args:
        block: Called with channels in, channels out and stride.
        width: Channels w of the first convolution and block; the others have 2w, 2w
            and 4w.
        classes: Logits.

    Example:
        >>> import torch
        >>> small_binary_net(width=4)(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    check_positive(width=width, classes=classes)
    layers: list[nn.Module] = [conv_bn(1, width, 3, stride=2, activation=None)]
    channels = width
    for factor, stride in zip((1, 2, 2, 4), (1, 1, 2, 1), strict=True):
        layers.append(block(channels, factor * width, stride))
        channels = factor * width
    return nn.Sequential(*layers, *mean_linear(channels, classes))
