"""Ternary rows: equations 17 and 18, the exact optimum, and what 0.7 is between."""

import math
from itertools import product

import pytest
import torch

from effdl.quant.ternary import (
    best_threshold,
    gaussian_factor,
    rule_of_thumb,
    ternarize,
    ternary_error,
    ternary_scale,
)


def error_of(w, codes):
    """Return the squared error with the least-squares scale, literally."""
    norm = float(codes @ codes)
    alpha = float(w @ codes) / norm if norm else 0.0
    return float((w - alpha * codes).square().sum())


def brute_force(w):
    """Return the smallest error over all 3^n choices."""
    every = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=len(w))))
    return min(error_of(w, codes) for codes in every.to(w))


def test_equation_17_literally():
    w, limit = torch.randn(200), 0.4
    expected = [1.0 if v > limit else -1.0 if v < -limit else 0.0 for v in w.tolist()]
    assert ternarize(w, limit).tolist() == expected


def test_the_inequalities_are_strict_and_the_function_is_odd():
    w = torch.tensor([0.5, -0.5, 0.25, 0.75])
    assert ternarize(w, 0.5).tolist() == [0, 0, 0, 1]
    assert torch.equal(ternarize(-w, 0.3), -ternarize(w, 0.3))


def test_without_a_threshold_it_is_the_sign():
    w = torch.randn(50)
    assert torch.equal(ternarize(w, 0.0), w.sign())
    assert (ternarize(w, 0.0) != 0).all()


def test_the_density_is_the_share_beyond_the_threshold():
    """Of a Gaussian 2 (1 - Phi(0.6)) = 0.5485 is beyond 0.6 deviations."""
    codes = ternarize(torch.randn(200_000), 0.6)
    assert (codes != 0).double().mean().item() == pytest.approx(0.5485, abs=0.005)


def test_by_hand():
    """|w| = 3, 1, 0.2: S^2/k is 9, 16/2 = 8, 17.64/3; so 3 alone is kept, D = 1.5."""
    w = torch.tensor([1.0, -3.0, 0.2])
    assert best_threshold(w).tolist() == [1.5]
    codes = ternarize(w, 1.5)
    assert codes.tolist() == [0, -1, 0]
    assert ternary_scale(w, codes).tolist() == [3.0]
    assert ternary_error(w, 1.5).item() == pytest.approx(1.04 / 10.04)
    assert rule_of_thumb(w).item() == pytest.approx(0.7 * 4.2 / 3)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_no_choice_of_three_values_is_better_than_a_threshold(n):
    for _ in range(4):
        w = torch.randn(n, dtype=torch.double)
        codes = ternarize(w, best_threshold(w))
        assert error_of(w, codes) == pytest.approx(brute_force(w), abs=1e-12)


def test_the_error_is_that_of_the_codes_and_the_scale_is_least_squares():
    w, limit = torch.randn(40, dtype=torch.double), 0.5
    codes = ternarize(w, limit)
    wanted = error_of(w, codes) / float(w @ w)
    assert ternary_error(w, limit).item() == pytest.approx(wanted)
    solved = torch.linalg.lstsq(codes[:, None], w[:, None]).solution
    torch.testing.assert_close(ternary_scale(w, codes), solved[0])


def test_no_threshold_has_a_smaller_error_on_any_row():
    rows = torch.randn(6, 100).exp() * torch.randn(6, 100).sign()
    least = ternary_error(rows, best_threshold(rows))
    for factor in torch.linspace(0, 4, 81).tolist():
        tried = ternary_error(rows, rule_of_thumb(rows, factor))
        assert (least <= tried + 1e-6).all()


def test_the_best_threshold_is_half_the_scale():
    for n in (1, 2, 10, 1000):
        rows = torch.randn(20, n, dtype=torch.double)
        half = best_threshold(rows)
        scale = ternary_scale(rows, ternarize(rows, half))
        torch.testing.assert_close(half, scale / 2)


def test_a_uniform_weight_wants_two_thirds_of_its_mean_size():
    w = torch.linspace(-1, 1, 20_001, dtype=torch.double)
    factor = best_threshold(w) / w.abs().mean()
    assert factor.item() == pytest.approx(2 / 3, abs=1e-3)
    assert ternary_error(w, 1 / 3).item() == pytest.approx(1 / 9, abs=1e-3)


def test_a_gaussian_weight_wants_0_767():
    """The root of D = phi(D) / (2 (1 - Phi(D))) is 0.6120 deviations."""
    even = torch.linspace(0, 1, 100_002, dtype=torch.double)[1:-1]
    w = torch.special.ndtri(even)
    factor = best_threshold(w) / w.abs().mean()
    assert factor.item() == pytest.approx(gaussian_factor(), abs=2e-3)
    assert gaussian_factor() * math.sqrt(2 / math.pi) == pytest.approx(0.6120, abs=5e-5)
    assert gaussian_factor() == pytest.approx(0.7670, abs=5e-5)


def test_a_laplace_weight_wants_its_mean_size():
    even = torch.linspace(0, 1, 100_002, dtype=torch.double)[1:-1]
    w = -even.log()  # exponential: the size of a Laplace weight
    assert (best_threshold(w) / w.mean()).item() == pytest.approx(1, abs=5e-3)


def test_0_7_costs_little_on_either_side():
    """The errors of 0.7 on Gaussian and uniform weights are within 1 % of the best."""
    even = torch.linspace(0, 1, 10_002, dtype=torch.double)[1:-1]
    for w in (2 * even - 1, torch.special.ndtri(even)):
        thumb = ternary_error(w, rule_of_thumb(w)).item()
        least = ternary_error(w, best_threshold(w)).item()
        assert least < thumb < 1.01 * least


def test_everything_scales_with_the_weights():
    rows = torch.randn(3, 30, dtype=torch.double)
    for rule in (rule_of_thumb, best_threshold):
        torch.testing.assert_close(rule(7 * rows), 7 * rule(rows))
        torch.testing.assert_close(rule(-rows), rule(rows))


def test_zeros_have_scale_and_error_0():
    rows = torch.zeros(2, 5)
    assert best_threshold(rows).tolist() == [[0], [0]]
    assert ternary_scale(rows, ternarize(rows, 0.0)).tolist() == [[0], [0]]
    assert ternary_error(rows, 0.0).tolist() == [[0], [0]]
    assert ternary_error(torch.ones(3), 5.0).tolist() == [1]


def test_there_is_no_gradient():
    w = torch.randn(5, requires_grad=True)
    codes = ternarize(w, rule_of_thumb(w))
    results = [codes, best_threshold(w), ternary_scale(w, codes), ternary_error(w, 0.1)]
    assert not any(result.requires_grad for result in results)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"threshold must be 0 or more, got -0\.5"):
        ternarize(torch.ones(2), -0.5)
    for factor in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="factor must be 0 or more, got"):
            rule_of_thumb(torch.ones(2), factor)
    bad = torch.tensor([1.0, float("nan")])
    for rule in (rule_of_thumb, best_threshold, lambda w: ternarize(w, 0.1)):
        with pytest.raises(ValueError, match="rows holds 1 NaN"):
            rule(bad)
    with pytest.raises(ValueError, match="threshold holds 1 NaN"):
        ternarize(torch.ones(2), float("nan"))
