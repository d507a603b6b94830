"""L0 regularisation: a gate that is exactly 0 or 1 now and then, and has a gradient.

Paper: Louizos et al., "Learning Sparse Neural Networks through L0 Regularization", ICLR
2018, https://arxiv.org/abs/1712.01312.

How many weights are not 0 has no slope. The chance that a noisy gate is not 0 has one.
Draw u uniform on 0 to 1, and stretch a soft coin beyond both ends before cutting it:

    s = sigmoid((log u - log(1 - u) + a) / beta)       a = log alpha is learned
    z = min(1, max(0, s (zeta - gamma) + gamma))       gamma = -0.1 < 0, zeta = 1.1 > 1

    P(z > t)  = sigmoid(a - beta log((t - gamma) / (zeta - t)))       for 0 <= t < 1
    P(z != 0) = sigmoid(a - beta log(-gamma / zeta))                  its t = 0
    P(z = 1)  = sigmoid(a - beta log((1 - gamma) / (zeta - 1)))       its limit t -> 1
    E[z]      = integral of P(z > t) over t from 0 to 1

Expected L0 is the sum of P(z != 0); it is added to the loss. When training is over, the
gate is min(1, max(0, sigmoid(a) (zeta - gamma) + gamma)), without noise.

What differs: the authors' program draws a near a start value and keeps it within -log
100 and log 100; here all begin at one value, and may go anywhere.

Before trusting it: how many gates are 0 in the end is not N minus the expected L0. The
gate without noise is 0 up to a = -log 11 = -2.4, where P(z != 0) is still 0.31.

:mod:`effdl.prune.gated_layers` puts gates on weights, or on inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HardConcrete:
    """The distribution of the gates; all its functions work on each a alone.

    Attributes:
        beta: Temperature, above 0: the lower, the more often z is 0 or 1.
        gamma: Where s = 0 is stretched to, below 0.
        zeta: Where s = 1 is stretched to, above 1.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> round(HardConcrete().open_probability(torch.tensor(0.0)).item(), 4)
        0.8318
    """

    beta: float = 2 / 3
    gamma: float = -0.1
    zeta: float = 1.1

    def __post_init__(self) -> None:
        if not (self.beta > 0 and self.gamma < 0 and self.zeta > 1):
            raise ValueError(
                "beta must be above 0, gamma below 0 and zeta above 1, "
                f"got {self.beta}, {self.gamma} and {self.zeta}"
            )

    def sample(self, log_alpha: Tensor, uniform: Tensor) -> Tensor:
        """Return z, with a gradient to log alpha where it is neither 0 nor 1.

        Args:
            log_alpha: a, any shape.
            uniform: u, from 0 to 1, of the same shape.
        """
        return self._stretched(((uniform.logit() + log_alpha) / self.beta).sigmoid())

    def without_noise(self, log_alpha: Tensor) -> Tensor:
        """Return the gate of a trained network, shaped like ``log_alpha``.

        Args:
            log_alpha: a, any shape.
        """
        return self._stretched(log_alpha.sigmoid())

    def above_probability(self, log_alpha: Tensor, level: float | Tensor) -> Tensor:
        """Return P(z > t).

        Args:
            log_alpha: a, any shape.
            level: t, from 0 to 1; at 1 the limit from below, which is P(z = 1).
        """
        level = torch.as_tensor(level, dtype=log_alpha.dtype)
        odds = (level - self.gamma) / (self.zeta - level)
        return (log_alpha - self.beta * odds.log()).sigmoid()

    def open_probability(self, log_alpha: Tensor) -> Tensor:
        """Return P(z != 0), shaped like ``log_alpha``.

        Args:
            log_alpha: a, any shape.
        """
        return self.above_probability(log_alpha, 0.0)

    def mean(self, log_alpha: Tensor) -> Tensor:
        """Return E[z], by 20 nodes of Gauss and Legendre: exact to about 1e-6.

        Args:
            log_alpha: a, any shape.
        """
        nodes, shares = np.polynomial.legendre.leggauss(20)  # on -1 to 1
        levels = log_alpha.new_tensor((nodes + 1) / 2)
        above = self.above_probability(log_alpha[..., None], levels)
        return above @ log_alpha.new_tensor(shares / 2)

    def _stretched(self, soft: Tensor) -> Tensor:
        return (soft * (self.zeta - self.gamma) + self.gamma).clamp(0, 1)


class HardConcreteGate(nn.Module):
    """Gates with a learned log alpha each: new noise in training, none in evaluation.

    The noise comes from PyTorch's generator.

    Args:
        shape: Of the gates.
        log_alpha: Where all begin. At 0, a gate is 0 in one of six draws.
        distribution: Temperature and ends.

    Example:
        >>> gate = HardConcreteGate((2, 3)).eval()
        >>> gate()
        tensor([[0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000]], grad_fn=<ClampBackward1>)
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        log_alpha: float = 0.0,
        distribution: HardConcrete = HardConcrete(),
    ) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.full(tuple(shape), float(log_alpha)))
        self.distribution = distribution

    def forward(self) -> Tensor:
        """Return the gates, from 0 to 1, of the shape that was asked for."""
        if self.training:
            uniform = torch.rand_like(self.log_alpha)
            return self.distribution.sample(self.log_alpha, uniform)
        return self.without_noise()

    def without_noise(self) -> Tensor:
        """Return the gates of evaluation, in either mode."""
        return self.distribution.without_noise(self.log_alpha)

    def expected_open(self) -> Tensor:
        """Return how many gates are not 0, in expectation, a scalar."""
        return self.distribution.open_probability(self.log_alpha).sum()
