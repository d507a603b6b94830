"""A discriminator between logits: the best that there is, and one that is fooled."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import jensenshannon
from torch import nn

from effdl.data.digits import Split
from effdl.distill.logit_gan import (
    LogitDiscriminator,
    best_discriminator,
    discriminator_loss,
    distil_adversarially,
)
from effdl.distill.recipe import Recipe
from effdl.seed import seeded

TWO_LOG_TWO = 2 * math.log(2)


def test_the_loss_is_the_cross_entropy_of_whose_logits_they_are():
    t, s = torch.randn(5), torch.randn(7)
    by_hand = -t.sigmoid().log().mean() - (1 - s.sigmoid()).log().mean()
    torch.testing.assert_close(discriminator_loss(t, s), by_hand)


def test_the_best_discriminator_is_a_ratio_and_its_loss_the_js_divergence():
    p, q = (torch.rand(6, dtype=torch.float64) for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    d, loss = best_discriminator(p, q)
    torch.testing.assert_close(d, p / (p + q))
    assert loss == pytest.approx(TWO_LOG_TWO - 2 * jensenshannon(p, q) ** 2)


def test_where_student_and_teacher_are_the_same_it_says_a_half():
    p = torch.tensor([0.7, 0.3, 0.0])
    d, loss = best_discriminator(p, p)
    assert d.tolist() == [0.5, 0.5, 0.5]
    assert loss == pytest.approx(TWO_LOG_TWO)


def test_where_they_share_nothing_it_never_errs():
    d, loss = best_discriminator(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert d.tolist() == [1, 0]
    assert loss == 0


def test_no_other_discriminator_is_better():
    p, q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.2, 0.6])
    d, best = best_discriminator(p, q)
    for _ in range(20):
        other = (d.logit() + 0.3 * torch.randn(3)).sigmoid()
        loss = -(p * other.log() + q * (1 - other).log()).sum()
        assert loss >= best - 1e-6


def trained_on(teacher, student, steps=150):
    """Return a discriminator and its loss, after training on fresh samples."""
    with seeded(0):
        net = LogitDiscriminator(2, hidden=16)
        adam = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(steps):
            loss = discriminator_loss(net(teacher(500))[0], net(student(500))[0])
            adam.zero_grad()
            loss.backward()
            adam.step()
        z = teacher(2000)
        return net(z)[0].sigmoid().mean().item(), loss.item()


def test_a_trained_one_cannot_tell_logits_of_the_same_network_apart():
    half, loss = trained_on(lambda n: torch.randn(n, 2), lambda n: torch.randn(n, 2))
    assert half == pytest.approx(0.5, abs=0.05)
    assert loss == pytest.approx(TWO_LOG_TWO, abs=0.05)


def test_a_trained_one_tells_others_apart():
    high, loss = trained_on(
        lambda n: torch.randn(n, 2) + 2, lambda n: torch.randn(n, 2) - 2
    )
    assert high > 0.9
    assert loss < 0.4


def test_it_reads_the_logits_and_answers_both_questions():
    net = LogitDiscriminator(3, hidden=8)
    x = torch.randn(4, 3, requires_grad=True)
    whose, which = net(x)
    assert whose.shape == (4,)
    assert which.shape == (4, 3)
    (whose.sum() + which[:, 0].sum()).backward()
    assert x.grad.abs().min() > 0
    hidden = {m.out_features for m in net.body if isinstance(m, nn.Linear)}
    assert hidden == {8}


def play(**options):
    """Return student, discriminator, teacher and losses, from the same start."""
    with seeded(0):
        split = Split(torch.randn(60, 4), torch.arange(60) % 3)
        teacher, student = nn.Linear(4, 3).eval(), nn.Linear(4, 3)
        judge = LogitDiscriminator(3, hidden=8)
    start = copy.deepcopy((student, judge, teacher))
    options = {"recipe": Recipe(1, 0.05, 60)} | options
    losses = distil_adversarially(student, teacher, split, judge, **options)
    return split, start, (student, judge, teacher), losses


def test_a_step_is_one_of_the_discriminator_and_one_of_the_student():
    split, start, (student, judge, _), losses = play(
        recipe=Recipe(2, 0.05, 60), share=0.3, label_share=0.2, rate=0.01
    )
    s_net, d_net, t_net = start
    adam = torch.optim.Adam(d_net.parameters(), 0.01)
    sgd = torch.optim.SGD(s_net.parameters(), 0.05, 0.9, 0, 5e-4, nesterov=True)
    x, y = split.inputs, split.targets  # one batch, so the order does not matter
    for found in losses:  # the rate is the same in both steps
        t, s = t_net(x).detach(), s_net(x)
        (true, true_y), (fake, fake_y) = d_net(t), d_net(s.detach())
        named = F.cross_entropy(true_y, y) + F.cross_entropy(fake_y, y)
        whose = F.binary_cross_entropy_with_logits(true, torch.ones(60))
        whose = whose + F.binary_cross_entropy_with_logits(fake, torch.zeros(60))
        adam.zero_grad()
        (whose + 0.2 * named).backward()
        adam.step()
        fooled, right = d_net(s)
        loss = F.cross_entropy(s, y) + (s - t).abs().mean()
        loss = loss - 0.3 * fooled.sigmoid().log().mean()
        loss = loss + 0.2 * F.cross_entropy(right, y)
        assert found == pytest.approx(loss.item(), rel=1e-4)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    for a, b in zip(judge.parameters(), d_net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(student.weight, s_net.weight, rtol=1e-3, atol=1e-5)


def test_the_student_learns_and_the_teacher_stays_bitwise_as_it_is():
    _, (_, _, before), (_, judge, teacher), losses = play(recipe=Recipe(10, 0.1, 20))
    assert losses[-1] < losses[0]
    assert torch.equal(teacher.weight, before.weight)
    assert teacher.weight.grad is None
    assert not teacher.training
    assert all(p.grad is not None for p in judge.parameters())


def test_bad_input_is_refused():
    for options in ({"share": -0.1}, {"label_share": 1.1}):
        with pytest.raises(ValueError, match="share must be from 0 to 1"):
            play(**options)
    split, net = Split(torch.eye(2), torch.arange(2)), nn.Linear(2, 2)
    with pytest.raises(ValueError, match="teacher is in training mode"):
        distil_adversarially(net, net, split, LogitDiscriminator(2))
    with pytest.raises(ValueError, match="student has 3 classes and teacher 2"):
        distil_adversarially(
            nn.Linear(2, 3), nn.Linear(2, 2).eval(), split, LogitDiscriminator(2)
        )
    with pytest.raises(ValueError, match="classes must be at least 1"):
        LogitDiscriminator(0)
