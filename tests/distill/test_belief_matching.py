"""Belief matching: one number and two players, and curves between classes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.distill.attention_transfer import attention_loss
from effdl.distill.belief_matching import (
    belief_divergence,
    logit_distance,
    match_beliefs,
    transition_curves,
    transition_error,
)
from effdl.distill.generator import Generator
from effdl.distill.imagined import Game
from effdl.distill.kd import soft_loss
from effdl.distill.taps import tapped
from effdl.seed import seeded

SHORT = Game(epochs=2, rounds=2, student_steps=2, batch_size=8)


def test_the_divergence_is_that_of_distillation_with_a_slope_for_the_teacher_too():
    s, t = (torch.randn(6, 4, requires_grad=True) for _ in range(2))
    ours = belief_divergence(s, t)
    torch.testing.assert_close(ours, soft_loss(s, t, 1.0))
    of_s, of_t = torch.autograd.grad(ours, (s, t))
    q, p = s.softmax(1), t.softmax(1)
    torch.testing.assert_close(of_s, (q - p) / 6)
    ratio = p.log() - q.log()
    by_hand = p * (ratio - (p * ratio).sum(1, keepdim=True)) / 6
    torch.testing.assert_close(of_t, by_hand)


def test_the_distance_of_dfad_by_hand():
    """|1 - 0| + |0 - 2| + |1 - 1| + |0 - 1|, over 4."""
    s, t = (
        torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
        torch.tensor([[0.0, 2.0], [1.0, 1.0]]),
    )
    assert logit_distance(s, t).item() == 1.0


@pytest.mark.parametrize("divergence", [belief_divergence, logit_distance])
def test_where_student_and_teacher_are_the_same_the_generator_stands_still(divergence):
    net, generator = plain_net(2).eval(), Generator(4, width=2)
    images = generator(generator.noise(8))
    value = divergence(net(images), net(images))
    slopes = torch.autograd.grad(value, list(generator.parameters()))
    assert value.item() == 0
    assert all(slope.abs().max() < 1e-6 for slope in slopes)


def test_near_one_hot_the_slope_of_kl_fades_and_that_of_l1_does_not():
    t = torch.tensor([[40.0, 0.0]])
    for divergence, least, most in (
        (belief_divergence, 0, 1e-8),
        (logit_distance, 0.4, 1),
    ):
        s = torch.tensor([[30.0, 0.0]], requires_grad=True)
        (slope,) = torch.autograd.grad(divergence(s, t), s)
        assert least <= slope[0, 0].abs() <= most


def players(game, **options):
    """Return what the divergence was at each call, and who had asked."""
    with seeded(0):
        teacher, student = plain_net(2).eval(), plain_net(1)
        generator, calls = Generator(8, width=4), []

        def divergence(s, t):
            value = belief_divergence(s, t)
            calls.append((value.item(), t.requires_grad))
            return value

        match_beliefs(
            student, teacher, generator, game, divergence=divergence, **options
        )
    return calls


def test_a_round_is_a_step_of_the_generator_and_then_those_of_the_student():
    asked = [of_generator for _, of_generator in players(SHORT)]
    assert asked == 4 * [True, False, False]


def test_the_generator_climbs_and_the_student_descends():
    """Each alone: the other's rate is next to nothing."""
    first = Game(
        epochs=1, rounds=40, student_steps=1, batch_size=32, learning_rate=1e-9
    )
    up = [value for value, _ in players(Game(**vars(first) | {"generator_rate": 0.02}))]
    down = [
        value
        for value, _ in players(
            Game(**vars(first) | {"generator_rate": 1e-9, "learning_rate": 0.02})
        )
    ]
    assert sum(up[-10:]) > 1.05 * sum(up[:10])
    assert sum(down[-10:]) < 0.8 * sum(down[:10])


