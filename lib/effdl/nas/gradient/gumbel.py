"""Gumbel-softmax: draw one of K, and send a gradient through the draw.

Paper: Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017,
https://arxiv.org/abs/1611.01144.

    g_k = -log(-log u_k)                u_k uniform on 0 to 1, g_k Gumbel noise
    k*  = argmax over k of (a_k + g_k)  is k with probability p_k = softmax(a)_k
    y   = softmax((a + g) / tau)        the same without the edge: tau > 0

The noise holds all the randomness, so that y has a gradient to the logits a. Near
tau = 0, y is the one-hot vector of k*, and its gradient is 0 but for rare, huge values;
for large tau, y is nearly uniform, whatever a is. Searches begin warm and cool down.

Straight through: the value is the one-hot vector h, the gradient that of y.

    w = h + (y - stop(y))

The bracket is exactly 0, and w exactly 0 or 1: a candidate with the weight 0 need not
run. That gradient is not one of the mean loss: it is biased, and more so the warmer it
is.

Logits may be shifted by a constant: log p and a are the same here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture

Temperature = Callable[[float], float]  # of the progress of a search, 0 to 1


def gumbel_noise(like: Tensor) -> Tensor:
    """Return independent Gumbel noise, without a gradient, from PyTorch's generator.

    Args:
        like: Gives shape and type.

    Example:
        >>> gumbel_noise(torch.zeros(6, 5)).shape
        torch.Size([6, 5])
    """
    # -log u is exponential; drawn as such, it is never 0 and never infinite.
    return -torch.empty_like(like, requires_grad=False).exponential_().log()


def gumbel_softmax(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Return y, shaped like the logits; every row sums to 1.

    Args:
        logits: (..., K); minus infinity for what is not to be drawn.
        noise: Of the same shape.
        temperature: tau.

    Raises:
        ValueError: If ``temperature`` is not above 0.

    Example:
        >>> logits, noise = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
        >>> gumbel_softmax(logits, noise, 0.1).round(decimals=4)
        tensor([1., 0.])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; try 0.1")
    return ((logits + noise) / temperature).softmax(dim=-1)


def straight_through(soft: Tensor, hard: Tensor) -> Tensor:
    """Return the values of ``hard``, exactly, with the gradient of ``soft``.

    Args:
        soft: Finite.
        hard: Of the same shape.

    Example:
        >>> straight_through(torch.tensor([0.3, 0.7]), torch.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    return hard + (soft - soft.detach())


def one_hot_of_largest(scores: Tensor) -> Tensor:
    """Return 1 at the largest score of each row and 0 elsewhere, without a gradient.

    Args:
        scores: (..., K).

    Example:
        >>> one_hot_of_largest(torch.tensor([[0.1, 0.3, 0.2]]))
        tensor([[0., 1., 0.]])
    """
    return F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).to(scores.dtype)


def falling_linearly(start: float, end: float) -> Temperature:
    """Return a temperature that falls by the same amount in every step.

    Args:
        start: At progress 0.
        end: At progress 1, above 0 and at most ``start``, or ``ValueError``.

    Example:
        >>> falling_linearly(10.0, 0.5)(0.5)
        5.25
    """
    _check_falls(start, end)
    return lambda progress: start + (end - start) * progress


def falling_exponentially(start: float, end: float) -> Temperature:
    """Return a temperature that falls by the same factor in every step.

    Args:
        start: At progress 0.
        end: At progress 1, above 0 and at most ``start``, or ``ValueError``.

    Example:
        >>> falling_exponentially(4.0, 1.0)(0.5)
        2.0
    """
    _check_falls(start, end)
    return lambda progress: start * (end / start) ** progress


@dataclass(frozen=True)
class ConcreteWeights:
    """A relaxation that draws y: all weights are above 0, and every candidate runs.

    At a low temperature a weight may round to 0. Its gradient is then 0, too.

    Attributes:
        temperature: tau as a function of progress.

    Example:
        >>> found = Architecture([("skip", "conv")] * 6)
        >>> ConcreteWeights(falling_exponentially(1.0, 0.1))(found, 0.0).shape
        torch.Size([6, 2])
    """

    temperature: Temperature

    def __call__(self, architecture: Architecture, progress: float = 0.0) -> Tensor:
        """Return new weights (edges, K), a row for each edge drawn alone."""
        logits = architecture.masked_logits()
        tau = self.temperature(progress)
        return gumbel_softmax(logits, gumbel_noise(logits), tau)


@dataclass(frozen=True)
class HardWeights:
    """A relaxation that draws one candidate: weights 0 and 1, with the gradient of y.

    Attributes:
        temperature: tau as a function of progress; it decides on the gradient only.

    Example:
        >>> found = Architecture([("skip", "conv")] * 6)
        >>> HardWeights(falling_linearly(10.0, 0.1))(found, 0.0).sum(dim=1).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    temperature: Temperature

    def __call__(self, architecture: Architecture, progress: float = 0.0) -> Tensor:
        """Return new weights (edges, K), a row for each edge drawn alone."""
        logits = architecture.masked_logits()
        noise = gumbel_noise(logits)
        soft = gumbel_softmax(logits, noise, self.temperature(progress))
        return straight_through(soft, one_hot_of_largest((logits + noise).detach()))


def _check_falls(start: float, end: float) -> None:
    """Require 0 < end <= start.

    Raises:
        ValueError: If it is not so.
    """
    if not 0 < end <= start:
        raise ValueError(f"end must be above 0 and at most start={start}, got {end}")
