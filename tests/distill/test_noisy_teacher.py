"""Noisy teachers: what noise does to the mean of the loss, and to its slope."""

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.distill.kd import softened
from effdl.distill.logit_matching import logit_loss, match_logits
from effdl.distill.noisy_teacher import (
    expected_noisy_loss,
    gradient_noise,
    match_noisy_logits,
    noisy_logits,
)
from effdl.distill.recipe import Recipe
from effdl.seed import seeded

DRAWS = 20_000


def drawn(t, sigma, share):
    """Return many noisy versions of logits (N, C), (draws, N, C)."""
    many = noisy_logits(t.repeat(DRAWS, 1), sigma, share)
    return many.view(DRAWS, *t.shape)


def test_the_noise_is_a_factor_of_one_plus_a_normal_number_for_every_logit():
    t = torch.tensor([[1.0, -2.0, 0.0, 8.0]])
    xi = drawn(t, 0.3, 1.0)[:, 0, [0, 1, 3]] / t[0, [0, 1, 3]] - 1
    assert xi.mean(0).abs().max() < 0.01
    torch.testing.assert_close(xi.std(0), torch.full((3,), 0.3), atol=0.01, rtol=0)
    assert torch.corrcoef(xi.T).triu(1).abs().max() < 0.03
    assert noisy_logits(torch.zeros(4, 3), 9.0, 1.0).count_nonzero() == 0


def test_each_input_is_picked_by_itself():
    t = torch.ones(DRAWS, 3)
    changed = (noisy_logits(t, 0.5, 0.3) != t).float()
    assert (changed.mean(dim=1) % 1).count_nonzero() == 0  # all logits or none
    assert changed[:, 0].mean().item() == pytest.approx(0.3, abs=0.02)


def test_without_noise_it_is_logit_matching_exactly():
    split = Split(torch.randn(200, 3), torch.zeros(200))
    teacher, ends = nn.Linear(3, 4).eval(), []
    for train in (
        match_logits,
        lambda *a: match_noisy_logits(*a, sigma=0.0),
        lambda *a: match_noisy_logits(*a, sigma=0.7, share=0.0),
    ):
        with seeded(0):
            student = nn.Linear(3, 4)
            train(student, teacher, split, Recipe(2, 0.05))
        ends.append(student.weight)
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_the_mean_loss_is_the_clean_one_plus_a_constant_of_the_teacher():
    s, t = torch.randn(4, 5), torch.randn(4, 5)
    sigma, share = 0.8, 0.4
    sampled = (s - drawn(t, sigma, share)).square().sum(dim=2).mean() / 2
    found = expected_noisy_loss(s, t, sigma, share)
    torch.testing.assert_close(sampled, found, rtol=0.02, atol=0)
    constant = 0.4 * 0.64 * t.square().sum(dim=1).mean() / 2
    torch.testing.assert_close(found - logit_loss(s, t), constant)


def test_by_hand():
    """|t|^2 = 25. Mean: 0.5 * 4 * 25 / 2; variances: 0.5 * 4 * 9 and 0.5 * 4 * 16."""
    t = torch.tensor([[3.0, 4.0]])
    assert expected_noisy_loss(t, t, 2.0, 0.5).item() == 25
    assert gradient_noise(t, 2.0, 0.5).tolist() == [[18.0, 32.0]]
    assert gradient_noise(t.repeat(2, 1), 2.0, 0.5)[0].tolist() == [4.5, 8.0]


def test_the_mean_slope_is_unchanged_and_its_variance_as_foretold():
    s, t = torch.randn(2, 5, requires_grad=True), torch.randn(2, 5)
    (clean,) = torch.autograd.grad(logit_loss(s, t), s)
    (mean,) = torch.autograd.grad(expected_noisy_loss(s, t), s)
    assert torch.equal(mean, clean)
    slopes = (s.detach() - drawn(t, 0.5, 0.5)) / 2  # of the mean over two inputs
    torch.testing.assert_close(slopes.mean(0), clean, atol=0.02, rtol=0)
    found = gradient_noise(t, 0.5, 0.5)
    torch.testing.assert_close(slopes.var(0), found, rtol=0.06, atol=1e-4)


def test_behind_a_softmax_the_noise_moves_the_mean():
    t = torch.tensor([[6.0, 0.0, -6.0]])
    mean = softened(drawn(t, 0.8, 1.0), 1.0).mean(0)
    assert mean[0, 0] < softened(t, 1.0)[0, 0] - 0.05


def test_the_student_learns_in_spite_of_the_noise():
    with seeded(0):
        teacher, student = nn.Linear(5, 3).eval(), nn.Linear(5, 3)
        split = Split(torch.randn(300, 5), torch.zeros(300))
        recipe = Recipe(20, 0.05, weight_decay=0.0)
        match_noisy_logits(student, teacher, split, recipe, sigma=0.5)
    gap = (student.weight - teacher.weight).norm() / teacher.weight.norm()
    assert gap < 0.1 and all(w.grad is None for w in teacher.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: noisy_logits(t, -0.1), "sigma must be at least 0 and finite"),
        (lambda t: noisy_logits(t, float("nan")), "sigma must be at least 0"),
        (lambda t: noisy_logits(t, 0.1, 1.5), "share must be from 0 to 1, got 1.5"),
        (lambda t: expected_noisy_loss(t, t, -1.0), "sigma must be at least 0"),
        (lambda t: expected_noisy_loss(t, t[:1]), "different inputs"),
        (lambda t: gradient_noise(t, 0.5, -1.0), "share must be from 0 to 1"),
        (lambda t: gradient_noise(t[0]), "must be logits"),
        (
            lambda t: match_noisy_logits(
                nn.Linear(2, 2),
                nn.Linear(2, 2).eval(),
                Split(t, t[:, 0]),
                sigma=-1.0,
            ),
            "sigma must be at least 0",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3, 2))
