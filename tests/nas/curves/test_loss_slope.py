"""Slopes of fitted loss curves: exact on the curves that the fit is made for."""

import numpy as np
import pytest

from effdl.nas.curves.loss_slope import (
    fit_hyperbola,
    lcga,
    lcga_normalised,
    power_law_slope,
)
from effdl.nas.curves.training_speed import tse

T = np.arange(1, 9)
B = np.array([[0.5, 1.0, 0.2], [0.3, 0.1, 0.0], [0.1, 0.4, 1.0]])


def hyperbola(b, t):
    return 1 / (b[:, :1] + b[:, 1:2] * t) + b[:, 2:]


def test_the_scores_are_derivatives_of_the_fit_by_finite_differences():
    h, t = 1e-4, T[2:]
    low, middle, high = hyperbola(B, t - h), hyperbola(B, t), hyperbola(B, t + h)
    first, second = (high - low) / (2 * h), (high - 2 * middle + low) / h**2
    found = lcga(hyperbola(B, T), burn_in=2)
    np.testing.assert_allclose(found, first.mean(axis=1), rtol=1e-3)
    found = lcga_normalised(hyperbola(B, T), burn_in=2)
    np.testing.assert_allclose(found, (first / np.sqrt(second)).mean(axis=1), rtol=1e-3)


def test_one_over_t_by_hand():
    """1 / t has the slopes -1, -1/4, -1/9 and the levels sqrt(1/2), sqrt(1/4), ..."""
    curve = [1 / np.arange(1, 4)]
    assert lcga(curve)[0] == pytest.approx(-(1 + 1 / 4 + 1 / 9) / 3, rel=1e-4)
    assert lcga(curve, burn_in=2)[0] == pytest.approx(-1 / 9, rel=1e-4)
    by_hand = -np.sqrt(1 / 2 / np.arange(1, 4)).mean()
    assert lcga_normalised(curve)[0] == pytest.approx(by_hand, rel=1e-4)


def test_a_hyperbola_is_found_again():
    np.testing.assert_allclose(fit_hyperbola(hyperbola(B, T)), B, atol=1e-3)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_fit_scales_with_the_losses(size):
    wanted = B * [[1 / size, 1 / size, size]]
    np.testing.assert_allclose(
        fit_hyperbola(size * hyperbola(B, T)), wanted, atol=1e-3 * wanted.max()
    )


def test_the_normalised_score_is_the_root_of_half_the_excess_loss():
    """The level of the loss above its floor, and no slope at all."""
    excess = hyperbola(B, T) - B[:, 2:]
    wanted = -np.sqrt(excess / 2).mean(axis=1)
    np.testing.assert_allclose(lcga_normalised(hyperbola(B, T)), wanted, rtol=1e-3)


def test_no_other_hyperbola_nearby_is_better():
    random = np.random.default_rng(0)
    curve = hyperbola(B[:1], T) * random.normal(1, 0.05, T.shape)
    b = fit_hyperbola(curve)
    error = ((hyperbola(b, T) - curve) ** 2).sum()
    for _ in range(200):
        near = np.maximum(0, b * random.normal(1, 0.02, b.shape))
        assert ((hyperbola(near, T) - curve) ** 2).sum() > error * (1 - 1e-6)
    assert (b >= 0).all()


def test_the_numbers_of_the_fit_are_not_negative():
    """A straight line is nearest to a hyperbola with a floor far below zero."""
    assert (fit_hyperbola([[1.0, 0.75, 0.5, 0.25], [0.2, 0.4, 0.8, 1.6]]) >= 0).all()


def test_a_loss_that_stays_has_no_slope():
    np.testing.assert_allclose(lcga(np.full((1, 5), 0.7)), 0.0, atol=1e-4)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.0])
def test_a_power_law_has_its_exponent_as_slope(c):
    found = power_law_slope([0.4 + 3 * T ** (-c)], floor=0.4)
    np.testing.assert_allclose(found, -c)


def test_slope_and_sum_agree_on_curves_that_do_not_cross():
    """Losses s / t for s = 1, 2, 3: the lowest is the flattest and sums to least."""
    losses = np.array([[3.0], [1.0], [2.0]]) / T
    assert (-lcga(losses)).argsort().tolist() == tse(losses).argsort().tolist()
    assert (-lcga_normalised(losses)).argsort().tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_hyperbola([[1.0, 0.5]]), "at least 3 epochs"),
        (lambda: fit_hyperbola([[1.0, 0.0, 0.5]]), "losses must be above 0, got 0.0"),
        (lambda: lcga([[3.0, 2.0, 1.0]], burn_in=3), "burn_in must be in 0 to 2"),
        (lambda: lcga([[3.0, 2.0, 1.0]], burn_in=-1), "burn_in must be in 0 to 2"),
        (lambda: power_law_slope([[1.0]]), "at least 2 epochs"),
        (lambda: power_law_slope([[2.0, 1.0]], floor=1.0), "floor must be below"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
