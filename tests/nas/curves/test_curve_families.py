"""Families of curves: each against its formula, and found again from a few points."""

import numpy as np
import pytest

from effdl.nas.curves.curve_families import (
    EXP3,
    FAMILIES,
    ILOG2,
    LOG,
    MMF,
    POW3,
    POW4,
    WEIBULL,
    CurveFit,
    fit_family,
)

T = np.arange(1.0, 13.0)
MEMBERS = [
    (POW3, (0.8,)),
    (POW4, (1.5, 0.8)),
    (EXP3, (0.4,)),
    (WEIBULL, (0.2, 0.8)),
    (MMF, (0.5, 1.4)),
    (ILOG2, ()),
    (LOG, ()),
]


def member(family, theta, level=0.8, amplitude=0.2):
    return CurveFit(family, level, amplitude, theta, 0.0)


@pytest.mark.parametrize(
    ("family", "theta", "formula"),
    [
        (POW3, (0.8,), lambda t: 0.8 - 0.2 * t**-0.8),
        (POW4, (1.5, 0.8), lambda t: 0.8 - 0.2 / (t + 1.5) ** 0.8),
        (EXP3, (0.4,), lambda t: 0.8 - 0.2 / np.e ** (0.4 * t)),
        (WEIBULL, (0.2, 0.8), lambda t: 0.8 - 0.2 * np.exp(-(0.2**0.8) * t**0.8)),
        (MMF, (0.5, 1.4), lambda t: 0.8 - 0.2 / (1 + 0.5**1.4 * t**1.4)),
        (ILOG2, (), lambda t: 0.8 - 0.2 / np.log1p(t)),
        (LOG, (), lambda t: 0.8 + 0.2 * np.log(t)),
    ],
)
def test_a_member_is_its_formula(family, theta, formula):
    np.testing.assert_allclose(member(family, theta)(T), formula(T))


def test_every_family_is_listed_and_counts_its_numbers():
    assert [f for f, _ in MEMBERS] == list(FAMILIES)
    assert [f.parameters for f in FAMILIES] == [3, 4, 3, 4, 4, 2, 2]
    assert len({f.name for f in FAMILIES}) == len(FAMILIES)


def test_three_notations_of_the_paper_are_one_function():
    """Weibull, Janoschek, exp4; and Hill3, logistic power: mmf from zero."""
    top, bottom, k, d = 0.8, 0.1, 0.3, 0.7
    weibull = top - (top - bottom) * np.exp(-((k * T) ** d))
    janoschek = top - (top - bottom) * np.exp(-(k**d) * T**d)
    exp4 = top - np.exp(-(k**d) * T**d + np.log(top - bottom))
    ours = member(WEIBULL, (k, d), top, top - bottom)(T)
    for curve in (weibull, janoschek, exp4):
        np.testing.assert_allclose(ours, curve)
    hill3 = top * T**d / ((1 / k) ** d + T**d)
    logistic_power = top / (1 + (T / np.exp(-np.log(k))) ** -d)
    for curve in (hill3, logistic_power):
        np.testing.assert_allclose(member(MMF, (k, d), top, top)(T), curve)


def test_two_points_fix_a_logarithm_by_hand():
    """0.5 and 0.6 after epochs 1 and 2: 0.5 + 0.1 log(t) / log(2), 0.8 after 8."""
    fit = fit_family([0.5, 0.6], LOG)
    assert (fit.level, fit.amplitude) == pytest.approx((0.5, 0.1 / np.log(2)))
    assert fit(8) == pytest.approx(0.8)
    assert fit.error == pytest.approx(0)


@pytest.mark.parametrize(("family", "theta"), MEMBERS, ids=lambda x: str(x)[:20])
def test_a_member_is_found_again_and_continued(family, theta):
    curve = member(family, theta, 0.5 if family is LOG else 0.8, 0.2)
    fit = fit_family(curve(T[: family.parameters + 2]), family)
    np.testing.assert_allclose(fit(T), curve(T), atol=1e-5)
    assert fit.error < 1e-12


def test_no_level_and_amplitude_are_better_than_those_found():
    y = np.array([0.5, 0.71, 0.74, 0.8])
    fit = fit_family(y, POW3)
    for level in (-1e-3, 0, 1e-3):
        for amplitude in (-1e-3, 0, 1e-3):
            other = CurveFit(
                POW3, fit.level + level, fit.amplitude + amplitude, fit.theta, 0.0
            )
            assert ((other(T[:4]) - y) ** 2).sum() >= fit.error
    assert fit.error == pytest.approx(((fit(T[:4]) - y) ** 2).sum())


def test_the_search_improves_on_where_it_begins():
    """The exponent 0.5 lies between two starts."""
    curve = 0.9 - 0.4 * T[:6] ** -0.5
    assert 0.5 not in POW3.starts[0]
    assert fit_family(curve, POW3).theta[0] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_falling_accuracy_is_continued_flat(family):
    fit = fit_family([0.8, 0.7, 0.6, 0.5], family)
    assert fit.amplitude == 0
    assert fit(100) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ([0.5], "curve must have a run and at least 2 epochs"),
        ([0.5, np.nan], "curve of run 0 is nan"),
        ([[0.5, 0.6]], "curve must be"),
    ],
)
def test_bad_input_is_named(curve, message):
    with pytest.raises(ValueError, match=message):
        fit_family(curve, POW3)
