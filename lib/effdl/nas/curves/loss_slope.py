"""LCGA: rank networks by the slope of their loss curve.

Paper: Zhao et al., "Loss Curve Approximations for Fast Neural Architecture Ranking &
Training Elasticity Estimation", IPDPS Workshops 2022,
https://doi.org/10.1109/IPDPSW55747.2022.00123.

The loss jumps from step to step, so its slope is not read off the data. A smooth curve
is fitted first, and the slope is that of the curve. For a loss that falls like that of
gradient descent on a convex function,

    l(t)  = 1 / (b1 + b2 t) + b3          b1, b2, b3 >= 0, by least squares
    l'(t) = - b2 / (b1 + b2 t)^2
    LCGA  = mean of l'(t) over t = w + 1 .. n        w: epochs that burn in

The paper is in no open text. This is a RECONSTRUCTION after the public toolbox of its
authors (MIT, "Green Computing Toolbox"), which also divides by the root of the second
derivative. That quotient can be simplified, which the toolbox does not do:

    l'(t) / sqrt(l''(t)) = - 1 / sqrt(2 (b1 + b2 t)) = - sqrt((l(t) - b3) / 2)

It is no slope any more, but the *level* of the fitted loss above its floor.

Which sign of the slope is good is not settled by the idea: a steep curve belongs to a
network that learns fast, or to one that still has far to go. Look at networks whose end
you know before you rank others, and remember that TSE needs no fit.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from effdl.nas.curves.training_speed import Floats, as_curves

PARAMETERS = 3


def fit_hyperbola(losses: ArrayLike) -> Floats:
    """Return b1, b2 and b3 of the hyperbola nearest to each curve, (runs, 3).

    Args:
        losses: Training loss of every epoch or step, from t = 1 on, above 0,
            (runs, epochs) with three epochs or more.

    Raises:
        ValueError: If a loss is not above 0.

    Example:
        >>> t = np.arange(1, 6)
        >>> fit_hyperbola([1 / (0.5 + t) + 0.2]).round(3) + 0
        array([[0.5, 1. , 0.2]])
    """
    curves = as_curves(losses, shortest=PARAMETERS)
    if curves.min() <= 0:
        raise ValueError(
            f"losses must be above 0, got {curves.min()}; pass losses, not scores"
        )
    return np.array([_nearest(curve) for curve in curves])


def lcga(losses: ArrayLike, *, burn_in: int = 0) -> Floats:
    """Return the mean slope of the fitted loss of each run, 0 or less.

    Args:
        losses: As in :func:`fit_hyperbola`.
        burn_in: Epochs w at the start whose slope does not count.

    Returns:
        Loss per epoch, (runs,).

    Example:
        >>> t = np.arange(1, 6)
        >>> lcga([1 / t, 2 / t]).round(4)
        array([-0.2927, -0.5854])
    """
    b, t = _fitted(losses, burn_in)
    reach = b[:, :1] + b[:, 1:2] * t  # b1 + b2 t, (runs, epochs)
    return (-b[:, 1:2] / reach**2).mean(axis=1)


def lcga_normalised(losses: ArrayLike, *, burn_in: int = 0) -> Floats:
    """Return the mean of l' / sqrt(l''): minus the root of half the excess loss.

    Args:
        losses: As in :func:`fit_hyperbola`.
        burn_in: Epochs w at the start that do not count.

    Returns:
        One number a run, (runs,).

    Example:
        >>> lcga_normalised([[2.0, 1.0, 2 / 3, 0.5]], burn_in=3).round(3)
        array([-0.5])
    """
    b, t = _fitted(losses, burn_in)
    return (-1 / np.sqrt(2 * (b[:, :1] + b[:, 1:2] * t))).mean(axis=1)


def power_law_slope(losses: ArrayLike, *, floor: float = 0.0) -> Floats:
    """Return the slope of log(loss - floor) against log(epoch), by least squares.

    For l(t) = floor + b t^(-c) it is -c.

    Args:
        losses: Training loss of every epoch, (runs, epochs) with two epochs or more.
        floor: What the loss cannot get below.

    Returns:
        One number a run, (runs,).

    Raises:
        ValueError: If a loss is not above the floor.

    Example:
        >>> power_law_slope([[4.0, 2.0, 4 / 3]]).round(6)
        array([-1.])
    """
    curves = as_curves(losses, shortest=2)
    if curves.min() <= floor:
        raise ValueError(
            f"floor must be below every loss, got {floor} and a loss of {curves.min()}"
        )
    x = np.log(np.arange(1, curves.shape[1] + 1))
    x = x - x.mean()
    return np.log(curves - floor) @ x / (x @ x)


def _fitted(losses: ArrayLike, burn_in: int) -> tuple[Floats, Floats]:
    """Return the fits and the epochs that count.

    Raises:
        ValueError: If no epoch would count.
    """
    epochs = as_curves(losses).shape[1]
    if not 0 <= burn_in < epochs:
        raise ValueError(f"burn_in must be in 0 to {epochs - 1}, got {burn_in}")
    return fit_hyperbola(losses), np.arange(burn_in + 1.0, epochs + 1.0)


def _nearest(curve: Floats) -> Floats:
    """Return the hyperbola of least squares, found from several floors."""
    t = np.arange(1.0, len(curve) + 1)
    scale = curve.max()  # so that the tolerances fit losses of any size

    def residuals(b: Floats) -> Floats:
        return 1 / (b[0] + b[1] * t) + b[2] - curve / scale

    def slopes(b: Floats) -> Floats:
        square = (b[0] + b[1] * t) ** -2.0
        return np.stack((-square, -t * square, np.ones_like(t)), axis=1)

    fits = []
    for share in (0.1, 0.9):  # of the lowest loss: the floor to begin with
        floor = share * curve.min() / scale
        slope, start = np.polyfit(t, 1 / (curve / scale - floor), 1)
        guess = np.maximum((start, slope, floor), 1e-3)
        fine = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12)
        box = (0, np.inf)
        fits.append(least_squares(residuals, guess, slopes, bounds=box, **fine))
    b = min(fits, key=lambda fit: fit.cost).x
    return np.array([b[0] / scale, b[1] / scale, b[2] * scale])
