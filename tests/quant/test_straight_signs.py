"""Straight-through signs: the surrogate's slope, and when a coin's is the true one."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from effdl.quant.binarize import sign
from effdl.quant.straight_signs import clipped_coin, clipped_sign, straight_sign

ALL = [straight_sign, clipped_sign, clipped_coin]


def slope(function, x, arriving):
    x = x.clone().requires_grad_()
    (function(x) * arriving).sum().backward()
    return x.grad


def test_the_slope_is_that_of_the_surrogate():
    x, g = 3 * torch.randn(200), torch.randn(200)
    inside = (x.abs() <= 1).float()
    assert torch.equal(slope(straight_sign, x, g), g)
    assert torch.equal(slope(clipped_sign, x, g), g * inside)
    assert torch.equal(slope(clipped_coin, x, g), g * inside)
    assert torch.equal(slope(clipped_sign, x, g), slope(F.hardtanh, x, g))


def test_by_hand_at_the_edges():
    x = torch.tensor([-1.1, -1.0, 0.0, 1.0, 1.1])
    assert slope(clipped_sign, x, 5.0).tolist() == [0, 5, 5, 5, 0]
    assert slope(clipped_coin, x, 5.0).tolist() == [0, 5, 5, 5, 0]
    assert slope(straight_sign, x, 5.0).tolist() == [5, 5, 5, 5, 5]


def test_the_value_is_the_sign_exactly():
    x = torch.cat([torch.randn(1000) * 1e-3, torch.zeros(1)])
    assert torch.equal(straight_sign(x), sign(x))
    assert torch.equal(clipped_sign(x), sign(x))
    assert set(clipped_coin(x).tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("function", [straight_sign, clipped_sign])
def test_it_is_not_the_derivative_of_the_sign_and_gradcheck_says_so(function):
    x = torch.tensor([0.4, -0.3], dtype=torch.float64, requires_grad=True)
    assert not gradcheck(function, x, raise_exception=False)


def test_gradcheck_accepts_the_surrogates():
    x = torch.tensor([0.4, -0.3, 2.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda t: t * 1, x)
    assert gradcheck(F.hardtanh, x)


def expectation(loss, w):
    """Return E[L] over all outcomes of the coins, weighted with their probability."""
    total = torch.zeros((), dtype=w.dtype)
    for outcome in product((-1.0, 1.0), repeat=len(w)):
        b = torch.tensor(outcome, dtype=w.dtype)
        total = total + loss(b) * ((1 + b * w) / 2).prod()
    return total


def mean_slope(loss, w):
    """Return the mean of the estimator: of dL/db, over all outcomes of the coins."""
    total = torch.zeros_like(w)
    for outcome in product((-1.0, 1.0), repeat=len(w)):
        b = torch.tensor(outcome, dtype=w.dtype, requires_grad=True)
        (g,) = torch.autograd.grad(loss(b), b)
        total += g * ((1 + b.detach() * w) / 2).prod()
    return total


def true_slope(loss, w):
    w = w.clone().requires_grad_()
    return torch.autograd.grad(expectation(loss, w), w)[0]


def test_with_a_coin_it_is_exact_on_average_if_the_loss_is_linear_in_each_coin():
    w = torch.tensor([0.3, -0.7, 0.1], dtype=torch.float64)
    for loss in (lambda b: (b * 2).sum(), lambda b: b[0] * b[1] - 3 * b[1] * b[2]):
        torch.testing.assert_close(mean_slope(loss, w), true_slope(loss, w))


def test_with_a_coin_it_is_biased_for_a_square():
    """L = b^2 is 1 always: the true slope is 0, the estimator's mean is 2 w."""
    w = torch.tensor([0.3], dtype=torch.float64)
    torch.testing.assert_close(mean_slope(lambda b: (b**2).sum(), w), 2 * w)
    torch.testing.assert_close(true_slope(lambda b: (b**2).sum(), w), 0 * w)


def test_sampled_slopes_have_that_mean():
    g = torch.tensor([2.0, -1.0])
    w = torch.tensor([0.5, -3.0]).expand(5000, 2)
    found = slope(clipped_coin, w, g).mean(dim=0)
    assert found.tolist() == [2, 0]  # the second coin is sure: no slope


@pytest.mark.parametrize("function", ALL)
def test_a_regression_learns_signs_through_it(function):
    truth = sign(torch.randn(8))
    w = (0.01 * torch.randn(8)).requires_grad_()
    x = torch.randn(64, 8)
    for _ in range(60):
        loss = (x @ function(w) - x @ truth).square().mean()
        (g,) = torch.autograd.grad(loss, w)
        w = (w.detach() - 0.05 * g).clamp(-1, 1).requires_grad_()
    assert torch.equal(sign(w), truth)
