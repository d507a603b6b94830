"""Components of learning curves, and curves of networks that nobody trained."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from effdl.nas.curves.curve_surrogate import (
    CurveSurrogate,
    curve_basis,
    fit_curve_surrogate,
)

T = np.arange(1, 9)


@pytest.fixture
def curves():
    """50 noisy curves 0.9 - a t^-c."""
    random = np.random.default_rng(0)
    a, c = random.uniform(0.2, 0.6, (50, 1)), random.uniform(0.3, 1.5, (50, 1))
    return 0.9 - a * T**-c + random.normal(0, 0.01, (50, 8))


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_components_are_eigenvectors_of_the_curves(curves, k):
    """Y^T Y v = s^2 v, without a singular value decomposition."""
    basis = curve_basis(curves, k)
    product = curves.T @ curves
    for v, s in zip(basis.components, basis.singular_values, strict=False):
        np.testing.assert_allclose(product @ v, s**2 * v, atol=1e-9)
    np.testing.assert_allclose(
        basis.components @ basis.components.T, np.eye(k), atol=1e-9
    )
    np.testing.assert_allclose(basis.coefficients, curves @ basis.components.T)


def test_multiples_of_one_curve_by_hand():
    """Rows (3, 4) and (6, 8): one component of 5 and 10, nothing left out."""
    basis = curve_basis([[3.0, 4.0], [6.0, 8.0]], 1)
    assert np.abs(basis.coefficients[:, 0]) == pytest.approx([5, 10])
    assert basis.singular_values == pytest.approx([np.sqrt(125), 0])
    assert basis.dropped == pytest.approx(0)


def test_all_components_reconstruct_exactly(curves):
    basis = curve_basis(curves, 8)
    np.testing.assert_allclose(basis.reconstruct(basis.coefficients), curves)
    assert basis.dropped == 0


@pytest.mark.parametrize("k", [1, 2, 5])
def test_what_is_dropped_is_the_error_and_no_other_basis_beats_it(curves, k):
    """Eckart and Young: the sum of the squared singular values that are left out."""
    basis = curve_basis(curves, k)
    error = ((basis.reconstruct(basis.coefficients) - curves) ** 2).sum()
    assert basis.dropped == pytest.approx(error)
    random = np.random.default_rng(1)
    for _ in range(20):
        near = basis.components + 0.1 * random.normal(size=basis.components.shape)
        q, _ = np.linalg.qr(near.T)
        assert ((curves @ q @ q.T - curves) ** 2).sum() > error


def test_a_linear_space_is_predicted_exactly():
    """Curves that are linear in the features need no more components than these."""
    random = np.random.default_rng(2)
    x, mix = random.normal(size=(30, 3)), random.normal(size=(3, 8))
    fit = fit_curve_surrogate(
        x[:20], x[:20] @ mix, LinearRegression(fit_intercept=False), components=3
    )
    np.testing.assert_allclose(fit.predict(x[20:]), x[20:] @ mix, atol=1e-9)
    np.testing.assert_allclose(fit.residuals, 0, atol=1e-9)


def test_the_residuals_are_what_the_components_leave_out(curves):
    x = np.arange(50.0)[:, None]
    fit = fit_curve_surrogate(x, curves, LinearRegression(), components=2)
    kept = fit.basis.reconstruct(fit.basis.coefficients)
    np.testing.assert_allclose(kept + fit.residuals, curves)


def test_a_forest_predicts_curves_that_it_has_not_seen(curves):
    """The features are a and c, recovered here from the smooth curves."""
    random = np.random.default_rng(3)
    a, c = random.uniform(0.2, 0.6, (300, 1)), random.uniform(0.3, 1.5, (300, 1))
    x, y = np.hstack((a, c)), 0.9 - a * T**-c
    forest = RandomForestRegressor(30, random_state=0)
    fit = fit_curve_surrogate(x[:200], y[:200], forest, components=4)
    error = np.sqrt(((fit.predict(x[200:]) - y[200:]) ** 2).mean())
    assert error < 0.3 * y[200:].std(axis=0).mean()


@pytest.mark.parametrize("k", [1, 2, 8])
def test_a_sample_is_the_smooth_curve_with_the_noise_of_the_residuals(curves, k):
    x = np.arange(50.0)[:, None]
    fit = fit_curve_surrogate(x, curves, LinearRegression(), components=k)
    many = np.full((20_000, 1), 7.0)
    noise = fit.sample(many, np.random.default_rng(0)) - fit.predict(many)
    covariance = np.cov(fit.residuals.T, bias=True)
    blurred = covariance * (1 + 50 ** (-2 / 12))  # of a kernel density estimate
    np.testing.assert_allclose(
        np.cov(noise.T), blurred, atol=0.05 * blurred.max() + 1e-9
    )
    np.testing.assert_allclose(
        noise.mean(axis=0), fit.residuals.mean(axis=0), atol=1e-3
    )
    assert isinstance(fit, CurveSurrogate)


def test_samples_differ_and_repeat_with_the_generator(curves):
    x = np.arange(50.0)[:, None]
    fit = fit_curve_surrogate(x, curves, LinearRegression(), components=2)
    one, two = fit.sample(x[[3, 3]], np.random.default_rng(0))
    assert not np.allclose(one, two)
    again = fit.sample(x[[3, 3]], np.random.default_rng(0))
    np.testing.assert_array_equal(again, (one, two))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: curve_basis(np.eye(3), 4), "components must be at most 3"),
        (lambda: curve_basis(np.ones((9, 2)), 3), "at most 2 for curves"),
        (lambda: curve_basis(np.eye(3), 0), "components must be at least 1"),
        (lambda: curve_basis([[np.nan]], 1), "curves of run 0 is nan"),
        (
            lambda: fit_curve_surrogate(np.eye(2), np.eye(3), LinearRegression()),
            "features must have 3 rows, one a curve, got 2",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
