"""Meta-kernels: mix the kernels first, then convolve once.

Paper: Lopez et al., "E-DNAS: Differentiable Neural Architecture Search for Embedded
Systems", ICPR 2020, https://doi.org/10.1109/ICPR48806.2021.9412130 (its abstract; we
could not read the whole paper).

An edge that mixes K convolutions runs K of them and stores K outputs. A convolution is
linear in its kernel, though, so with kernels padded by zeros to the size of the largest

    sum over k of  w_k (W_k * x)  =  (sum over k of  w_k pad(W_k)) * x

and the right side is one convolution of the largest size, with one output to store.
Fewer output channels are a zero-padded kernel, too. MACs shrink by the factor

    sum over k of (n_k s_k^2)  /  (n s^2)         s, n: the largest side and width

What it needs: nothing but sums between the kernels and the mixture. With a batch norm
or an activation for each candidate, as on an edge of DARTS, the two sides differ, and
mixing kernels is another relaxation. It still is the candidate itself for a weight of
1. And if only one candidate runs, nothing is gained: its own kernel is smaller.

Not checked: how the paper handles channels, and its latency predictor.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_images, check_odd, check_positive
from effdl.conv.cost import ConvCost, conv_cost


def padded_kernel(kernel: Tensor, outputs: int, side: int) -> Tensor:
    """Return a kernel with zeros around it and for the outputs that it lacks.

    Args:
        kernel: (n, c, s, s), s odd.
        outputs: At least n.
        side: Odd, at least s.

    Returns:
        (outputs, c, side, side).

    Raises:
        ValueError: If it does not fit, or its centre would move.

    Example:
        >>> padded_kernel(torch.ones(1, 1, 1, 1), 2, 3)[:, 0].sum(dim=(1, 2))
        tensor([1., 0.])
    """
    n, _, own, _ = kernel.shape
    if n > outputs or own > side or (side - own) % 2:
        raise ValueError(
            f"kernel {tuple(kernel.shape)} cannot be padded to {outputs} outputs of "
            f"side {side}; both must be at least its own, and both sides odd"
        )
    around = (side - own) // 2
    return F.pad(kernel, [around] * 4 + [0, 0, 0, outputs - n])


def mixed_kernel(kernels: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return the weighted sum of kernels, each padded to the largest side and width.

    Args:
        kernels: K of (n_k, c, s_k, s_k), s_k odd.
        weights: One for each, (K,).

    Raises:
        ValueError: If there is no kernel, or the numbers differ.

    Example:
        >>> kernels = [torch.ones(1, 1, 1, 1), torch.ones(1, 1, 3, 3)]
        >>> mixed_kernel(kernels, torch.tensor([0.75, 0.25]))[0, 0]
        tensor([[0.2500, 0.2500, 0.2500],
                [0.2500, 1.0000, 0.2500],
                [0.2500, 0.2500, 0.2500]])
    """
    if not kernels or len(kernels) != len(weights):
        raise ValueError(
            f"weights must be ({len(kernels)},), one for each of at least one kernel, "
            f"got {tuple(weights.shape)}"
        )
    outputs = max(len(kernel) for kernel in kernels)
    side = max(kernel.shape[-1] for kernel in kernels)
    padded = [padded_kernel(kernel, outputs, side) for kernel in kernels]
    return torch.einsum("k,kncij->ncij", weights, torch.stack(padded))


class MetaConv2d(nn.Module):
    """Convolutions of several sides and widths, mixed as kernels; no bias.

    Maps (N, in_channels, H, W) to (N, largest width, H, W).

    Args:
        in_channels: Channels c of the input.
        candidates: Side and output channels of each: odd, and at least 1.

    Raises:
        ValueError: If there is no candidate or a number is out of range.

    Attributes:
        kernels: One parameter for each candidate, (n_k, c, s_k, s_k).

    Example:
        >>> meta = MetaConv2d(4, [(3, 8), (5, 8), (5, 4)])
        >>> meta(torch.zeros(2, 4, 6, 6), torch.full((3,), 1 / 3)).shape
        torch.Size([2, 8, 6, 6])
    """

    def __init__(self, in_channels: int, candidates: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        if not candidates:
            raise ValueError("candidates is empty; give a side and a width, as (3, 16)")
        self.kernels = nn.ParameterList()
        for side, outputs in candidates:
            check_positive(in_channels=in_channels, side=side, outputs=outputs)
            check_odd(side=side)
            kernel = torch.empty(outputs, in_channels, side, side)
            nn.init.kaiming_normal_(kernel, mode="fan_out")
            self.kernels.append(kernel)
        self.in_channels = in_channels

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the mixture by one convolution.

        Args:
            x: Maps, (N, c, H, W).
            weights: One for each candidate, (K,).
        """
        check_images(x, self.in_channels)
        kernel = mixed_kernel(list(self.kernels), weights)
        return F.conv2d(x, kernel, padding="same")

    def one_by_one(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the mixture by K convolutions: the same numbers, for comparison.

        Args:
            x: Maps, (N, c, H, W).
            weights: One for each candidate, (K,).
        """
        outputs = max(len(kernel) for kernel in self.kernels)
        sent = []
        for weight, kernel in zip(weights.unbind(), self.kernels, strict=True):
            y = F.conv2d(x, kernel, padding="same")
            sent.append(weight * F.pad(y, [0] * 4 + [0, outputs - len(kernel)]))
        return sum(sent[1:], sent[0])


def meta_costs(
    in_channels: int, candidates: Sequence[tuple[int, int]], size: int
) -> tuple[ConvCost, ConvCost]:
    """Return what the candidates cost one by one, and what they cost as one kernel.

    The sum of the kernels, which does not depend on the image, is not counted, nor are
    the sums of outputs. Parameters of the second are those of the mixed kernel.

    Args:
        in_channels: Channels of the input.
        candidates: Side and output channels of each, at least one.
        size: H = W of the output.

    Example:
        >>> apart, mixed = meta_costs(16, [(3, 16), (5, 16), (7, 16)], 12)
        >>> round(apart.macs / mixed.macs, 3)
        1.694
    """
    apart = [conv_cost(in_channels, n, side, size) for side, n in candidates]
    outputs = max(n for _, n in candidates)
    side = max(side for side, _ in candidates)
    mixed = conv_cost(in_channels, outputs, side, size)
    return sum(apart[1:], apart[0]), mixed
