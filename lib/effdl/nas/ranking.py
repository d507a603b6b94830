"""How well one number orders networks by another, and who is not beaten at all.

Papers: rank correlations are Spearman's and Kendall's; which of them to ask of a proxy
is discussed in Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021,
https://arxiv.org/abs/2101.08134, and White et al., "How Powerful are Performance
Predictors in Neural Architecture Search?", NeurIPS 2021,
https://arxiv.org/abs/2104.01177.

    Spearman    correlation of the ranks
    Kendall     (pairs in the same order - pairs in the opposite order) / all pairs,
                corrected for ties (tau-b)
    top half    Spearman among those whose true value is at least the median
    precision   of the share with the highest scores, how many have the highest values

A score can order a whole space well and still fail among the good, which is where a
search ends. So ask for the last two as well. All of them need the truth, and the truth
has noise: not even a second training with another seed reaches 1.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from effdl.checks import check_positive, check_share

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


def spearman(scores: ArrayLike, values: ArrayLike) -> float:
    """Return Spearman's rank correlation, -1 to 1; nan if all scores are equal.

    Raises ``ValueError`` if the two are not equally many numbers, at least two.

    Args:
        scores: What ranks, (n,).
        values: The truth, (n,).

    Example:
        >>> spearman([1, 2, 3], [10, 20, 15])
        0.5
    """
    scores, values = _paired(scores, values)
    if np.ptp(scores) == 0 or np.ptp(values) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(scores), stats.rankdata(values))[0, 1])


def kendall(scores: ArrayLike, values: ArrayLike) -> float:
    """Return Kendall's tau-b, -1 to 1; nan if all scores are equal.

    Takes the arguments of :func:`spearman` and raises its errors.

    Example:
        >>> round(kendall([1, 2, 3], [10, 20, 15]), 3)
        0.333
    """
    scores, values = _paired(scores, values)
    return float(stats.kendalltau(scores, values).statistic)


def top_half(scores: ArrayLike, values: ArrayLike) -> float:
    """Return Spearman's correlation among those whose value is at least the median.

    Takes the arguments of :func:`spearman` and raises its errors.

    Example:
        >>> round(top_half([0, 9, 1, 2], [1, 2, 3, 4]), 6)
        1.0
    """
    scores, values = _paired(scores, values)
    good = values >= np.median(values)
    return spearman(scores[good], values[good])


def precision_at_top(scores: ArrayLike, values: ArrayLike, share: float = 0.1) -> float:
    """Return how many of the highest-scored are among the highest-valued, 0 to 1.

    Of equal scores, those that come first count as higher, so shuffle what is sorted.
    Raises ``ValueError`` if the share is out of range.

    Args:
        scores: What ranks, (n,).
        values: The truth, (n,).
        share: Part of the n that is the top, above 0; at least one is taken.

    Example:
        >>> precision_at_top([4, 3, 2, 1], [4, 1, 3, 2], share=0.5)
        0.5
    """
    scores, values = _paired(scores, values)
    check_share(share=share)
    count = max(1, round(share * len(scores)))
    chosen = np.argsort(-scores, kind="stable")[:count]
    best = np.argsort(-values, kind="stable")[:count]
    return len(set(chosen) & set(best)) / count


def bootstrap_interval(
    statistic: Statistic,
    scores: ArrayLike,
    values: ArrayLike,
    random: np.random.Generator,
    *,
    draws: int = 1000,
) -> tuple[float, float]:
    """Return the central 95 percent of a statistic over samples with replacement.

    Samples in which the statistic is not a number are left out.

    Args:
        statistic: Such as :func:`spearman`.
        scores: What ranks, (n,).
        values: The truth, (n,).
        random: Advanced by the call.
        draws: Samples, at least 1.

    Example:
        >>> x = np.arange(20)
        >>> low, high = bootstrap_interval(spearman, x, -x, np.random.default_rng(0))
        >>> round(low, 6), round(high, 6)
        (-1.0, -1.0)
    """
    scores, values = _paired(scores, values)
    check_positive(draws=draws)
    chosen = random.integers(len(scores), size=(draws, len(scores)))
    found = [statistic(scores[row], values[row]) for row in chosen]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def pareto_front(costs: ArrayLike, values: ArrayLike) -> NDArray[np.intp]:
    """Return who is not beaten: nobody else has less cost and at least the same value.

    Args:
        costs: The less, the better, (n,).
        values: The more, the better, (n,).

    Returns:
        Places, by rising cost and value. Of exact copies the first is kept.

    Example:
        >>> pareto_front([3, 1, 2, 4], [9, 5, 4, 9]).tolist()
        [1, 0]
    """
    costs, values = _paired(costs, values)
    order = np.lexsort((-values, costs))
    best = np.maximum.accumulate(values[order])
    rises = np.concatenate([[True], best[1:] > best[:-1]])
    return order[rises]


def _paired(
    scores: ArrayLike, values: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as arrays.

    Raises:
        ValueError: If they cannot be compared one by one, or hold nan.
    """
    first, second = np.asarray(scores, float), np.asarray(values, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(
            "scores and values must be (n,) with the same n of at least 2, got "
            f"shapes {first.shape} and {second.shape}"
        )
    for name, numbers in (("scores", first), ("values", second)):
        if np.isnan(numbers).any():
            raise ValueError(
                f"{name} holds {int(np.isnan(numbers).sum())} nan; leave them out"
            )
    return first, second
