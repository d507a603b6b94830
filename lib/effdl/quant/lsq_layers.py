"""Quantizers of weights and activations that learn their step, for any network.

Paper: Esser et al., "Learned Step Size Quantization", ICLR 2020,
https://arxiv.org/abs/1902.08153, section 2.

    signed      -2^(bits-1) to 2^(bits-1) - 1        weights
    unsigned    0 to 2^bits - 1                      activations that are never below 0

    first step          2 mean|v| / sqrt(highest), of the weight, or of the first batch
    gradient factor     1 / sqrt(N highest), N: weights, or values of one sample

They go where :func:`effdl.quant.insert.insert_quantizers` puts them:

    insert_quantizers(
        folded,
        weight=lambda name, w: LsqWeight(w, 2),
        activation=lambda name: LsqActivation(2),
    )

What differs: one step a channel is possible; activations are signed if the first batch
holds a value below 0, as the networks of the paper have ReLU everywhere and ours not.

Before trusting it: the step begins where no data has been asked for its accuracy, so
without training these are poor quantizers.
"""

import torch
from torch import Tensor, nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.checks import check_bits, check_finite
from effdl.quant.grid import Grid
from effdl.quant.lsq import first_step, lsq


class LsqWeight(nn.Module):
    """A weight's quantizer with a learned step; a parametrization.

    Args:
        weight: What it begins with; the step is made of it.
        bits: 2 to 16.
        axis: Dimension of the output channels, each with a step; None for one.

    Attributes:
        step: The parameter, () or (channels,).

    Example:
        >>> layer = LsqWeight(torch.tensor([0.4, -0.6]), 2)
        >>> layer(torch.tensor([0.4, -0.6]))
        tensor([ 0., -1.], grad_fn=<_LsqBackward>)
    """

    def __init__(self, weight: Tensor, bits: int, *, axis: int | None = None) -> None:
        super().__init__()
        check_bits(bits, smallest=2)
        self.lowest, self.highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        self.axis = axis
        self.step = nn.Parameter(first_step(weight, self.highest, axis=axis))

    def grid(self, weight: Tensor) -> Grid:
        """Return the grid of today; it does not depend on the weight, (channels, ...).

        Args:
            weight: Only its number of channels matters, elsewhere.
        """
        del weight
        return _grid(self.step, self.lowest, self.highest, self.axis)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight."""
        step, _ = _grid(
            _above_zero(self.step), self.lowest, self.highest, self.axis
        ).along(weight)
        factor = (weight.numel() / step.numel() * self.highest) ** -0.5
        return lsq(weight, step, self.lowest, self.highest, factor=factor)


class LsqActivation(nn.Module):
    """An activation's quantizer with a learned step.

    The first batch decides on the step to begin with, and on signed or unsigned. Let
    it be a batch of the training part.

    Args:
        bits: 2 to 16, or 1 for an activation that is never below 0.

    Attributes:
        step: The parameter, ().
        ready: Whether it has seen a batch.
        signed: Whether that held a value below 0.

    Example:
        >>> layer = LsqActivation(2)
        >>> x = layer(torch.tensor([0.0, 3.0]))
        >>> round(layer.step.item(), 3), bool(layer.signed)
        (1.732, False)
    """

    ready: Tensor
    signed: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("ready", torch.tensor(data=False))
        self.register_buffer("signed", torch.tensor(data=False))

    def grid(self) -> Grid:
        """Return the grid of today; ``ValueError`` before the first batch."""
        lowest, highest = self._limits()
        return _grid(self.step, lowest, highest, None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded activation, of any shape."""
        if not self.ready:
            check_finite(activation=x)
            self.signed.fill_(bool((x < 0).any()))
            self.ready.fill_(value=True)
            with torch.no_grad():
                self.step.copy_(first_step(x, self._limits()[1]))
        lowest, highest = self._limits()
        # The size of one sample, not of the batch, as the paper counts features.
        factor = (x[0].numel() * highest) ** -0.5 if x.ndim else highest**-0.5
        return lsq(x, _above_zero(self.step), lowest, highest, factor=factor)

    def _limits(self) -> tuple[int, int]:
        if not self.ready:
            raise ValueError("there is no step yet; send a batch through first")
        if not self.signed:
            return 0, 2**self.bits - 1
        check_bits(self.bits, smallest=2)
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1


def _above_zero(step: Tensor) -> Tensor:
    """Return the step, a tiny one if it was pushed below 0; it can come back."""
    return straight_through(step, step.detach().clamp(min=1e-6))


def _grid(step: Tensor, lowest: int, highest: int, axis: int | None) -> Grid:
    zeros = torch.zeros_like(step, dtype=torch.int32, requires_grad=False)
    return Grid(step, zeros, lowest, highest, axis)
