"""Pairs of a teacher and a student by enumeration: who should teach whom?

Paper: Liu et al., "Search to Distill: Pearls are Everywhere but not the Eyes", CVPR
2020, https://arxiv.org/abs/1911.09074, search for the student that suits a teacher.

For a few networks no search is needed. Distil every teacher into every student, with
several seeds, and look at the table y[teacher, student, seed]:

    own against one   what it gains that each student has the best teacher of its
                      column, against one and the same for all
    interaction       what is left of y when every student's level and every teacher's
                      level are taken out

Without an interaction all students rank the teachers alike, and different best teachers
are noise. It is tested against its change from seed to seed: with T teachers, S
students and K seeds

    F = [K sum of interaction^2 / ((T - 1)(S - 1))]
        / [sum of (interaction of a seed - interaction)^2 / ((T - 1)(S - 1)(K - 1))]

A proxy that is to replace the table is asked for Kendall's tau three times: over all
cells, over the teachers of a student, over the students of a teacher. The second says
whether it finds a teacher; the first is high if it only knows good students.

Before trusting it: a best teacher that is chosen on the data that is reported looks too
good, so two tables choose and report. F assumes normal errors, equal in all cells.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from effdl.nas.ranking import kendall

Table = NDArray[np.float64]
Teacher = TypeVar("Teacher")
Student = TypeVar("Student")


class Agreement(NamedTuple):
    """Kendall's tau of scores and values of pairs.

    Attributes:
        cells: Over all pairs.
        teachers: Over the teachers of a student, the mean over students.
        students: Over the students of a teacher, the mean over teachers.
    """

    cells: float
    teachers: float
    students: float


class Interaction(NamedTuple):
    """How far students differ in the order of their teachers.

    Attributes:
        points: Root of the mean squared interaction, in the unit of the values.
        p: The chance of so large an F if there were none.
    """

    points: float
    p: float


def every_pair(
    teachers: Sequence[Teacher],
    students: Sequence[Student],
    measure: Callable[[Teacher, Student], float],
) -> Table:
    """Return what is measured for every pair, (teachers, students).

    Args:
        teachers: Names, networks or whatever ``measure`` takes.
        students: The same.
        measure: Such as the accuracy of this student after this teacher.

    Raises:
        ValueError: If there is no teacher or no student.

    Example:
        >>> every_pair([1, 2], [10, 20, 30], lambda t, s: t * s).tolist()
        [[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]]
    """
    if not len(teachers) or not len(students):
        raise ValueError("teachers or students is empty; give at least one of each")
    return np.array([[measure(t, s) for s in students] for t in teachers], float)


def best_teachers(values: ArrayLike) -> NDArray[np.intp]:
    """Return the number of the best teacher of every student, (students,).

    Args:
        values: The more, the better, (teachers, students); ``ValueError`` if nan.

    Example:
        >>> best_teachers([[0.7, 0.9], [0.8, 0.6]]).tolist()
        [1, 0]
    """
    return _table(values, 2).argmax(axis=0)


def own_against_one(chosen_by: ArrayLike, reported: ArrayLike) -> float:
    """Return the mean gain of a teacher for each student over one for all.

    Args:
        chosen_by: Such as validation accuracy, (teachers, students).
        reported: Such as test accuracy, the same shape. The gain can be below 0.

    Raises:
        ValueError: If the shapes differ, or a table holds nan.

    Example:
        >>> table = [[0.75, 1.0], [1.0, 0.5]]
        >>> own_against_one(table, table)
        0.125
    """
    choice, values = _table(chosen_by, 2), _table(reported, 2)
    if choice.shape != values.shape:
        shapes = f"{choice.shape} and {values.shape}"
        raise ValueError(f"chosen_by and reported must have one shape, got {shapes}")
    students = np.arange(values.shape[1])
    one = choice.mean(axis=1).argmax()
    return float((values[choice.argmax(axis=0), students] - values[one]).mean())


def interaction(values: ArrayLike) -> Interaction:
    """Return how far students rank teachers differently, and whether that is noise.

    Args:
        values: (teachers, students, seeds), at least two of each.

    Raises:
        ValueError: If there are fewer, or the table holds nan.

    Example:
        >>> found = interaction([[[1, 1], [0, 0]], [[0, 0], [1, 1.5]]])
        >>> round(found.points, 4), found.p < 0.2
        (0.5625, True)
    """
    table = _table(values, 3)
    teachers, students, seeds = table.shape
    if min(table.shape) < 2:
        raise ValueError(f"values must have two of each or more, got {table.shape}")
    centred = table - table.mean(axis=0) - table.mean(axis=1)[:, None]
    centred += table.mean(axis=(0, 1))
    common = centred.mean(axis=2, keepdims=True)
    free = (teachers - 1) * (students - 1)
    signal = seeds * (common**2).sum() / free
    noise = ((centred - common) ** 2).sum() / (free * (seeds - 1))
    ratio = signal / max(noise, 1e-24 * (table**2).mean(), 1e-300)  # rounding
    chance = float(stats.f.sf(ratio, free, free * (seeds - 1)))
    return Interaction(float(np.sqrt((common**2).mean())), chance)


def pair_agreement(scores: ArrayLike, values: ArrayLike) -> Agreement:
    """Return how well scores order pairs, their teachers and their students.

    Args:
        scores: What ranks, (teachers, students), two of each or more, without nan;
            else ``ValueError``.
        values: The truth, such as accuracies, the same shape.

    Example:
        >>> scores = [[0, 1], [0, 1]]  # knows the students only
        >>> found = pair_agreement(scores, [[0.5, 0.8], [0.6, 0.9]])
        >>> [round(tau, 2) for tau in found]
        [0.82, nan, 1.0]
    """
    ranks, truth = _table(scores, 2), _table(values, 2)
    return Agreement(
        kendall(ranks.ravel(), truth.ravel()),
        _mean_kendall(ranks.T, truth.T),
        _mean_kendall(ranks, truth),
    )


def _mean_kendall(scores: Table, values: Table) -> float:
    """Return the mean tau of the rows that have one, nan if none has."""
    taus = [kendall(*rows) for rows in zip(scores, values, strict=True)]
    known = [tau for tau in taus if not np.isnan(tau)]
    return float(np.mean(known)) if known else float("nan")


def _table(values: ArrayLike, axes: int) -> Table:
    """Return values as a table.

    Raises:
        ValueError: If they are none.
    """
    table = np.asarray(values, float)
    if table.ndim != axes or table.size == 0 or np.isnan(table).any():
        shape = ("teachers", "students", "seeds")[:axes]
        raise ValueError(
            f"a table must be ({', '.join(shape)}) without nan, got {table.shape}"
        )
    return table
