"""Combine several zero-cost proxies into one ranking.

Papers: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021,
https://arxiv.org/abs/2101.08134 (vote), and Chen et al., "Neural Architecture Search
on ImageNet in Four GPU Hours" (TE-NAS), ICLR 2021, https://arxiv.org/abs/2102.11535
(sum of ranks).

Proxies have different units, so their values cannot be added. For K proxies s_k of M
networks, each the larger the better:

    rank sum   r_i = sum over k of the rank of s_ki among s_k1 ... s_kM
    vote       v_i = sum over j of sign( sum over k of sign(s_ki - s_kj) )
    z-scores   z_i = sum over k of (s_ki - mean of s_k) / deviation of s_k
    regression f_i = a + sum over k of b_k z_ki, fitted to networks already trained

The vote asks about each pair: which of the two do most proxies prefer? As a score it
counts pairs won less pairs lost. Majorities can run in a circle (A before B, B before
C, C before A); then all three score alike.

What differs: TE-NAS numbers equal values alike and goes on with the next number; here
they share the mean of their ranks, so that a proxy with many ties weighs no less.

A combination wins only over the best of its parts *and* the parameter count, on
networks that chose neither the parts nor the weights: see :func:`held_out_regression`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def rank_sum(*scores: ArrayLike) -> Floats:
    """Return the sum of the ranks in all scores; order counts, distance does not.

    Args:
        *scores: One array (M,) per proxy, the larger the better: negate a condition
            number. May be infinite.

    Returns:
        (M,), each rank from 0 for the worst to M - 1.

    Example:
        >>> rank_sum([10, 20, 30], [0.1, 0.3, 0.2])
        array([0., 3., 3.])
    """
    return np.sum([_ranks(score) for score in _table(scores)], axis=0)


def vote(*scores: ArrayLike) -> Floats:
    """Return for every network the pairs it wins by majority less those it loses.

    Args:
        *scores: One array (M,) per proxy, the larger the better. May be infinite.

    Returns:
        (M,), whole numbers from -(M - 1) to M - 1.

    Example:
        >>> vote([1, 2, 3], [1, 3, 2], [2, 1, 3])
        array([-2.,  0.,  2.])
    """
    table = _table(scores)
    won = [np.sign(_signs(table, i).sum(axis=0)).sum() for i in range(table.shape[1])]
    return np.array(won, dtype=np.float64)


def z_score_sum(*scores: ArrayLike) -> Floats:
    """Return the sum of the standardised scores; distance counts, outliers rule.

    Args:
        *scores: One array (M,) per proxy, the larger the better; finite, not all equal.

    Returns:
        (M,), of mean 0.

    Example:
        >>> z_score_sum([1, 2, 3], [30, 20, 10])
        array([0., 0., 0.])
    """
    return _standardised(_table(scores)).sum(axis=0)


def held_out_regression(
    accuracies: ArrayLike,
    *scores: ArrayLike,
    random: np.random.Generator,
    folds: int = 10,
) -> Floats:
    """Return a least-squares prediction of every accuracy from other networks only.

    Args:
        accuracies: Of the trained networks, (M,).
        *scores: One array (M,) per proxy; finite. Signs do not matter.
        random: Deals the networks into folds.
        folds: Parts; each is predicted by a fit to all others.

    Returns:
        Predictions (M,).

    Raises:
        ValueError: If there are fewer than two folds or more than networks, or as many
            coefficients as networks to fit them to.

    Example:
        >>> x = np.arange(20.0)
        >>> y = held_out_regression(2 * x, x, -x, random=np.random.default_rng(0))
        >>> bool(np.allclose(y, 2 * x))
        True
    """
    targets = _table((accuracies, *scores))[0]
    features = _standardised(_table(scores)).T  # (M, K)
    count, proxies = features.shape
    if not 2 <= folds <= count:
        raise ValueError(f"folds must be in 2..{count} (the networks), got {folds}")
    if count - -(-count // folds) <= proxies:
        raise ValueError(
            f"{count} networks in {folds} folds are too few for {proxies} proxies"
        )
    design = np.column_stack([np.ones(count), features])
    predicted = np.empty(count)
    for part in np.array_split(random.permutation(count), folds):
        others = np.setdiff1d(np.arange(count), part)
        fit = np.linalg.lstsq(design[others], targets[others], rcond=None)[0]
        predicted[part] = design[part] @ fit
    return predicted


def _table(scores: tuple[ArrayLike, ...]) -> Floats:
    """Return the scores as rows, (K, M).

    Raises:
        ValueError: If there is none, they are not of one length, or one is no number.
    """
    rows = [np.asarray(score, dtype=np.float64) for score in scores]
    if not rows:
        raise ValueError("scores is empty; give one array for each proxy")
    for row in rows:
        if row.ndim != 1 or row.size == 0 or row.shape != rows[0].shape:
            raise ValueError(
                "scores must be arrays of one length, one value per network, "
                f"got shapes {[r.shape for r in rows]}"
            )
        if np.isnan(row).any():
            raise ValueError("scores must be numbers, got nan; leave the network out")
    return np.stack(rows)


def _ranks(score: Floats) -> Floats:
    """Return ranks from 0, equal values share their mean."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def _signs(table: Floats, i: int) -> Floats:
    """Return 1 where network i is better, -1 where it is worse, (K, M)."""
    own = table[:, i : i + 1]
    return (own > table).astype(np.float64) - (own < table)  # inf - inf is no sign


def _standardised(table: Floats) -> Floats:
    """Return every row with mean 0 and deviation 1.

    Raises:
        ValueError: If a value is infinite, or a row constant.
    """
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite, got inf; use rank_sum or vote")
    spread = table.std(axis=1, keepdims=True)
    if not spread.all():
        raise ValueError("scores must differ between networks, one proxy is constant")
    return (table - table.mean(axis=1, keepdims=True)) / spread
