"""Model compression of 2006: an ensemble labels data that somebody has to invent.

Paper: Bucila et al., "Model Compression", KDD 2006,
https://doi.org/10.1145/1150402.1150464, years before the word distillation.

An ensemble is good and slow. Let it label very many inputs, and train one small net on
its labels: with enough of them a net cannot overfit, it learns the function. What is
missing are the inputs. They must lie where data lie, and MUNGE makes them out of data.
For every example e, one after the other, with its nearest neighbour e', and for every
attribute a, with probability p,

    sd    = |e_a - e'_a| / s
    e_a  <- N(e'_a, sd)   and   e'_a <- N(e_a, sd)       both old values, exchanged

Whoever comes later finds the neighbours as they are by then. One pass over the data
invents as many examples as there were. Afterwards the next pass begins with the data
again. The larger the local variance parameter s, the less noise there is.

The alternatives: every attribute from the values that it had, without regard to the
others (:func:`independent_points`; the paper calls this RANDOM), which keeps each
attribute's distribution and nothing of how they depend on one another; and anything
between the extremes (:func:`uniform_points`). :func:`energy_distance` tells how far a
set of points is from another.

What differs: the paper sets p and s for each task; our defaults are between its
extremes; on digits, validation chose p = 0.5 and s = 1. Continuous attributes only; the
paper exchanges discrete ones. Its third alternative, a mixture of naive Bayes models,
is left out.

Before trusting it: distances need attributes on one scale, such as 0 to 1. Gaps between
classes get filled where a nearest neighbour is of another class.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from effdl.checks import check_positive
from effdl.distill.checks import check_share

Floats = NDArray[np.float64]


def munge(
    data: Floats,
    passes: int,
    random: np.random.Generator,
    *,
    swap: float = 0.75,
    sharpness: float = 2.0,
) -> Floats:
    """Return invented examples near the data, (passes n, d).

    Args:
        data: Examples with continuous attributes on one scale, (n, d); n at least 2.
        passes: How many times n examples to invent, at least 1.
        random: Where randomness comes from.
        swap: p, the probability of exchanging an attribute; 0 returns the data.
        sharpness: s above 0, the local variance parameter; infinity adds no noise.

    Raises:
        ValueError: If ``sharpness`` is not above 0.

    Example:
        >>> data = np.array([[0.0, 1.0], [1.0, 0.0], [9.0, 9.0]])
        >>> random = np.random.default_rng(0)
        >>> munge(data, 2, random, swap=0.0).shape
        (6, 2)
    """
    _check_points("data", data)
    check_positive(passes=passes, neighbours=len(data) - 1)
    check_share(swap=swap)
    if not sharpness > 0:  # nan is not
        raise ValueError(
            f"sharpness must be above 0, got {sharpness}; infinity adds no noise"
        )
    invented = [_one_pass(data, random, swap, sharpness) for _ in range(passes)]
    return np.concatenate(invented)


def independent_points(data: Floats, n: int, random: np.random.Generator) -> Floats:
    """Return points whose attributes are drawn from the data one by one, (n, d).

    Args:
        data: Examples, (m, d).
        n: How many to draw, at least 1.
        random: Where randomness comes from.

    Example:
        >>> data = np.array([[0.0, 10.0], [1.0, 11.0]])
        >>> points = independent_points(data, 5, np.random.default_rng(0))
        >>> set(points[:, 1]) <= {10.0, 11.0}
        True
    """
    _check_points("data", data)
    check_positive(n=n)
    rows = random.integers(len(data), size=(n, data.shape[1]))
    return np.take_along_axis(data, rows, axis=0)


def uniform_points(data: Floats, n: int, random: np.random.Generator) -> Floats:
    """Return points from anywhere between the extremes of each attribute, (n, d).

    Args:
        data: Examples, (m, d).
        n: How many to draw, at least 1.
        random: Where randomness comes from.

    Example:
        >>> data = np.array([[0.0, 10.0], [1.0, 10.0]])
        >>> uniform_points(data, 5, np.random.default_rng(0)).shape
        (5, 2)
    """
    _check_points("data", data)
    check_positive(n=n)
    return random.uniform(data.min(0), data.max(0), size=(n, data.shape[1]))


def energy_distance(a: Floats, b: Floats) -> float:
    """Return 2 E|A - B| - E|A - A'| - E|B - B'| of two sets of points.

    It is 0 if the sets are the same and positive otherwise. In one dimension it is the
    square of ``scipy.stats.energy_distance``.

    Args:
        a: Points, (n, d).
        b: Points, (m, d).

    Raises:
        ValueError: If the dimensions differ.

    Example:
        >>> energy_distance(np.zeros((3, 1)), np.ones((5, 1)))
        2.0
    """
    _check_points("a", a)
    _check_points("b", b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} columns and b {b.shape[1]}")
    across = cdist(a, b).mean()
    return float(2 * across - cdist(a, a).mean() - cdist(b, b).mean())


def _one_pass(
    data: Floats, random: np.random.Generator, swap: float, sharpness: float
) -> Floats:
    points = data.copy()
    for number in range(len(points)):
        distance = ((points - points[number]) ** 2).sum(1)
        distance[number] = np.inf  # nobody is its own neighbour
        other = int(distance.argmin())
        chosen = random.random(points.shape[1]) < swap
        pair = points[[other, number]]  # (2, d), exchanged already
        noise = random.standard_normal(pair.shape) * np.abs(pair[0] - pair[1])
        points[[number, other]] = np.where(chosen, pair + noise / sharpness, pair[::-1])
    return points


def _check_points(name: str, points: Floats) -> None:
    if points.ndim != 2 or not points.size:
        raise ValueError(
            f"{name} must be points (n, d), not empty, got shape {points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"{name} has values that are not finite; leave them out")
