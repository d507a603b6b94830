"""Slopes of distillation by hand, their limit, and the minimum of the printed form."""

import pytest
import torch
import torch.nn.functional as F

from effdl.distill.kd import kd_loss, soft_loss, softened
from effdl.distill.soft_gradients import (
    alpha_of,
    limit_gradient,
    printed_loss,
    printed_minimiser,
    soft_gradient,
    weight_of,
)
from effdl.quant.react_net import distribution_loss


def logits(rows=4, classes=6, scale=3.0):
    size = (rows, classes)
    s = (torch.randn(size, dtype=torch.float64) * scale).requires_grad_()
    return s, torch.randn(size, dtype=torch.float64) * scale


def slope(loss, s):
    return torch.autograd.grad(loss, s)[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_slope_by_hand_is_that_of_autograd(temperature):
    s, t = logits()
    by_autograd = slope(soft_loss(s, t, temperature), s)
    torch.testing.assert_close(soft_gradient(s.detach(), t, temperature), by_autograd)
    q, p = softened(s, temperature), softened(t, temperature)
    kl = F.kl_div(q.log(), p, reduction="batchmean")
    torch.testing.assert_close(slope(kl, s), ((q - p) / temperature / 4).detach())


def test_cross_entropy_and_divergence_have_the_same_slope():
    s, t = logits()
    p = softened(t, 3.0)
    cross_entropy = 9 * F.cross_entropy(s / 3, p)
    divergence = soft_loss(s, t, 3.0)
    torch.testing.assert_close(slope(cross_entropy, s), slope(divergence, s))
    entropy_of_teacher = -(p * p.log()).sum(dim=1).mean()
    torch.testing.assert_close(cross_entropy - divergence, 9 * entropy_of_teacher)


def test_the_usual_program_has_the_same_value_and_slope():
    s, t = logits()
    usual = F.kl_div(
        F.log_softmax(s / 4, 1), F.softmax(t / 4, 1), reduction="batchmean"
    )
    torch.testing.assert_close(soft_loss(s, t, 4.0), usual * 4 * 4)


def test_at_temperature_1_it_is_the_loss_that_binary_networks_have():
    s, t = logits()
    assert torch.equal(soft_loss(s, t, 1.0), distribution_loss(s, t))


def test_by_hand():
    """Softmax of (0, 0) is (1/2, 1/2), of (log 9, 0) / 2 is (3/4, 1/4); times T = 2."""
    t = torch.tensor([[9.0, 1.0]]).log()
    found = soft_gradient(torch.zeros(1, 2), t, 2.0)
    torch.testing.assert_close(found, torch.tensor([[-0.5, 0.5]]))
    limit = limit_gradient(torch.zeros(1, 2), torch.tensor([[4.0, 0.0]]))
    assert limit.tolist() == [[-1.0, 1.0]]


def test_at_high_temperatures_the_student_matches_centred_logits():
    s, t = logits()
    s = s.detach() + 5  # a constant that does not matter
    limit = limit_gradient(s, t)
    gaps = [(soft_gradient(s, t, 10.0**k) - limit).norm() for k in (1, 2, 3)]
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]
    assert gaps[2] < 1e-2 * limit.norm()
    centred = [v - v.mean(dim=1, keepdim=True) for v in (s, t)]
    torch.testing.assert_close(limit, (centred[0] - centred[1]) / 6 / 4)


def test_at_low_temperatures_the_power_of_t_depends_on_who_agrees():
    """1/T where they choose different classes; where they agree, no power at all."""
    t = torch.tensor([[3.0, 0.0]], dtype=torch.float64)

    def norm(s, temperature):
        s = torch.tensor([s], dtype=torch.float64)
        return soft_gradient(s, t, temperature).norm() / temperature**2

    disagree = norm([0.0, 3.0], 0.05) / norm([0.0, 3.0], 0.1)
    assert disagree.item() == pytest.approx(2.0, rel=1e-6)
    assert norm([2.0, 0.0], 0.05) < 1e-6 * norm([2.0, 0.0], 0.1)


def test_a_student_that_agrees_has_no_slope_but_by_the_printed_form():
    _, t = logits()
    assert soft_gradient(t, t, 4.0).count_nonzero() == 0
    s = t.clone().requires_grad_()
    assert slope(printed_loss(s, t, 4.0), s).norm() > 1


def test_the_printed_loss_is_its_formula():
    s, t = logits()
    z, y = softened(t, 3.0), s.softmax(dim=1)
    literal = 9 * -(z * y.log()).sum(dim=1).mean()
    torch.testing.assert_close(printed_loss(s, t, 3.0), literal)
    torch.testing.assert_close(
        printed_loss(s, t, 1.0), F.cross_entropy(s, t.softmax(dim=1))
    )


def centred_minimum(loss_of, temperature):
    """Return the student's centred logits after a descent on one sample, and t."""
    _, t = logits(rows=1, classes=5, scale=2.0)
    s = torch.zeros_like(t, requires_grad=True)
    steps = torch.optim.LBFGS([s], max_iter=200, tolerance_grad=1e-12)

    def closure():
        steps.zero_grad()
        loss = loss_of(s, t, temperature)
        loss.backward()
        return loss

    for _ in range(5):
        steps.step(closure)
    return (s - s.mean()).detach(), t - t.mean()


def test_minimised_the_printed_form_gives_a_student_t_times_too_soft():
    s, t = centred_minimum(printed_loss, 4.0)
    torch.testing.assert_close(s, t / 4, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(s, printed_minimiser(t + 7, 4.0), atol=1e-4, rtol=1e-3)


def test_minimised_the_right_form_gives_the_teacher_s_logits():
    s, t = centred_minimum(soft_loss, 4.0)
    torch.testing.assert_close(s, t, atol=1e-4, rtol=1e-3)


def test_the_sum_is_the_weighted_mean_times_one_plus_its_weight():
    s, t = logits()
    targets = torch.tensor([0, 5, 2, 2])
    for weight in (0.0, 0.5, 9.0):
        added = F.cross_entropy(s, targets) + weight * soft_loss(s, t, 4.0)
        mean = kd_loss(s, t, targets, temperature=4.0, alpha=alpha_of(weight))
        torch.testing.assert_close(added, (1 + weight) * mean)
    assert alpha_of(9.0) == 0.9 and weight_of(0.0) == 0
    assert weight_of(alpha_of(3.0)) == pytest.approx(3.0)


def test_the_teacher_takes_no_gradient():
    s, t = logits()
    t.requires_grad_()
    assert not printed_loss(s.detach(), t, 2.0).requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: soft_gradient(a, b, 1.0), "student has 3 classes and teacher 4"),
        (lambda a, b: limit_gradient(a, b), "student has 3 classes and teacher 4"),
        (lambda a, b: printed_loss(a, b, 1.0), "student has 3 classes and teacher 4"),
        (lambda a, _: soft_gradient(a, a, 0.0), "temperature must be finite"),
        (lambda a, _: printed_loss(a, a, -2.0), "temperature must be finite"),
        (lambda a, _: printed_minimiser(a, 0.0), "temperature must be finite"),
        (lambda *_: alpha_of(-1.0), "weight must be at least 0 and finite, got -1.0"),
        (lambda *_: alpha_of(float("inf")), "use alpha = 1"),
        (lambda *_: alpha_of(float("nan")), "weight must be at least 0"),
        (lambda *_: weight_of(1), "alpha must be below 1, got 1"),
        (lambda *_: weight_of(1.5), "alpha must be from 0 to 1, got 1.5"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3), torch.zeros(2, 4))
