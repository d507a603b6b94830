"""Regression on early accuracies: features, limits, and what it learns."""

import numpy as np
import pytest
from sklearn.svm import NuSVR

from effdl.nas.curves.curve_regression import (
    CurveRegression,
    curve_features,
    fit_curve_regression,
    support_vectors,
)


@pytest.fixture
def curves():
    """60 curves 0.9 - a t^-c after 1 to 6 epochs, with noise."""
    random = np.random.default_rng(0)
    a, c = random.uniform(0.2, 0.6, (60, 1)), random.uniform(0.3, 1.5, (60, 1))
    return 0.9 - a * np.arange(1, 7) ** -c + random.normal(0, 0.003, (60, 6))


def test_features_are_the_architecture_the_curve_and_its_differences(curves):
    u = np.random.default_rng(1).normal(size=(60, 2))
    found = curve_features(curves[:, :4], u)
    assert found.shape == (60, 2 + 4 + 3 + 2)
    for row, y, described in zip(found, curves, u, strict=True):
        first = [y[t] - y[t - 1] for t in range(1, 4)]
        second = [first[t] - first[t - 1] for t in range(1, 3)]
        np.testing.assert_allclose(row, [*described, *y[:4], *first, *second])


def test_features_by_hand():
    """0.5, 0.7, 0.8: rises of 0.2 and 0.1, the second smaller by 0.1."""
    found = curve_features([[0.5, 0.7, 0.8]], [[64]])
    np.testing.assert_allclose(found, [[64, 0.5, 0.7, 0.8, 0.2, 0.1, -0.1]])


@pytest.mark.parametrize(("epochs", "columns"), [(0, 0), (1, 1), (2, 3), (3, 6)])
def test_a_short_curve_has_fewer_differences(curves, epochs, columns):
    assert curve_features(curves[:, :epochs]).shape == (60, columns)


def test_the_machine_is_a_nu_svr_on_standardised_numbers(curves):
    x, y = curves[:, :3], curves[:, -1]
    ours = support_vectors(3.0, 0.4, 0.2).fit(x, y).predict(x)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    machine = NuSVR(C=3.0, nu=0.4, gamma=0.2).fit(scaled, (y - y.mean()) / y.std())
    theirs = machine.predict(scaled) * y.std() + y.mean()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_with_the_last_epoch_nothing_is_left_to_predict(curves):
    fit = fit_curve_regression(curves[:40], curves[:40, -1], np.random.default_rng(0))
    error = fit.predict(curves[40:]) - curves[40:, -1]
    assert fit.score > 0.97
    assert (error**2).mean() < 0.03 * curves[40:, -1].var()


def test_without_a_curve_it_is_a_regression_on_the_architecture(curves):
    u = curves[:, -1:] * 7 + 3  # tells all
    y, random = curves[:, -1], np.random.default_rng(0)
    fit = fit_curve_regression(curves[:, :0], y, random, architecture=u, draws=15)
    plain = fit.model.predict(u)
    np.testing.assert_array_equal(fit.predict(curves[:, :0], u), plain)
    assert fit.score > 0.97


def test_more_epochs_and_the_architecture_help(curves):
    """Three noisy numbers that add up to the end, beside what one epoch tells."""
    random = np.random.default_rng(3)
    u = curves[:, -1:] + random.normal(0, 0.03, (60, 3))

    def score(epochs, architecture=None):
        x, y = curves[:, :epochs], curves[:, -1]
        generator = np.random.default_rng(0)
        fit = fit_curve_regression(x, y, generator, architecture=architecture, draws=10)
        return fit.score

    assert score(1) < score(1, u)
    assert score(1) < score(3) < score(5)


def test_units_of_a_feature_do_not_matter(curves):
    u = curves[:, -1:] ** 2
    found = []
    for factor in (1.0, 1e6):
        fit = fit_curve_regression(
            curves[:, :2],
            curves[:, -1],
            np.random.default_rng(0),
            architecture=factor * u,
            draws=5,
        )
        found.append(fit.predict(curves[:, :2], factor * u))
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_the_search_keeps_the_best_of_its_draws(curves):
    """More draws of the same stream can only improve the score."""
    x, y = curves[:, :2], curves[:, -1]
    fits = [
        fit_curve_regression(x, y, np.random.default_rng(5), draws=n)
        for n in (1, 5, 20)
    ]
    scores = [fit.score for fit in fits]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]
    assert isinstance(fits[0], CurveRegression)


def test_the_same_generator_gives_the_same_fit(curves):
    x, y = curves[:, :2], curves[:, -1]
    one, two = (
        fit_curve_regression(x, y, np.random.default_rng(7), draws=3).predict(x)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.zeros(3)}, r"targets \(3,\)"),
        ({"curves": np.zeros((4, 0))}, r"features \(4, 0\)"),
        ({"folds": 1}, "1 folds"),
        ({"folds": 5}, "5 folds"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"architecture": np.zeros((3, 1))}, "a row for each of 4 curves, got 3"),
        ({"curves": np.full((4, 2), np.nan)}, "curves of run 0 is nan"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"curves": np.eye(4)[:, :2], "targets": np.arange(4.0)}
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        fit_curve_regression(**(good | {"random": random} | change))
