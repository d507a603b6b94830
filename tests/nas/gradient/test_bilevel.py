"""Gradients of the upper level: the exact one, and what each shortcut leaves out."""

from functools import partial

import pytest
import torch

from effdl.nas.gradient.bilevel import (
    TwoLevels,
    first_order_gradient,
    implicit_gradient,
    unrolled_gradient,
)
from effdl.nas.gradient.bilevel_toys import TOY, MixtureRidge


@pytest.fixture
def ridge():
    def part(count):
        x = torch.randn(count, 5, dtype=torch.float64)
        noise = 0.3 * torch.randn(count, dtype=torch.float64)
        return x, x[:, :3].sum(dim=1) + noise

    return MixtureRidge(part(40), part(30), ridge=0.1)


@pytest.fixture
def alpha():
    return torch.randn(5, dtype=torch.float64)


def levels(ridge):
    """Return the two losses of a ridge regression."""
    return TwoLevels(ridge.training, ridge.validation)


def exact_gradient(ridge, alpha):
    """Differentiate through the closed form of w*."""
    alpha = alpha.clone().requires_grad_()
    loss = ridge.validation(ridge.best_weights(alpha), alpha)
    return torch.autograd.grad(loss, alpha)[0]


def numbers(*values):
    return [torch.tensor([float(value)], dtype=torch.float64) for value in values]


def test_the_implicit_gradient_is_that_of_the_closed_form(ridge, alpha):
    found = implicit_gradient(levels(ridge), ridge.best_weights(alpha), alpha)
    torch.testing.assert_close(found, exact_gradient(ridge, alpha), atol=1e-8, rtol=0)


def test_the_implicit_gradient_is_that_of_finite_differences(ridge, alpha):
    """Solve the lower level again for every moved alpha."""
    step = 1e-5
    slopes = []
    for move in step * torch.eye(5, dtype=torch.float64):
        up, down = (
            ridge.validation(ridge.best_weights(at), at)
            for at in (alpha + move, alpha - move)
        )
        slopes.append((up - down) / (2 * step))
    found = implicit_gradient(levels(ridge), ridge.best_weights(alpha), alpha)
    torch.testing.assert_close(found, torch.stack(slopes), atol=1e-7, rtol=1e-6)


def test_from_the_minimum_t_steps_are_t_terms_of_the_inverse(ridge, alpha):
    """The sum over t < T of xi (1 - xi H)^t stands where the inverse of H should."""
    w, rate = ridge.best_weights(alpha), 0.2
    curvature = ridge.curvature(alpha)
    first = first_order_gradient(levels(ridge), w, alpha)
    indirect = exact_gradient(ridge, alpha) - first

    def follows(at):
        return ridge.best_weights(at)

    dw = torch.autograd.functional.jacobian(follows, alpha)  # -H^-1 M
    judged = w.clone().requires_grad_()
    v = torch.autograd.grad(ridge.validation(judged, alpha), judged)[0]
    torch.testing.assert_close(dw.T @ v, indirect)
    shrink = torch.eye(5, dtype=torch.float64) - rate * curvature
    for steps in (0, 1, 2, 7):
        left = torch.linalg.matrix_power(shrink, steps)
        expected = first + dw.T @ (v - left @ v)
        found = unrolled_gradient(levels(ridge), w, alpha, rate=rate, steps=steps)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("start", ["minimum", "zero"])
def test_unrolled_steps_converge_geometrically(ridge, alpha, start):
    """By 1 - xi h a step from the minimum, with h the lowest curvature."""
    w = ridge.best_weights(alpha)
    curvature = torch.linalg.eigvalsh(ridge.curvature(alpha))
    rate = 1 / float(curvature.max())
    factor = 1 - rate * float(curvature.min())
    exact = exact_gradient(ridge, alpha)

    def error(steps):
        begin = w if start == "minimum" else torch.zeros_like(w)
        found = unrolled_gradient(levels(ridge), begin, alpha, rate=rate, steps=steps)
        return float((found - exact).norm())

    assert error(5) < error(0)
    assert error(100) < 1e-8
    measured = (error(60) / error(50)) ** (1 / 10)
    if start == "minimum":
        assert measured == pytest.approx(factor, rel=0.01)
    assert measured < 1.1 * factor  # elsewhere like steps * factor ** steps


def test_toy_gradients_by_hand():
    """At (w, alpha) = (-2, 2): dL_val/dalpha = w - 2 = -4.

    Looking ahead by 1/2, w' = alpha, and the loss is (alpha - 1)^2: 2 (2 - 1) = 2.
    By 1/4, w' = (w + alpha) / 2 and d/dalpha (alpha w' - 2 alpha) = w' + alpha/2 - 2.
    """
    w, alpha = numbers(-2, 2)
    assert first_order_gradient(TOY, w, alpha).item() == -4
    assert unrolled_gradient(TOY, w, alpha, rate=0.5).item() == 2
    assert unrolled_gradient(TOY, w, alpha, rate=0.25).item() == 0 + 1 - 2
    assert implicit_gradient(TOY, alpha, alpha).item() == 2


def test_no_step_is_the_first_order(ridge, alpha):
    w = torch.randn(5, dtype=torch.float64)
    first = first_order_gradient(levels(ridge), w, alpha)
    for options in ({"rate": 0.3, "steps": 0}, {"rate": 0.0, "steps": 4}):
        found = unrolled_gradient(levels(ridge), w, alpha, **options)
        torch.testing.assert_close(found, first, rtol=0, atol=0)


def test_first_order_is_not_the_gradient(ridge, alpha):
    """Even at w*. One step ahead turns it towards the exact one."""
    w = ridge.best_weights(alpha)
    exact = exact_gradient(ridge, alpha)
    first = first_order_gradient(levels(ridge), w, alpha)
    one = unrolled_gradient(levels(ridge), w, alpha, rate=0.2)
    assert (exact - one).norm() < (exact - first).norm()
    assert (exact - first).norm() > 0.1 * exact.norm()


@pytest.mark.parametrize(
    "gradient",
    [first_order_gradient, implicit_gradient, partial(unrolled_gradient, rate=0.1)],
)
def test_arguments_are_left_alone(ridge, alpha, gradient):
    w = ridge.best_weights(alpha)
    w.requires_grad_()
    before = w.detach().clone(), alpha.clone()
    found = gradient(levels(ridge), w, alpha)
    assert not found.requires_grad
    assert w.grad is None
    assert not alpha.requires_grad
    assert torch.equal(w.detach(), before[0])
    assert torch.equal(alpha, before[1])


def test_a_negative_number_of_steps_is_named():
    with pytest.raises(ValueError, match="steps must be 0 or larger, got -1"):
        unrolled_gradient(TOY, *numbers(0, 0), rate=0.1, steps=-1)
