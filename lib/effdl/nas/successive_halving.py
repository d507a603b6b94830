"""Successive halving: train many a little, and only the better ones further.

Papers: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", AISTATS 2016, https://arxiv.org/abs/1502.07943; with the
rounds numbered as in Li et al., "Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization", JMLR 2018, https://arxiv.org/abs/1603.06560.

With n cells, R epochs for a whole training and a factor eta, round i = 0, ..., s has

    n_i = floor(n / eta^i) cells     and trains each to     floor(R / eta^(s - i)) = r_i

epochs. The better n_(i+1) of them go on. The last round trains whole. Trainings are
continued, not begun again, so all together cost

    sum over i of n_i (r_i - r_(i-1)) epochs,    r_(-1) = 0

with n = 8, R = 4, eta = 2:  8 cells to 1, 4 to 2, 2 to 4 epochs: 8 + 4 + 4 = 16 epochs
where eight whole trainings take 32.

It finds the best if good cells lead early. Where learning curves cross, they are
dropped before they catch up: compare the order after r_0 epochs with the last one.

What differs: each cell of a table has its own seconds, so that rounds of equal epochs
are not rounds of equal time, as the paper's are. A learning-rate schedule spans all R
epochs, so a stopped training is one that would be continued, not a short one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from effdl.checks import check_positive
from effdl.nas.cell_space import Cell
from effdl.nas.search import Evaluator


class Round(NamedTuple):
    """One round: all of its cells, trained equally far.

    Attributes:
        epochs: How far, r_i.
        cells: The n_i cells, the best first.
        scores: Their scores, in the same order.
    """

    epochs: int
    cells: tuple[Cell, ...]
    scores: tuple[float, ...]


def halving_rounds(
    cells: int, *, epochs: int, factor: int = 2, rounds: int | None = None
) -> list[tuple[int, int]]:
    """Return (n_i, r_i) for every round.

    Args:
        cells: n, how many begin.
        epochs: R, of a whole training.
        factor: eta, at least 2.
        rounds: s + 1. None takes as many as leave a cell and an epoch.

    Raises:
        ValueError: If a number is too small, or there are too many rounds.

    Example:
        >>> halving_rounds(16, epochs=10)
        [(16, 1), (8, 2), (4, 5), (2, 10)]
    """
    check_positive(cells=cells, epochs=epochs)
    if factor < 2:
        raise ValueError(f"factor must be at least 2, got {factor}; 2 halves")
    most, smaller = 1, min(cells, epochs)
    while smaller := smaller // factor:
        most += 1
    rounds = most if rounds is None else rounds
    if not 1 <= rounds <= most:
        raise ValueError(
            f"rounds must be in 1 to {most} for {cells} cells and {epochs} epochs, "
            f"got {rounds}"
        )
    return [
        (cells // factor**i, epochs // factor ** (rounds - 1 - i))
        for i in range(rounds)
    ]


def halving_epochs(rounds: Sequence[tuple[int, int]]) -> int:
    """Return the epochs of all rounds together, trainings being continued.

    Args:
        rounds: As :func:`halving_rounds` returns them.

    Example:
        >>> halving_epochs([(8, 1), (4, 2), (2, 4)])
        16
    """
    before = [0, *(epochs for _, epochs in rounds)]
    return sum(n * (r - b) for (n, r), b in zip(rounds, before, strict=False))


def successive_halving(
    cells: Sequence[Cell],
    evaluator: Evaluator,
    *,
    epochs: int,
    factor: int = 2,
    rounds: int | None = None,
    seed: int = 0,
) -> list[Round]:
    """Return what happened round by round; the best cell is ``[-1].cells[0]``.

    Of equal scores the earlier cell goes on. Raises ``ValueError`` if a number is too
    small, or there are too many rounds.

    Args:
        cells: Those to begin with, all different.
        evaluator: Scores after some epochs, such as a
            :class:`~effdl.nas.search.SimulatedClock` of a table with curves.
        epochs: R, of a whole training.
        factor: eta.
        rounds: s + 1. None takes as many as leave a cell and an epoch.
        seed: Of every training.

    Raises:
        ValueError: If a cell is there twice.

    Example:
        >>> class Late:  # scores a cell by its number, the more the longer it trains
        ...     seconds = 0.0
        ...     def evaluate(self, cell, *, seed=0, epochs=None):
        ...         return cell.index * epochs
        >>> four = [Cell.numbered(i) for i in (5, 9, 2, 7)]
        >>> done = successive_halving(four, Late(), epochs=4)
        >>> [[cell.index for cell in r.cells] for r in done]
        [[9, 7, 5, 2], [9, 7], [9]]
    """
    if len(set(cells)) < len(cells):
        raise ValueError("cells must differ; draw them without replacement")
    done: list[Round] = []
    left = tuple(cells)
    for count, trained in halving_rounds(
        len(cells), epochs=epochs, factor=factor, rounds=rounds
    ):
        scores = {
            cell: evaluator.evaluate(cell, seed=seed, epochs=trained)
            for cell in left[:count]
        }
        left = tuple(sorted(scores, key=lambda cell: -scores[cell]))
        done.append(Round(trained, left, tuple(scores[cell] for cell in left)))
    return done
