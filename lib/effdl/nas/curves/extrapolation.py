"""Extrapolate a learning curve: fit a few families, weigh them, read off the end.

Paper: Domhan et al., "Speeding Up Automatic Hyperparameter Optimization of Deep Neural
Networks by Extrapolation of Learning Curves", IJCAI 2015; as a predictor for NAS in
White et al., "How Powerful are Performance Predictors in Neural Architecture Search?",
NeurIPS 2021, https://arxiv.org/abs/2104.01177.

Every family m of :mod:`effdl.nas.curves.curve_families` with p_m parameters is fitted
to the first epochs and leaves a squared error R_m. How much it counts, and what all say
about epoch T:

    w_m ~ exp(-R_m / (2 sigma^2) - p_m)         likelihood, less a price of parameters
    y(T) ~ sum over m of w_m N(y_m(T), s_m^2)   s_m: of the linearised least squares
    P(y(T) > best)                              small: stop this run

What differs: the paper draws all parameters, and the weights of one sum of all
families, by Markov chains; here each family has its best fit, and sigma is given.

A forecast outside 0..1 is refused, as in the paper. Before trusting one: three epochs
cannot tell families apart, and a learning-rate schedule bends curves in ways that no
family knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from effdl.checks import check_positive
from effdl.nas.curves.curve_families import FAMILIES, CurveFit, Family, fit_family
from effdl.nas.curves.training_speed import Floats, as_curves

STOP = 0.05  # the paper stops a run that is less likely than this to be the best


@dataclass(frozen=True)
class Forecast:
    """What the families say about one epoch: a mixture of normal distributions.

    Attributes:
        means: Accuracy by family, (families,).
        deviations: Its standard deviation, (families,).
        weights: How much each family counts, (families,); they sum to 1.
    """

    means: Floats
    deviations: Floats
    weights: Floats

    @property
    def mean(self) -> float:
        """The expected accuracy."""
        return float(self.weights @ self.means)

    def probability_above(self, best: float) -> float:
        """Return how likely the accuracy exceeds ``best``: if hardly, stop the run."""
        return float(self.weights @ ndtr((self.means - best) / self.deviations))


def extrapolate(
    curve: ArrayLike,
    epoch: int,
    *,
    families: Sequence[Family] = FAMILIES,
    noise: float = 0.01,
) -> Forecast:
    """Return what the first epochs of a run say about a later one.

    Args:
        curve: Accuracy, 0 to 1, after the epochs 1, 2, ..., (epochs,).
        epoch: The T to predict.
        families: Those with more parameters than epochs are passed over.
        noise: Deviation sigma of a measured accuracy, above 0.

    Returns:
        The forecast. If no family may speak, the last accuracy takes its place.

    Raises:
        ValueError: If ``noise`` is not above 0.

    Example:
        >>> forecast = extrapolate(0.9 - 0.5 / np.arange(1, 6), 10, noise=1e-4)
        >>> round(forecast.mean, 3), forecast.probability_above(0.87) < STOP
        (0.85, True)
    """
    check_positive(epoch=epoch)
    if not noise > 0:
        raise ValueError(f"noise must be above 0, got {noise}; 0.01 is one point")
    y = as_curves(np.asarray(curve)[None], name="curve")[0]
    fits = [fit_family(y, f) for f in families if f.parameters <= len(y)]
    fits = [fit for fit in fits if 0 <= fit(epoch) <= 1]
    if not fits:
        return Forecast(y[-1:], np.array([noise]), np.ones(1))
    scores = [-fit.error / (2 * noise**2) - fit.family.parameters for fit in fits]
    weights = np.exp(np.array(scores) - max(scores))
    spreads = [noise * _spread(fit, len(y), epoch) for fit in fits]
    means = np.array([float(fit(epoch)) for fit in fits])
    return Forecast(means, np.array(spreads), weights / weights.sum())


def _spread(fit: CurveFit, seen: int, epoch: int) -> float:
    """Return the deviation of a new measurement in units of the noise."""
    t = np.array([*range(1, seen + 1), epoch], dtype=np.float64)
    columns = [np.ones_like(t), -fit.family.shape(t, *fit.theta)]
    for i, x in enumerate(fit.theta):
        near = [(*fit.theta[:i], x * s, *fit.theta[i + 1 :]) for s in (0.999, 1.001)]
        low, high = (fit.family.shape(t, *theta) for theta in near)
        columns.append(-fit.amplitude * (high - low) / 0.002)
    slopes = np.stack(columns, axis=1)  # (seen + 1, parameters)
    reach = slopes[-1] @ np.linalg.pinv(slopes[:-1], rcond=1e-6)
    return float(np.sqrt(1 + reach @ reach))
