"""Random search, the baseline to beat, and what it finds in expectation.

Paper: Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture
Search", UAI 2019, https://arxiv.org/abs/1902.07638.

Random search asks for cells in a random order and learns nothing from the answers. So,
where a table of all N scores is at hand, it need not even be run. Sort the scores,
a_1 <= ... <= a_N. The best of n different draws is the i-th if it was drawn, and the
other n - 1 come from the i - 1 below:

    E[best of n] = sum over i of p_i a_i,      p_i = C(i - 1, n - 1) / C(N, n)

The binomials are astronomically large, their ratios are not. From the top down

    p_N = n / N,      p_(i-1) = p_i (i - n) / (i - 1)

Equal scores are equally likely to be drawn first. That matters where cells are chosen
by one score and reported by another, such as validation and test accuracy: report the
mean over those that the first score cannot tell apart.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from effdl.nas.cell_space import Cell

Floats = NDArray[np.float64]


class RandomSearch:
    """The strategy that asks for every cell once, in a random order.

    Args:
        cells: What to draw from. Draw from the classes of a table rather than from all
            15,625 strings, or a function that has many strings is drawn more often.
        random: Shuffles the cells, once.

    Raises:
        ValueError: If there is no cell.

    Example:
        >>> search = RandomSearch([Cell.numbered(7)], np.random.default_rng(0))
        >>> search.ask().index, search.ask()
        (7, None)
    """

    def __init__(self, cells: Sequence[Cell], random: np.random.Generator) -> None:
        if not cells:
            raise ValueError("cells is empty; give at least one to ask for")
        self.order = iter([cells[i] for i in random.permutation(len(cells))])

    def ask(self) -> Cell | None:
        """Return a cell that was not asked for yet; None when there is none."""
        return next(self.order, None)

    def tell(self, _cell: Cell, _score: float, /) -> None:
        """Learn nothing."""


def expected_best(
    scores: Floats, draws: int, *, reported: Floats | None = None
) -> float:
    """Return the expected score of the best of some random draws, without replacement.

    Args:
        scores: What is chosen by, (N,), the higher the better.
        draws: n, from 1 to N.
        reported: What is reported of the chosen one, (N,); ``scores`` unless given.

    Raises:
        ValueError: If ``scores`` is not a row of numbers, ``draws`` is out of range, or
            ``reported`` has another shape.

    Example:
        >>> expected_best(np.array([1.0, 2.0, 3.0]), 2)  # 2, 3 and 3 are equally likely
        2.6666666666666665
    """
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(
            f"scores must be (N,) and finite, got shape {scores.shape}; "
            "leave out what was not measured"
        )
    if not 1 <= draws <= len(scores):
        raise ValueError(f"draws must be in 1 to {len(scores)}, got {draws}")
    reported = scores if reported is None else reported
    if reported.shape != scores.shape:
        raise ValueError(
            f"reported must have shape {scores.shape}, got {reported.shape}"
        )
    _, level = np.unique(scores, return_inverse=True)  # equal scores, equal level
    chosen = np.bincount(np.sort(level), best_is(len(scores), draws))
    means = np.bincount(level, reported) / np.bincount(level)
    return float(chosen @ means)


def best_is(count: int, draws: int) -> Floats:
    """Return how likely the best of some draws is the lowest, ..., the highest of all.

    Args:
        count: N, how many there are to draw from.
        draws: n, from 1 to N.

    Returns:
        The p_i, (N,). They sum to 1, and the first n - 1 are 0.

    Example:
        >>> best_is(4, 2).tolist()
        [0.0, 0.16666666666666666, 0.3333333333333333, 0.5]
    """
    i = np.arange(count, 1, -1)  # from the top down
    down = np.cumprod(np.concatenate(([draws / count], (i - draws) / (i - 1))))
    return np.abs(down[::-1])  # no -0.0: below n the product has met a factor 0
