"""Superkernel: four blocks and none at all in the weights of the largest of them.

Paper: Stamoulis et al., "Single-Path NAS: Designing Hardware-Efficient ConvNets in less
than 4 Hours", ECML PKDD 2019, https://arxiv.org/abs/1904.02877, section 3.

A 3 x 3 kernel is the middle of a 5 x 5 one, and a block with expansion 3 is the first
half of the channels of one with expansion 6. So nothing is chosen but parts of one
depthwise kernel w, (6c, 1, 5, 5), by three learned thresholds t:

    w_k = w_inner + d_5 w_ring                  d_5 = 1(|w_ring|^2 / u_5 >= t_5)
    w   = d_3 (w_k[:half] + d_6 w_k[half:])     d_3 = 1(|w_k[:half]|^2 / u_3 >= t_3)
                                                d_6 = 1(|w_k[half:]|^2 / u_6 >= t_6)

with d_3 = 0 for no block at all. The indicator 1() has no slope; backwards it passes
for a sigmoid. One convolution runs per layer, and its maps are all that is stored. The
price: what a decision is to be worth has to show in the size of some weights. Its
runtime is in :mod:`effdl.nas.hardware.superkernel_runtime`.

What differs: the units u. In the paper there are none, and the squares are tens where
the thresholds begin at 0: the sigmoid's slope at 60 is 0 in float32, and no threshold
ever moves. (The authors' program takes |w|, a little better, and drops indicators at
random.) Here u is the square at the start, so each decision begins at 1 - 0. And batch
norms have no shift and use the batch at hand: a shift behind the last one would be left
of a block that is skipped.

A batch norm behind the kernel undoes any factor in front of it. So the loss has no
slope in d_3 and d_6, and whatever little a runtime pulls drops them. The block here
multiplies by them behind the norms once more: 1 stays 1, 0 stays 0, and the loss sees.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn
from effdl.checks import check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.nas.gradient.mixed_net import prepare_for_search_


class Decisions(NamedTuple):
    """Three scalars, 0 or 1, with the slopes of sigmoids.

    Attributes:
        ring: d_5: whether the kernel is 5 x 5.
        half: d_3: whether there is a block at all.
        rest: d_6: whether it has the second half of the channels.
    """

    ring: Tensor
    half: Tensor
    rest: Tensor


def indicator(x: Tensor) -> Tensor:
    """Return 1 where x is at least 0, else 0, with the slope of sigmoid(x).

    Args:
        x: Of any shape; infinite is allowed.

    Example:
        >>> x = torch.tensor([-1.0, 0.0], requires_grad=True)
        >>> indicator(x).sum().backward()
        >>> indicator(x).tolist(), x.grad
        ([0.0, 1.0], tensor([0.1966, 0.2500]))
    """
    return straight_through(x.sigmoid(), (x >= 0).to(x.dtype))


class SuperKernel(nn.Module):
    """A depthwise convolution that decides on its kernel size and its channels.

    Maps (N, channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride)).

    Args:
        channels: Of expansion 6: even.
        stride: Of the convolution.
        can_skip: Whether d_3 may become 0. If not, it is 1.

    Raises:
        ValueError: If a number is below 1, or the channels are odd.

    Attributes:
        weight: The superkernel, (channels, 1, 5, 5).
        thresholds: t_5, t_3 and t_6, (3,); 0 at the start, so that all is there.
        units: u_5, u_3 and u_6, (3,): the squares at the start.

    Example:
        >>> kernel = SuperKernel(12)
        >>> kernel.choice()
        'k5 e6'
    """

    units: Tensor

    def __init__(
        self, channels: int, *, stride: int = 1, can_skip: bool = True
    ) -> None:
        super().__init__()
        check_positive(channels=channels, stride=stride)
        if channels % 2:
            raise ValueError(f"channels must be even, got {channels}; half is dropped")
        self.stride, self.can_skip = stride, can_skip
        self.weight = nn.Parameter((2 / 25) ** 0.5 * torch.randn(channels, 1, 5, 5))
        self.thresholds = nn.Parameter(torch.zeros(3))
        inner, ring = self._parts()
        squares = [part.square().sum() for part in (ring, *(inner + ring).chunk(2))]
        self.register_buffer("units", torch.stack(squares).detach())

    def masked(self) -> tuple[Tensor, Decisions]:
        """Return the kernel after the decisions, (channels, 1, 5, 5), and these."""
        inner, outer = self._parts()
        ring = self._decide(outer, 0)
        first, second = (inner + ring * outer).chunk(2)
        half = self._decide(first, 1) if self.can_skip else torch.ones_like(ring)
        rest = self._decide(second, 2)
        kernel = half * torch.cat([first, rest * second])
        return kernel, Decisions(ring, half, rest)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps; those of dropped channels are 0."""
        kernel, _ = self.masked()
        return F.conv2d(x, kernel, None, self.stride, 2, groups=len(kernel))

    def choice(self) -> str:
        """Return what is decided now: "k3 e3", "k3 e6", "k5 e3", "k5 e6" or "skip"."""
        with torch.no_grad():
            ring, half, rest = (bool(d) for d in self.masked()[1])
        return f"k{5 if ring else 3} e{6 if rest else 3}" if half else "skip"

    def _parts(self) -> tuple[Tensor, Tensor]:
        """Return the inner 3 x 3 weights and the ring, both (channels, 1, 5, 5)."""
        inner = F.pad(self.weight[:, :, 1:4, 1:4], [1] * 4)
        return inner, self.weight - inner

    def _decide(self, part: Tensor, number: int) -> Tensor:
        square = part.square().sum() / self.units[number]
        return indicator(square - self.thresholds[number])


class SuperKernelBlock(nn.Module):
    """The inverted residual block around a superkernel: five candidates, one path.

    Maps (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ...). It can be
    skipped where it has a shortcut. Convolutions start as the book's supernets do.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        stride: Of the depthwise step.
        visible: Whether decisions multiply behind the batch norms, too. It changes no
            output, and what the thresholds learn. False is the paper's block.

    Example:
        >>> SuperKernelBlock(4, 8, stride=2)(torch.zeros(2, 4, 6, 6)).shape
        torch.Size([2, 8, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        visible: bool = True,
    ) -> None:
        super().__init__()
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.visible = visible
        wide = 6 * in_channels
        self.expand = conv_bn(in_channels, wide, 1, activation=nn.ReLU6)
        self.kernel = SuperKernel(wide, stride=stride, can_skip=self.has_shortcut)
        self.norm = nn.Sequential(nn.BatchNorm2d(wide), nn.ReLU6(inplace=True))
        self.project = conv_bn(wide, out_channels, 1, activation=None)
        prepare_for_search_(self, SuperKernelBlock)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, ...) for x of (N, in_channels, H, W)."""
        y = self.norm(self.kernel(self.expand(x)))
        if self.visible:
            _, (_, half, rest) = self.kernel.masked()
            first, second = y.chunk(2, dim=1)
            y = half * self.project(torch.cat([first, rest * second], dim=1))
        else:
            y = self.project(y)
        return x + y if self.has_shortcut else y