def test_attention_transfer_comes_in_beside_and_reaches_the_student_only():
    with seeded(0):
        teacher, student = plain_net(2).eval(), plain_net(2)
        with tapped(teacher, ["1"]) as theirs, tapped(student, ["1"]) as ours:
            losses = []

            def attention(_images):
                losses.append(loss := 250 * attention_loss(ours["1"], theirs["1"]))
                return loss

            game = Game(epochs=1, rounds=2, student_steps=20, batch_size=16)
            match_beliefs(
                student, teacher, Generator(8, width=4), game, beside=attention
            )
    assert len(losses) == 40
    assert losses[19] < losses[0]
    assert all(p.grad is None for p in teacher.parameters())


def test_the_mean_loss_has_what_is_beside_in_it():
    with seeded(0):
        teacher, student = plain_net(2).eval(), plain_net(1)
        nets = [copy.deepcopy(n) for n in (student, Generator(4, width=2))]
    losses = []
    for extra in (None, lambda _: torch.tensor(7.0)):
        with seeded(1):
            s, g = (copy.deepcopy(n) for n in nets)
            losses.append(match_beliefs(s, teacher, g, SHORT, beside=extra))
    assert losses[1] == pytest.approx([loss + 7 for loss in losses[0]], rel=1e-5)


def test_the_teacher_stays_bitwise_as_it_is():
    teacher = plain_net(2).eval()
    before = copy.deepcopy(teacher.state_dict())
    match_beliefs(plain_net(1), teacher, Generator(4, width=2), SHORT)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())


def test_curves_are_those_of_a_walk_image_by_image():
    student, teacher = nn.Linear(3, 4), nn.Linear(3, 4)
    images = torch.randn(12, 3)
    curves, theirs = transition_curves(student, teacher, images, steps=5, rate=0.7)
    both = [x for x in images if student(x).argmax() == teacher(x).argmax()]
    assert 0 < len(both) < 12
    for x, ours, other in zip(both, curves, theirs, strict=True):
        start = int(student(x).argmax())
        for j in range(3):
            goal, point = torch.tensor((start + j + 1) % 4), x.clone()
            for k in range(5):
                point = point.detach().requires_grad_()
                p, q = student(point).softmax(0)[goal], teacher(point).softmax(0)[goal]
                torch.testing.assert_close(ours[j, k], p.detach())
                torch.testing.assert_close(other[j, k], q.detach())
                F.cross_entropy(student(point), goal).backward()
                point = point.detach() - 0.7 * point.grad


def test_the_walk_reaches_its_class_in_the_student():
    net = nn.Linear(6, 3)
    curves, _ = transition_curves(net, net, torch.randn(10, 6), steps=60, rate=1.0)
    assert curves[..., 0].max() < 0.5
    assert curves[..., -1].min() > 0.9


def test_the_error_is_the_mean_distance_and_0_for_the_same_network():
    net = nn.Linear(6, 3)
    assert transition_error(*transition_curves(net, net, torch.randn(5, 6))) == 0
    a, b = torch.tensor([[[0.0, 0.5]]]), torch.tensor([[[0.25, 0.0]]])
    assert transition_error(a, b) == 0.375


def test_curves_leave_both_networks_as_they_are():
    nets = [plain_net(1), plain_net(1)]
    nets[0][-1].bias.data[3] = nets[1][-1].bias.data[3] = 9.0  # so that they agree
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    transition_curves(*nets, torch.randn(20, 1, 16, 16), steps=2)
    for net, state in zip(nets, before, strict=True):
        assert net.training
        assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
        assert all(p.grad is None for p in net.parameters())


def test_bad_input_is_refused():
    net, x = nn.Linear(2, 2), torch.eye(2)
    for divergence in (belief_divergence, logit_distance):
        with pytest.raises(ValueError, match="student has 2 classes and teacher 3"):
            divergence(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="teacher is in training mode"):
        match_beliefs(net, net, Generator(4, width=2))
    with pytest.raises(ValueError, match="student has 2 classes and teacher 3"):
        transition_curves(net, nn.Linear(2, 3), x)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        transition_curves(net, net, x, steps=0)
    other = copy.deepcopy(net)
    other.weight.data, other.bias.data = -net.weight.data, -net.bias.data
    with pytest.raises(ValueError, match="agree on no image"):
        transition_curves(net, other, x)
