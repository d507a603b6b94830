"""Forecasts of learning curves: weights, deviations, and the decision to stop."""

import numpy as np
import pytest
from scipy.stats import norm

from effdl.nas.curves.curve_families import (
    EXP3,
    FAMILIES,
    ILOG2,
    LOG,
    POW3,
    fit_family,
)
from effdl.nas.curves.extrapolation import STOP, Forecast, extrapolate

T = np.arange(1.0, 11.0)
NOISY = np.array([0.52, 0.66, 0.70, 0.76, 0.77])


def test_the_weights_are_likelihoods_less_a_price():
    families, sigma = (POW3, EXP3, ILOG2), 0.02
    forecast = extrapolate(NOISY, 10, families=families, noise=sigma)
    fits = [fit_family(NOISY, family) for family in families]
    likely = [norm.pdf(fit(T[:5]), NOISY, sigma).prod() for fit in fits]
    raw = np.array(likely) * np.exp([-3, -3, -2])
    np.testing.assert_allclose(forecast.weights, raw / raw.sum())
    np.testing.assert_allclose(forecast.means, [fit(10) for fit in fits])
    assert forecast.mean == pytest.approx(forecast.weights @ forecast.means)


def test_the_deviation_is_that_of_linear_regression():
    """ilog2 is linear in c and a: x (X^T X)^-1 x^T from the textbook."""
    forecast = extrapolate(NOISY, 10, families=(ILOG2,), noise=0.02)
    x = np.stack((np.ones(5), -1 / np.log(1 + T[:5])), axis=1)
    new = np.array([1, -1 / np.log(11)])
    variance = 0.02**2 * (1 + new @ np.linalg.inv(x.T @ x) @ new)
    assert forecast.deviations[0] == pytest.approx(np.sqrt(variance))


def test_a_mixture_by_hand():
    """Half of N(0.8, 0.1^2), half of N(0.9, 0.1^2): P(y > 0.8) = (0.5 + 0.8413) / 2."""
    half = Forecast(np.array([0.8, 0.9]), np.array([0.1, 0.1]), np.array([0.5, 0.5]))
    assert half.mean == pytest.approx(0.85)
    assert half.probability_above(0.8) == pytest.approx(0.67067, abs=1e-4)


def test_the_deviation_is_that_of_repeated_measurements():
    """150 noisy copies of one curve: forecasts scatter as the formula says."""
    random = np.random.default_rng(0)
    smooth = 0.9 - 0.5 * T[:8] ** -0.8
    found = [
        extrapolate(smooth + random.normal(0, 1e-3, 8), 12, families=(POW3,))
        for _ in range(150)
    ]
    scatter = np.std([forecast.mean for forecast in found])
    promised = extrapolate(smooth, 12, families=(POW3,), noise=1e-3).deviations[0]
    assert np.hypot(scatter, 1e-3) == pytest.approx(promised, rel=0.15)


@pytest.mark.parametrize(
    "curve",
    [
        0.9 - 0.5 * T**-0.8,
        0.9 - 0.5 * np.exp(-0.4 * T),
        0.9 - 0.5 / (1 + (0.5 * T) ** 1.4),
        0.8 - 0.2 / np.log(1 + T),
        0.5 + 0.1 * np.log(T),
    ],
)
def test_without_noise_the_end_of_a_familys_curve_is_exact(curve):
    forecast = extrapolate(curve[:6], 10, noise=1e-5)
    assert forecast.mean == pytest.approx(curve[9], abs=1e-4)
    assert forecast.probability_above(curve[9] - 1e-2) > 1 - STOP
    assert forecast.probability_above(curve[9] + 1e-2) < STOP


def test_probabilities_fall_with_what_is_asked_for():
    forecast = extrapolate(NOISY, 10)
    asked = [forecast.probability_above(best) for best in (-9, 0.7, 0.8, 0.9, 9)]
    assert asked == sorted(asked, reverse=True)
    assert asked[0] == pytest.approx(1)
    assert asked[-1] == pytest.approx(0)


def test_farther_epochs_are_less_certain():
    near, far = (extrapolate(NOISY, e, families=(POW3,)) for e in (6, 20))
    assert near.deviations[0] < far.deviations[0]


def test_families_with_more_numbers_than_epochs_are_silent():
    curve = 0.8 - 0.2 / np.log(1 + T)
    spoke = [len(extrapolate(curve[:n], 10).means) for n in (1, 2, 3, 4)]
    two, three = 2, 4  # ilog2 and log; pow3 and exp3 with them
    assert spoke == [1, two, three, len(FAMILIES)]


def test_a_forecast_beyond_the_possible_is_refused():
    """0.5, 0.9: the logarithm would go on to 1.8."""
    assert fit_family([0.5, 0.9], LOG)(10) > 1
    assert extrapolate([0.5, 0.9], 10, families=(LOG,)).mean == 0.9
    assert extrapolate([0.7], 10, noise=0.05).deviations == 0.05
    assert (extrapolate([0.5, 0.7, 0.8], 10).means <= 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: extrapolate(NOISY, 10, noise=0), "noise must be above 0, got 0"),
        (lambda: extrapolate(NOISY, 10, noise=np.nan), "noise must be above 0"),
        (lambda: extrapolate(NOISY, 0), "epoch must be at least 1"),
        (lambda: extrapolate([np.nan], 10), "curve of run 0 is nan"),
        (lambda: extrapolate([], 10), "at least 1 epochs"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
