"""The toys: where each way to search them ends, and that this is known beforehand."""

from functools import partial

import pytest
import torch

from effdl.nas.gradient.bilevel import first_order_gradient, unrolled_gradient
from effdl.nas.gradient.bilevel_toys import (
    TOY,
    MixtureRidge,
    descend_in_turn,
    descend_together,
    toy_end_ahead,
    toy_end_together,
    toy_training,
    toy_validation,
)

START = (-2, 2)  # w and alpha of the paper's figure


def number(value):
    return torch.tensor([float(value)], dtype=torch.float64)


def test_losses_by_hand():
    """With w = 3, alpha = 5: 9 - 30 + 25 = 4, and 15 - 10 + 1 = 6."""
    assert toy_training(number(3), number(5)).item() == 4
    assert toy_validation(number(3), number(5)).item() == 6
    assert (TOY.training, TOY.validation) == (toy_training, toy_validation)


def test_the_solution_of_the_toy_is_one():
    """There w*(alpha) = alpha, and the validation loss is (alpha - 1)^2."""
    for alpha in (-1.0, 0.5, 1.0, 2.0):
        at = number(alpha).requires_grad_()
        assert torch.autograd.grad(toy_training(at, number(alpha)), at)[0].item() == 0
        loss = toy_validation(number(alpha), number(alpha))
        assert loss.item() == pytest.approx((alpha - 1) ** 2)


def test_first_order_ends_at_two():
    path = descend_in_turn(
        TOY, first_order_gradient, START, rates=(0.1, 0.1), steps=300
    )
    assert path[0].tolist() == [-2, 2]
    torch.testing.assert_close(path[-1], torch.full_like(path[-1], 2.0))


def test_second_order_with_the_exact_inner_step_ends_at_the_solution():
    gradient = partial(unrolled_gradient, rate=0.5)
    path = descend_in_turn(TOY, gradient, START, rates=(0.1, 0.1), steps=300)
    torch.testing.assert_close(path[-1], torch.full_like(path[-1], 1.0))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_looking_ahead_ends_where_the_closed_form_says(rate):
    """Between 2 and 1 for rates up to 1/2, and beyond the solution for larger ones."""
    gradient = partial(unrolled_gradient, rate=rate)
    path = descend_in_turn(TOY, gradient, START, rates=(0.1, 0.1), steps=400)
    torch.testing.assert_close(path[-1], torch.full_like(path[-1], toy_end_ahead(rate)))


@pytest.mark.parametrize(
    ("rates", "end"), [((0.1, 0.1), 0.0), ((0.05, 0.1), -2 / 3), ((0.15, 0.05), 1.0)]
)
def test_one_level_ends_where_start_and_rates_say(rates, end):
    """On the line w = alpha; at the solution only if the rates happen to be 3 to 1."""
    path = descend_together(toy_training, START, rates=rates, steps=300)
    assert toy_end_together(START, rates) == pytest.approx(end)
    torch.testing.assert_close(path[-1], torch.full_like(path[-1], end))
    other = descend_together(toy_training, (0, 4), rates=rates, steps=300)
    assert other[-1, 1].item() == pytest.approx(toy_end_together((0, 4), rates))


def test_every_point_of_the_line_is_stationary_for_one_level():
    for alpha in (-1.0, 1.0, 3.0):
        path = descend_together(toy_training, (alpha, alpha), rates=(1, 1), steps=1)
        assert path[1].tolist() == [alpha, alpha]


def test_alpha_moves_before_w_and_together_they_move_at_once():
    """In turn, from (-2, 2): alpha = 2 + 0.1 * 4 = 2.4, w = -2 + 0.5 * 8.8 = 2.4.

    Together, by slopes -8 and 8: w = -2 + 0.5 * 8 = 2, alpha = 2 - 0.1 * 8 = 1.2.
    """
    turn = descend_in_turn(TOY, first_order_gradient, START, rates=(0.5, 0.1), steps=1)
    assert turn[1].tolist() == pytest.approx([2.4, 2.4])
    both = descend_together(toy_training, START, rates=(0.5, 0.1), steps=1)
    assert both[1].tolist() == pytest.approx([2.0, 1.2])


def test_ridge_losses_are_written_out():
    parts = [(torch.randn(n, 3), torch.randn(n)) for n in (6, 4)]
    ridge = MixtureRidge(*parts, ridge=0.7)
    w, alpha = torch.randn(3), torch.randn(3)
    share = alpha.exp() / alpha.exp().sum()
    errors = []
    for x, y in parts:
        squares = [
            (sum(share[k] * w[k] * x[n, k] for k in range(3)) - y[n]) ** 2
            for n in range(len(y))
        ]
        errors.append(sum(squares) / len(y))
    expected = errors[0] + 0.7 * sum(value**2 for value in w)
    torch.testing.assert_close(ridge.training(w, alpha), expected)
    torch.testing.assert_close(ridge.validation(w, alpha), errors[1])


def test_ridge_weights_are_the_minimum_and_curvature_its_second_derivative():
    parts = [(torch.randn(9, 4).double(), torch.randn(9).double()) for _ in range(2)]
    ridge = MixtureRidge(*parts, ridge=0.2)
    alpha = torch.randn(4).double()
    w = ridge.best_weights(alpha).requires_grad_()
    slope = torch.autograd.grad(ridge.training(w, alpha), w)[0]
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    second = torch.autograd.functional.hessian(lambda at: ridge.training(at, alpha), w)
    torch.testing.assert_close(ridge.curvature(alpha), second.detach())
