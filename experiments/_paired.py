"""How much better a method is than another over the same seeds, as pages print it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from _numbers import Answer


def paired(first: ArrayLike, second: ArrayLike, digits: int = 1) -> Answer:
    """Return the mean difference, and it in points with its 95 % interval, as a text.

    The interval is that of Student's t over the pairs.

    Args:
        first: Shares, 0 to 1, one for each seed.
        second: Of another method, in the same order of seeds.
        digits: Decimals of a point.

    Raises:
        ValueError: If they are not equally many, or fewer than two.
    """
    one, other = (np.asarray(values, dtype=float) for values in (first, second))
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(
            f"first and second must be equally many, two or more, got shapes "
            f"{one.shape} and {other.shape}"
        )
    apart = 100 * (one - other)
    mean, half = apart.mean(), stats.t.ppf(0.975, len(apart) - 1) * stats.sem(apart)
    low, high = (signed(end, digits) for end in (mean - half, mean + half))
    return float(mean / 100), f"{signed(mean, digits)} points ({low} to {high})"


def signed(number: float, digits: int = 1) -> str:
    """Return a number with its sign; a zero has none of below."""
    text = f"{round(number, digits) + 0.0:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
