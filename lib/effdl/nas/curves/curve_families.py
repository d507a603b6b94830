"""Families of learning curves, and the member nearest to the first epochs of a run.

Paper: Domhan et al., "Speeding Up Automatic Hyperparameter Optimization of Deep Neural
Networks by Extrapolation of Learning Curves", IJCAI 2015. For curves over the number of
examples, such families are reviewed in Viering and Loog, "The Shape of Learning Curves:
a Review", TPAMI 2023, https://arxiv.org/abs/2103.10948.

A family says how accuracy rises with the epoch t. All families here have the form

    y(t) = c - a g(t; theta)        a >= 0: no curve falls

    pow3     t^-alpha               exp3    exp(-k t)
    pow4     (t + r)^-alpha         weibull exp(-(k t)^delta)
    ilog2    1 / log(1 + t)         mmf     1 / (1 + (k t)^delta)
    log      -log t, which knows no end

so that for given theta the best c and a are in closed form,

    a = - cov(g, y) / var(g), at least 0        c = mean(y) + a mean(g)

and only theta, one number or two, is searched for: from a few starts, then by least
squares.

The eleven families of the first paper are fewer than they look. Janoschek, Weibull and
exp4 are one function in three notations; Hill3 and the logistic power are another,
which is mmf from zero. Its vapour pressure and log log linear are not of the form
above, and left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from effdl.nas.curves.training_speed import Floats, as_curves

RATES = (0.01, 0.1, 0.3, 1.0, 3.0)
POWERS = (0.1, 0.3, 0.7, 1.0, 2.0)
TRIED = 3  # starts that are followed, the best ones


@dataclass(frozen=True)
class Family:
    """One way for accuracy to rise: y(t) = c - a g(t; theta).

    Attributes:
        name: For tables.
        shape: The falling function g of the epochs t (n,) and the numbers theta.
        starts: Where the search for each number of theta begins, all above 0.
    """

    name: str
    shape: Callable[..., Floats]
    starts: tuple[tuple[float, ...], ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers it has: c, a, and theta."""
        return 2 + len(self.starts)


POW3 = Family("pow3", lambda t, alpha: t**-alpha, (POWERS,))
POW4 = Family("pow4", lambda t, r, alpha: (t + r) ** -alpha, (RATES, POWERS))
EXP3 = Family("exp3", lambda t, k: np.exp(-k * t), (RATES,))
WEIBULL = Family("weibull", lambda t, k, d: np.exp(-((k * t) ** d)), (RATES, POWERS))
MMF = Family("mmf", lambda t, k, d: 1 / (1 + (k * t) ** d), (RATES, POWERS))
ILOG2 = Family("ilog2", lambda t: 1 / np.log(1 + t))
LOG = Family("log", lambda t: -np.log(t))
FAMILIES = (POW3, POW4, EXP3, WEIBULL, MMF, ILOG2, LOG)


@dataclass(frozen=True)
class CurveFit:
    """A member of a family: call it with epochs to get accuracies.

    Attributes:
        family: Which one.
        level: The c that the curve approaches.
        amplitude: The a, 0 or more.
        theta: The numbers of the shape.
        error: Sum of the squared residuals of the fit.
    """

    family: Family
    level: float
    amplitude: float
    theta: tuple[float, ...]
    error: float

    def __call__(self, t: ArrayLike) -> Floats:
        """Return the accuracy after the epochs ``t``, counted from 1."""
        epochs = np.asarray(t, dtype=np.float64)
        return self.level - self.amplitude * self.family.shape(epochs, *self.theta)


def fit_family(curve: ArrayLike, family: Family) -> CurveFit:
    """Return the member of a family that is nearest to a curve by least squares.

    Args:
        curve: Accuracy after the epochs 1, 2, ..., (epochs,); two or more.
        family: Should have no more parameters than there are epochs.

    Example:
        >>> fit = fit_family(0.9 - 0.5 / np.arange(1, 6), POW3)
        >>> round(float(fit(10)), 4), round(fit.theta[0], 4)
        (0.85, 1.0)
    """
    y = as_curves(np.asarray(curve)[None], shortest=2, name="curve")[0]

    def residuals(log_theta: Floats) -> Floats:
        member = _member(y, family, log_theta)
        return member(np.arange(1, len(y) + 1)) - y

    grid = [np.log(theta) for theta in itertools.product(*family.starts)]
    found = sorted((_member(y, family, x) for x in grid), key=lambda m: m.error)[:TRIED]
    fine = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12)  # residuals are small
    for start in found[:] if family.starts else []:
        x = np.log(start.theta)
        box = (x - 4, x + 4)  # a factor of 55 either way
        best = least_squares(residuals, x, bounds=box, **fine).x
        found.append(_member(y, family, best))
    return min(found, key=lambda m: m.error)


def _member(y: Floats, family: Family, log_theta: Floats) -> CurveFit:
    """Return the best c and a for given theta."""
    theta = tuple(float(x) for x in np.exp(log_theta))
    g = family.shape(np.arange(1.0, len(y) + 1), *theta)
    centred = g - g.mean()
    square = centred @ centred
    amplitude = max(0.0, float(-(centred @ y) / square)) if square > 1e-18 else 0.0
    level = float(y.mean() + amplitude * g.mean())
    error = float(((level - amplitude * g - y) ** 2).sum())
    return CurveFit(family, level, amplitude, theta, error)
