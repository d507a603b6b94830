"""DAFL: its three losses by hand and at their limits, and the alternating training."""

import copy
import math

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.distill.dafl import (
    activation_loss,
    balance_loss,
    dafl,
    dafl_loss,
    one_hot_loss,
)
from effdl.distill.generator import Generator
from effdl.distill.imagined import Game
from effdl.seed import seeded


def test_the_losses_are_those_of_the_definition():
    logits, features = torch.randn(7, 4), torch.randn(7, 3, 2)
    p = (logits.double().exp() / logits.double().exp().sum(1, keepdim=True)).numpy()
    one_hot = -sum(math.log(row.max()) for row in p) / 7
    activation = -sum(float(f.abs().sum()) for f in features) / 7
    mean = p.mean(axis=0)
    balance = sum(m * math.log(m) for m in mean)
    assert one_hot_loss(logits).item() == pytest.approx(one_hot, rel=1e-5)
    assert activation_loss(features).item() == pytest.approx(activation, rel=1e-5)
    assert balance_loss(logits).item() == pytest.approx(balance, rel=1e-5)
    total = dafl_loss(logits, features, activation=0.3, balance=2.0)
    assert total.item() == pytest.approx(one_hot + 0.3 * activation + 2 * balance, 1e-5)


def test_by_hand():
    """Two certain images of two classes: 0 - 0.1 * 3 - 5 log 2."""
    loss = dafl_loss(1000 * torch.eye(2), torch.ones(2, 3))
    assert loss.item() == pytest.approx(-0.3 - 5 * math.log(2))


def test_the_balance_is_least_only_if_all_classes_are_alike():
    sure = 1000 * torch.eye(5)
    least = balance_loss(sure).item()
    assert least == pytest.approx(-math.log(5))
    assert balance_loss(torch.zeros(3, 5)).item() == pytest.approx(least)
    for one_more in range(5):
        assert balance_loss(torch.cat([sure, sure[one_more, None]])).item() > least
    assert balance_loss(sure[:1]).item() == 0


def test_the_one_hot_loss_vanishes_as_the_teacher_gets_sure():
    logits = torch.randn(20, 5)
    losses = [one_hot_loss(scale * logits).item() for scale in (0, 1, 10, 1000)]
    assert losses[0] == pytest.approx(math.log(5))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-3


def test_stronger_features_of_either_sign_lower_the_loss():
    features = torch.randn(4, 6)
    strong, weak = activation_loss(2 * features), activation_loss(features)
    torch.testing.assert_close(strong, 2 * weak)
    torch.testing.assert_close(activation_loss(-features), weak)


def small_game(student_steps=2, **rates):
    return Game(epochs=2, rounds=8, student_steps=student_steps, batch_size=32, **rates)


def test_the_generator_learns_what_the_loss_asks_for():
    with seeded(0):
        teacher, student = plain_net(2).eval(), plain_net(1)
        generator = Generator(8, width=4)
        z = generator.noise(64)
        seen = []
        for rounds in (1, 40):
            game = Game(1, rounds, 1, batch_size=32, generator_rate=0.01)
            dafl(student, teacher, generator, "6", game)
            with torch.no_grad():
                images = generator(z)
                seen.append(dafl_loss(teacher(images), teacher[:7](images)).item())
    assert seen[1] < seen[0] - 0.01


def test_the_student_learns_from_images_that_nobody_gave():
    with seeded(0):
        teacher, student = plain_net(2).eval(), plain_net(2)
        teacher[-1].weight.data *= 20
        losses = dafl(student, teacher, Generator(8, width=4), "6", small_game(10))
    assert losses[1] < 0.8 * losses[0]


def test_the_features_are_those_of_the_layer_named():
    """With no other term, the generator makes the layer named strong."""
    with seeded(0):
        teacher, generator = plain_net(2).eval(), Generator(8, width=4)
        z = generator.noise(64)
        game = Game(1, 20, 1, batch_size=16, generator_rate=0.02)
        strong = []
        for weight in (0.0, 100.0):
            net = copy.deepcopy(generator)
            dafl(plain_net(1), teacher, net, "0", game, activation=weight, balance=0)
            with torch.no_grad():
                strong.append(teacher[0](net(z)).abs().sum().item())
    assert strong[1] > 1.02 * strong[0]


def test_the_teacher_stays_bitwise_as_it_is():
    teacher = plain_net(2).eval()
    before = copy.deepcopy(teacher.state_dict())
    dafl(plain_net(1), teacher, Generator(4, width=2), "6", small_game())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher[6]._forward_hooks


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="images must be at least 1, got 0"):
        dafl_loss(torch.zeros(0, 2), torch.zeros(0, 3))
    for weights in ({"activation": -1.0}, {"balance": float("nan")}):
        with pytest.raises(ValueError, match="activation and balance must be at least"):
            dafl_loss(torch.zeros(1, 2), torch.zeros(1, 3), **weights)
    net, generator = nn.Flatten(), Generator(4, width=2)
    with pytest.raises(ValueError, match="teacher is in training mode"):
        dafl(net, net, generator, "6")
    with pytest.raises(ValueError, match="names has '6', which is no layer"):
        dafl(net, nn.Flatten().eval(), generator, "6")
