"""Squeeze-and-Excitation: let the whole image decide which channels count.

Paper: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018,
https://arxiv.org/abs/1709.01507, equations 2 to 4.

A convolution sees a neighbourhood. This block takes the mean of each channel over the
whole image, feeds the c means to a small network with a bottleneck of c / r units,
and multiplies each channel by the number between 0 and 1 that comes out:

    z_c = mean over h, w of x[c, h, w]             squeeze       (eq. 2)
    s   = sigmoid(W2 relu(W1 z + b1) + b2)         excitation    (eq. 3)
    y_c = s_c x_c                                  scale         (eq. 4)

W1 is (c / r) x c and W2 is c x (c / r), with r = 16. That makes 2 c^2 / r weights,
c / r + c biases and 2 c^2 / r MACs for each image, whatever its size: many
parameters, next to no arithmetic. (The paper leaves the biases out of its formulas.)

Do not take the MACs for the time. The mean must be complete before the first pixel
can be scaled, so the maps are read twice and written once, and the tiny layers
between cannot keep a machine busy.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_divides, check_images, check_positive
from effdl.conv.cost import ConvCost, Size, pixels


def squeeze_excite(
    x: Tensor, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor]
) -> Tensor:
    """Return equations 2 to 4.

    Raises ``ValueError`` if ``x`` is not a batch of c feature maps.

    Args:
        x: Feature maps, (N, c, H, W).
        reduce: Weight W1, (c / r, c), and bias b1, (c / r,).
        expand: Weight W2, (c, c / r), and bias b2, (c,).

    Returns:
        (N, c, H, W).

    Example:
        >>> off = torch.zeros(1, 2), torch.zeros(1)
        >>> x = torch.ones(1, 2, 1, 1)
        >>> squeeze_excite(x, off, (torch.zeros(2, 1), torch.zeros(2))).mean().item()
        0.5
    """
    return x * channel_gate(x, reduce, expand)[:, :, None, None]


def channel_gate(
    x: Tensor, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor]
) -> Tensor:
    """Return s of equation 3: what each channel is multiplied by.

    Args:
        x: Feature maps, (N, c, H, W).
        reduce: Weight W1, (c / r, c), and bias b1, (c / r,).
        expand: Weight W2, (c, c / r), and bias b2, (c,).

    Raises ``ValueError`` if ``x`` is not a batch of c feature maps.

    Returns:
        Numbers between 0 and 1, (N, c).

    Example:
        >>> off = torch.zeros(1, 2), torch.zeros(1)
        >>> wide_open = torch.zeros(2, 1), torch.full((2,), 100.0)
        >>> channel_gate(torch.ones(1, 2, 1, 1), off, wide_open).tolist()
        [[1.0, 1.0]]
    """
    check_images(x, reduce[0].shape[1])
    squeezed = x.mean(dim=(2, 3))  # (N, c)
    hidden = F.relu(F.linear(squeezed, *reduce))  # (N, c / r)
    return torch.sigmoid(F.linear(hidden, *expand))  # (N, c)


class SqueezeExcite(nn.Module):
    """Squeeze-and-Excitation, to be put after any convolution.

    Args:
        channels: Channels c of input and output.
        reduction: Factor r of the bottleneck, a divisor of c.

    Raises:
        ValueError: If a number is below 1 or ``reduction`` does not divide
            ``channels``.

    Example:
        >>> SqueezeExcite(32)(torch.zeros(1, 32, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        squeezed = _squeezed_channels(channels, reduction)
        self.reduce = nn.Linear(channels, squeezed)
        self.expand = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, H, W) for x of (N, c, H, W)."""
        return x * self.gate(x)[:, :, None, None]

    def gate(self, x: Tensor) -> Tensor:
        """Return what each channel of each image is multiplied by, (N, c)."""
        reduce = self.reduce.weight, self.reduce.bias
        return channel_gate(x, reduce, (self.expand.weight, self.expand.bias))


def squeeze_excite_cost(
    channels: int, output_size: Size, *, reduction: int = 16
) -> ConvCost:
    """Return parameters, MACs and memory access.

    The MACs are those of the two small layers; H W additions a channel for the mean
    and as many multiplications for the scale are left out, as counters do.

    Raises ``ValueError`` if a number is below 1 or ``reduction`` does not divide
    ``channels``.

    Args:
        channels: Channels c of input and output.
        output_size: H = W, or (H, W).
        reduction: Factor r of the bottleneck, a divisor of c.

    Example:
        >>> squeeze_excite_cost(256, 56)
        ConvCost(parameters=8464, macs=8192, memory_access=2416912)
    """
    squeezed = _squeezed_channels(channels, reduction)
    weights = 2 * channels * squeezed
    parameters = weights + squeezed + channels
    return ConvCost(
        parameters, weights, 3 * channels * pixels(output_size) + parameters
    )


def _squeezed_channels(channels: int, reduction: int) -> int:
    """Return c / r."""
    check_positive(channels=channels, reduction=reduction)
    check_divides("reduction", reduction, channels=channels)
    return channels // reduction
