"""Two problems of two levels with known solutions: two numbers, and a ridge regression.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, figure 2, has the first; one level is the choice of
Hou et al., "Single-DARTS", ICCV Workshops 2021, https://arxiv.org/abs/2108.08128.

The toy, with one w and one alpha:

    L_train = w^2 - 2 alpha w + alpha^2    so w*(alpha) = alpha
    L_val   = alpha w - 2 alpha + 1        so L_val(w*(alpha), alpha) = (alpha - 1)^2

Its solution is alpha = w = 1. What a search finds, in closed form, is alpha = w =

    2 / (1 + 2 xi)                                looking ahead by a step of rate xi:
                                                  2 for first order, 1 for xi = 1/2
    (r_w alpha_0 + r_alpha w_0) / (r_w + r_alpha) on one level, by L_train alone

The whole line alpha = w is stationary for one level, and the solution lies on it. Where
on the line it stops, the start and the learning rates r decide, and no loss.

The ridge regression is a search in small: a prediction mixes features, each with a
weight of its own, as an edge mixes operations. It is not from a paper.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from effdl.nas.gradient.bilevel import Gradient, Loss, TwoLevels

Pair = tuple[float, float]  # a number for w and one for alpha


def toy_training(w: Tensor, alpha: Tensor) -> Tensor:
    """Return the toy's training loss; w follows alpha.

    Args:
        w: (1,).
        alpha: (1,).

    Example:
        >>> toy_training(torch.tensor([-2.0]), torch.tensor([2.0]))
        tensor(16.)
    """
    return (w**2 - 2 * alpha * w + alpha**2).sum()


def toy_validation(w: Tensor, alpha: Tensor) -> Tensor:
    """Return the toy's validation loss.

    Args:
        w: As in :func:`toy_training`.
        alpha: As well.

    Example:
        >>> toy_validation(torch.tensor([-2.0]), torch.tensor([2.0]))
        tensor(-7.)
    """
    return (alpha * w - 2 * alpha + 1).sum()


TOY = TwoLevels(toy_training, toy_validation)  # the problem with two numbers


def toy_end_ahead(rate: float) -> float:
    """Return the alpha (and w) at which a search of the toy stands still on two levels.

    Args:
        rate: By how much it looks ahead, xi; 0 is the first order.

    Example:
        >>> toy_end_ahead(0), toy_end_ahead(0.5)
        (2.0, 1.0)
    """
    return 2 / (1 + 2 * rate)


def toy_end_together(start: Pair, rates: Pair) -> float:
    """Return the alpha (and w) at which a search of the toy stands still on one level.

    Args:
        start: w and alpha at first.
        rates: Their learning rates.

    Example:
        >>> toy_end_together((-2, 2), (0.1, 0.1))
        0.0
        >>> toy_end_together((-2, 2), (0.75, 0.25))
        1.0
    """
    (w, alpha), (rate_w, rate_alpha) = start, rates
    return (rate_w * alpha + rate_alpha * w) / (rate_w + rate_alpha)


def descend_in_turn(
    problem: TwoLevels, gradient: Gradient, start: Pair, *, rates: Pair, steps: int
) -> Tensor:
    """Return the path of alpha by any gradient, and then w by the training loss.

    Args:
        problem: The two losses, of numbers.
        gradient: Of alpha, such as
            :func:`~effdl.nas.gradient.bilevel.first_order_gradient`.
        start: w and alpha at first.
        rates: Their learning rates.
        steps: Pairs of moves.

    Returns:
        w and alpha, the start included, (steps + 1, 2).

    Example:
        >>> from effdl.nas.gradient.bilevel import first_order_gradient
        >>> slope, rates = first_order_gradient, (0.5, 0.25)
        >>> descend_in_turn(TOY, slope, (-2, 2), rates=rates, steps=1)[-1].tolist()
        [3.0, 3.0]
    """
    w, alpha = torch.tensor(start, dtype=torch.float64).split(1)
    path = [torch.cat((w, alpha))]
    for _ in range(steps):
        alpha = alpha - rates[1] * gradient(problem, w, alpha)
        w = w - rates[0] * _slopes(problem.training, w, alpha)[0]
        path.append(torch.cat((w, alpha)))
    return torch.stack(path)


def descend_together(loss: Loss, start: Pair, *, rates: Pair, steps: int) -> Tensor:
    """Return the path of w and alpha, both by one gradient of one loss.

    Args:
        loss: Of numbers.
        start: w and alpha at first.
        rates: Their learning rates.
        steps: Moves.

    Returns:
        w and alpha, the start included, (steps + 1, 2).

    Example:
        >>> quarter = (0.25, 0.25)
        >>> descend_together(toy_training, (-2, 2), rates=quarter, steps=1).tolist()
        [[-2.0, 2.0], [0.0, 0.0]]
    """
    w, alpha = torch.tensor(start, dtype=torch.float64).split(1)
    path = [torch.cat((w, alpha))]
    for _ in range(steps):
        of_w, of_alpha = _slopes(loss, w, alpha)
        w, alpha = w - rates[0] * of_w, alpha - rates[1] * of_alpha
        path.append(torch.cat((w, alpha)))
    return torch.stack(path)


class MixtureRidge(NamedTuple):
    """Ridge regression on mixed features: y ~ sum over k of softmax(alpha)_k w_k x_k.

    Attributes:
        inputs: Features and targets to train on, (N, n) and (N,).
        judges: Features and targets to validate on.
        ridge: Weight of ``|w|^2`` in the training loss, above 0.

    Example:
        >>> one = torch.ones(1, 1), torch.ones(1)
        >>> MixtureRidge(one, one, ridge=1.0).best_weights(torch.zeros(1))
        tensor([0.5000])
    """

    inputs: tuple[Tensor, Tensor]
    judges: tuple[Tensor, Tensor]
    ridge: float

    def training(self, w: Tensor, alpha: Tensor) -> Tensor:
        """Return the mean squared error plus ridge ``|w|^2``."""
        return _error(self.inputs, w, alpha) + self.ridge * (w**2).sum()

    def validation(self, w: Tensor, alpha: Tensor) -> Tensor:
        """Return the mean squared error on the validation part."""
        return _error(self.judges, w, alpha)

    def curvature(self, alpha: Tensor) -> Tensor:
        """Return the second derivatives (n, n) of the training loss by w."""
        mixed = self.inputs[0] * alpha.softmax(dim=0)
        ridge = torch.full_like(alpha, self.ridge).diag()
        return 2 * (mixed.T @ mixed / len(mixed) + ridge)

    def best_weights(self, alpha: Tensor) -> Tensor:
        """Return w*(alpha), (n,), with gradients to ``alpha``."""
        (x, y), share = self.inputs, alpha.softmax(dim=0)
        return torch.linalg.solve(self.curvature(alpha), 2 * (x * share).T @ y / len(y))


def _error(part: tuple[Tensor, Tensor], w: Tensor, alpha: Tensor) -> Tensor:
    x, y = part
    return ((x @ (alpha.softmax(dim=0) * w) - y) ** 2).mean()


def _slopes(loss: Loss, w: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
    w, alpha = w.detach().requires_grad_(), alpha.detach().requires_grad_()
    return torch.autograd.grad(loss(w, alpha), (w, alpha))
