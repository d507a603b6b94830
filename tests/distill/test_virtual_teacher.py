"""Tf-KD: a teacher that is a formula, its two limits, and training with it."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.kd import kd_loss, learn_answers, softened
from effdl.distill.recipe import Recipe
from effdl.distill.virtual_teacher import (
    equal_smoothing,
    train_without_teacher,
    virtual_logits,
)
from effdl.train import train_classifier

N, C = 8, 5


def test_the_virtual_teacher_is_right_and_equally_unsure_of_the_rest():
    y = torch.randint(0, C, (N,))
    p = virtual_logits(y, C, correct=0.9).exp()
    for row, label in zip(p, y, strict=True):
        for c in range(C):
            expected = 0.9 if c == label else 0.1 / (C - 1)
            assert float(row[c]) == pytest.approx(expected)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(N))


def test_by_hand():
    """Four classes, a = 0.7: 0.7 and three times 0.1; smoothing 0.5 * 0.3 * 4 / 3."""
    p = virtual_logits(torch.tensor([2]), 4, correct=0.7).exp()
    torch.testing.assert_close(p, torch.tensor([[0.1, 0.1, 0.7, 0.1]]))
    assert equal_smoothing(4, correct=0.7, alpha=0.5) == pytest.approx(0.2)


def test_softened_it_is_a_power_of_its_probabilities():
    p = virtual_logits(torch.tensor([0]), C).exp()
    power = p ** (1 / 20)
    found = softened(virtual_logits(torch.tensor([0]), C), 20.0)
    torch.testing.assert_close(found, power / power.sum())


@pytest.mark.parametrize("correct", [0.9, 0.99])
@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_at_temperature_1_it_has_the_slope_of_label_smoothing(correct, alpha):
    s, y = torch.randn(N, C, requires_grad=True), torch.randint(0, C, (N,))
    z = virtual_logits(y, C, correct=correct)
    epsilon = equal_smoothing(C, correct=correct, alpha=alpha)
    losses = (
        kd_loss(s, z, y, temperature=1.0, alpha=alpha),
        F.cross_entropy(s, y, label_smoothing=epsilon),
    )
    torch.testing.assert_close(*(torch.autograd.grad(x, s)[0] for x in losses))


def test_at_a_high_temperature_it_draws_logits_to_a_fixed_gap():
    """The slope becomes (s - log p) / (N C), both less their means."""
    s, y = torch.randn(N, C, requires_grad=True), torch.randint(0, C, (N,))
    z = virtual_logits(y, C, correct=0.95)
    (found,) = torch.autograd.grad(kd_loss(s, z, y, temperature=1e3, alpha=1.0), s)
    s, z = (x - x.mean(dim=1, keepdim=True) for x in (s, z))
    torch.testing.assert_close(found, (s - z) / (N * C), rtol=0.02, atol=1e-3)
    gap = (z.max(dim=1).values - z.min(dim=1).values)[0].item()
    assert gap == pytest.approx(math.log(0.95 * (C - 1) / 0.05), rel=1e-4)


def test_the_authors_softening_is_another_and_no_label_smoothing():
    """At T = 1, softmax(p) has odds of e^(a - rest), not a to rest."""
    p = virtual_logits(torch.tensor([0]), 10).exp()
    theirs = (p / 20).softmax(dim=1)
    assert float(theirs[0, 0]) == pytest.approx(0.1045, abs=2e-4)
    assert not torch.allclose(p.softmax(dim=1), p, atol=0.1)


def test_training_is_distillation_with_these_logits():
    split = Split(torch.randn(60, 5), torch.arange(C).repeat(12))
    recipe, net = Recipe(epochs=2, batch_size=20, seed=1), nn.Linear(5, C)
    twin = copy.deepcopy(net)
    options = {"temperature": 5.0, "alpha": 0.4}
    losses = train_without_teacher(net, split, recipe, correct=0.9, **options)
    z = virtual_logits(split.targets, C, correct=0.9)
    assert losses == learn_answers(twin, z, split, recipe, **options)
    assert torch.equal(net.weight, twin.weight)


def test_a_share_of_0_is_plain_training_bit_by_bit():
    split = Split(torch.randn(60, 5), torch.arange(C).repeat(12))
    net = nn.Linear(5, C)
    twin = copy.deepcopy(net)
    train_without_teacher(net, split, Recipe(epochs=2, batch_size=20), alpha=0.0)
    train_classifier(twin, split, epochs=2, batch_size=20)
    assert torch.equal(net.weight, twin.weight)


def test_it_makes_a_network_less_sure():
    split = Split(torch.eye(C).repeat(20, 1), torch.arange(C).repeat(20))
    sure = []
    for alpha in (0.0, 0.9):
        torch.manual_seed(2)
        net = nn.Linear(C, C)
        recipe = Recipe(epochs=20, batch_size=20, weight_decay=0.0, learning_rate=1.0)
        train_without_teacher(
            net, split, recipe, correct=0.6, temperature=1.0, alpha=alpha
        )
        p = net(split.inputs).detach().softmax(dim=1)
        sure.append(float(p.max(dim=1).values.mean()))
    assert sure[0] > 0.95
    assert sure[1] == pytest.approx(0.1 + 0.9 * 0.6, abs=0.02)  # the mixed target


def test_bad_input_is_refused():
    y = torch.tensor([0])
    for correct in (0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"above 1 / 10 .*, got {correct}"):
            virtual_logits(y, 10, correct=correct)
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        virtual_logits(y, 1)
