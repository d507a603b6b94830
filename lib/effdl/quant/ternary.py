"""Three values for a weight: a threshold, a scale, and the best choice of both.

Paper: Li et al., "Ternary Weight Networks", 2016, https://arxiv.org/abs/1605.04711.

    t = +1 if w > D,  0 if |w| <= D,  -1 if w < -D          D >= 0, the threshold
    alpha, D minimise the error  sum (w - alpha t)^2

For a given D let K be the weights with ``|w|`` > D, k their number, and S the sum of
their sizes. The best alpha is their mean S / k, and with it the error is the sum of w^2
minus S^2 / k. So only thresholds between neighbours in the sorted sizes differ, n of
them, and cumulative sums try them all. No other choice of t is better: for a given k, S
is largest if K holds the k largest.

Where S^2 / k is stationary, D = S / (2 k): *the best threshold is half the scale*. For
a density p of ``|w|``, S loses D p and k loses p as D grows, and
2 S S' k = S^2 k' is 2 D k = S. In a sample, too, alpha / 2 parts the best K from the
rest. In units of the mean of ``|w|``, which the paper's rule multiplies by 0.7:

    uniform on -a to a    D = (a + D) / 4, D = a / 3             2 / 3
    Gaussian              D = phi(D) / (2 (1 - Phi(D)))          0.767
    Laplace               D = (D + b) / 2, D = b                 1

0.7 is a rule of thumb between the first two, no optimum.

Everything here works on rows, (..., n), each with its own threshold and scale;
:mod:`effdl.quant.twn` makes rows of a layer's weight. Nothing here has a gradient.
"""

import math

import torch
from torch import Tensor

from effdl.quant.checks import check_finite


def ternarize(rows: Tensor, threshold: Tensor | float) -> Tensor:
    """Return -1, 0 and +1 in the type of the weights, without a gradient.

    Args:
        rows: Weights w, (..., n).
        threshold: D, 0 or more, a number or (..., 1); ``|w|`` = D gives 0.

    Raises:
        ValueError: If ``threshold`` is negative. NaN and infinity are refused, too.

    Example:
        >>> ternarize(torch.tensor([0.9, 0.5, -0.2, -0.6]), 0.5)
        tensor([ 1.,  0.,  0., -1.])
    """
    rows = rows.detach()
    limit = torch.as_tensor(threshold).detach()
    check_finite(rows=rows, threshold=limit)
    if bool((limit < 0).any()):
        raise ValueError(
            f"threshold must be 0 or more, got {limit.min().item():.4g}; use abs"
        )
    return (rows > limit).to(rows.dtype) - (rows < -limit).to(rows.dtype)


def rule_of_thumb(rows: Tensor, factor: float = 0.7) -> Tensor:
    """Return the factor times the mean of ``|w|``, (..., 1), without a gradient.

    Args:
        rows: Weights w, (..., n).
        factor: 0.7 in the paper's rule, 0 or more.

    Raises:
        ValueError: If ``factor`` is negative or no number. NaN and infinity in the
            weights are refused, too.

    Example:
        >>> rule_of_thumb(torch.tensor([1.0, -3.0]))
        tensor([1.4000])
    """
    check_finite(rows=rows)
    if not 0 <= factor < math.inf:
        raise ValueError(f"factor must be 0 or more, got {factor}; the paper has 0.7")
    return factor * rows.detach().abs().mean(dim=-1, keepdim=True)


def best_threshold(rows: Tensor) -> Tensor:
    """Return the threshold of the smallest error, (..., 1), without a gradient.

    It is half of the best scale; 0 for weights that are all 0. Where two numbers of
    weights kept are equally good, it is that of the smaller one.

    Args:
        rows: Weights w, (..., n); not finite ones raise ``ValueError``.

    Example:
        >>> best_threshold(torch.tensor([1.0, -3.0, 0.2]))
        tensor([1.5000])
    """
    check_finite(rows=rows)
    sizes = rows.detach().abs().double().sort(dim=-1, descending=True).values
    kept = torch.arange(1, sizes.shape[-1] + 1).to(sizes)
    sums = sizes.cumsum(dim=-1)
    best = (sums.square() / kept).argmax(dim=-1, keepdim=True)
    return (sums.gather(-1, best) / (2 * (best + 1))).to(rows.dtype)


def ternary_scale(rows: Tensor, codes: Tensor) -> Tensor:
    """Return alpha, the mean of ``|w|`` where the code is not 0, (..., 1).

    It is the least-squares scale for these codes if their signs are those of w. A row
    of zeros has the scale 0. There is no gradient.

    Args:
        rows: Weights w, (..., n).
        codes: -1, 0 and +1, of the same shape.

    Example:
        >>> w = torch.tensor([1.0, -3.0, 0.2])
        >>> ternary_scale(w, torch.tensor([1.0, -1.0, 0.0]))
        tensor([2.])
    """
    kept = codes.detach().abs()
    sums = (kept * rows.detach().abs()).sum(dim=-1, keepdim=True)
    return sums / kept.sum(dim=-1, keepdim=True).clamp(min=1)


def ternary_error(rows: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the squared error with the best scale as a share of the sum of w^2.

    Shape (..., 1); 0 for weights that are all 0. A threshold that keeps no weight has
    the error 1. There is no gradient.

    Args:
        rows: Weights w, (..., n).
        threshold: D, a number or (..., 1); negative ones raise ``ValueError``.

    Example:
        >>> ternary_error(torch.tensor([1.0, -3.0]), 0.5)
        tensor([0.2000])
    """
    codes, rows = ternarize(rows, threshold), rows.detach()
    wrong = (rows - ternary_scale(rows, codes) * codes).square().sum(-1, keepdim=True)
    return wrong / _no_zeros(rows.square().sum(-1, keepdim=True))


def gaussian_factor() -> float:
    """Return the best threshold of Gaussian weights over the mean of their ``|w|``.

    Found by bisection for a deviation of 1, where the best threshold is 0.612.

    Example:
        >>> round(gaussian_factor(), 4)
        0.767
    """
    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _half_scale(middle) > middle else (low, middle)
    return low * math.sqrt(math.pi / 2)


def _half_scale(threshold: float) -> float:
    """Return half of the mean size beyond a threshold, for a standard Gaussian."""
    density = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    beyond = math.erfc(threshold / math.sqrt(2)) / 2
    return density / (2 * beyond)


def _no_zeros(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, 1)
