"""A restricted Boltzmann machine with weights of few bits, and the exact price of them.

Paper: Balzer et al., "Weight Quantization in Boltzmann Machines", Neural Networks 1991,
is what the survey probably means; we could not read it. The machine is that of Fischer
and Igel, "An Introduction to Restricted Boltzmann Machines", CIARP 2012,
https://doi.org/10.1007/978-3-642-33275-3_2.

    p(v) = exp(-F(v)) / Z
    F(v) = -b v - sum over hidden j of log(1 + exp(c_j + v W_j))
    KL(p || q) = sum over v of p(v) (log p(v) - log q(v))

v are 16 pixels that are 0 or 1: there are 65,536 pictures, few enough to sum over them
all. So Z, the likelihood and its gradient, and the divergence are exact, and nothing is
sampled.

Bars and stripes are the pictures of s x s pixels in which all rows, or all columns, are
of one value: 2^(s + 1) - 2 different ones.

When not to trust it: training here sums over all pictures, which no machine of a useful
size can. Biases stay floats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.quant.fake import fake_quantize
from effdl.quant.quantizers import WeightQuantizer


def all_pictures(pixels: int) -> Tensor:
    """Return every picture of 0 and 1, (2^pixels, pixels).

    Args:
        pixels: At most 20.

    Raises:
        ValueError: If there are too many.

    Example:
        >>> all_pictures(2)
        tensor([[0., 0.],
                [1., 0.],
                [0., 1.],
                [1., 1.]])
    """
    check_positive(pixels=pixels)
    if pixels > 20:
        raise ValueError(f"pixels must be at most 20, got {pixels}; 2^20 is a million")
    return (torch.arange(2**pixels)[:, None] >> torch.arange(pixels) & 1).float()


def bars_and_stripes(side: int) -> Tensor:
    """Return the pictures with equal rows or equal columns, (2^(side + 1) - 2, pixels).

    Args:
        side: Pixels of a side.

    Example:
        >>> bars_and_stripes(4).shape
        torch.Size([30, 16])
    """
    lines = all_pictures(side)
    bars = lines[:, None, :].expand(-1, side, -1).flatten(1)
    stripes = lines[:, :, None].expand(-1, -1, side).flatten(1)
    return torch.unique(torch.cat([bars, stripes]), dim=0)


class BoltzmannMachine(nn.Module):
    """A restricted Boltzmann machine, computed exactly.

    Args:
        pixels: Visible units.
        hidden: Hidden units.

    Attributes:
        weight: W, (hidden, pixels), drawn from PyTorch's generator.
        visible: b, (pixels,).
        bias: c, (hidden,).

    Example:
        >>> machine = BoltzmannMachine(4, 2)
        >>> machine(all_pictures(4)).exp().sum().round(decimals=4).item()
        1.0
    """

    def __init__(self, pixels: int, hidden: int) -> None:
        super().__init__()
        check_positive(pixels=pixels, hidden=hidden)
        self.weight = nn.Parameter(0.5 * torch.randn(hidden, pixels))
        self.visible = nn.Parameter(torch.zeros(pixels))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, v: Tensor) -> Tensor:
        """Return log p(v), (N,), of pictures (N, pixels)."""
        every = self._minus_energy(all_pictures(len(self.visible)))
        return self._minus_energy(v) - every.logsumexp(dim=0)

    def _minus_energy(self, v: Tensor) -> Tensor:
        reached = F.softplus(F.linear(v, self.weight, self.bias))
        return v @ self.visible + reached.sum(dim=1)


def divergence(log_p: Tensor, log_q: Tensor) -> float:
    """Return KL(p || q) in nats, summed over all pictures.

    Args:
        log_p: Of every picture, (pictures,).
        log_q: In the same order.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> round(divergence(p.log(), q.log()), 4)
        0.1438
    """
    if log_p.shape != log_q.shape:
        raise ValueError(
            f"log_q must be of {len(log_p)} pictures, as log_p, got {len(log_q)}"
        )
    log_p, log_q = log_p.detach().double(), log_q.detach().double()
    return float((log_p.exp() * (log_p - log_q)).sum())


def round_weights_(machine: BoltzmannMachine, bits: int) -> None:
    """Change the weights to the nearest of 2^bits - 1 levels; the biases stay.

    Args:
        machine: Trained.
        bits: 2 to 16, or ``ValueError``.

    Example:
        >>> machine = BoltzmannMachine(4, 8)
        >>> round_weights_(machine, 2)
        >>> len(machine.weight.unique()) <= 3
        True
    """
    grid = WeightQuantizer(bits, axis=None).grid(machine.weight)
    with torch.no_grad():
        machine.weight.copy_(fake_quantize(machine.weight, grid))
