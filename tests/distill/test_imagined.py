"""Training on images that are made meanwhile: order, lengths, whose gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.distill.generator import Generator
from effdl.distill.imagined import Game, Imagined, learn_imagined, learning_draw
from effdl.distill.kd import soft_loss

SHORT = Game(epochs=2, rounds=3, student_steps=4, batch_size=5)


def test_a_batch_is_handed_out_as_often_as_the_student_steps():
    drawn = [torch.full((2, 3), float(i)) for i in range(3)]
    left = iter(drawn)
    teacher = nn.Linear(3, 4).eval()
    imagined = Imagined(lambda: next(left), teacher, SHORT)
    batches = list(imagined)
    assert len(batches) == len(imagined) == 12
    for i, (images, logits) in enumerate(batches):
        assert torch.equal(images, drawn[i // 4])
        torch.testing.assert_close(logits, teacher(images).detach())
        assert not logits.requires_grad


def test_a_draw_is_one_step_of_adam_and_hands_out_what_was_there_before_it():
    game = Game(epochs=1, rounds=2, batch_size=6, generator_rate=0.01)
    ours, theirs = (Generator(4, width=2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(1)
    draw = learning_draw(ours, lambda x: x.pow(4).mean(), game)
    images = [draw(), draw()]
    torch.manual_seed(1)
    adam = torch.optim.Adam(theirs.parameters(), 0.01)
    for drawn in images:  # the rate is the same in both steps
        expected = theirs(torch.randn(6, 4))
        adam.zero_grad()
        expected.pow(4).mean().backward()
        adam.step()
        torch.testing.assert_close(drawn, expected.detach(), rtol=1e-3, atol=1e-4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_draw_makes_the_loss_small():
    generator = Generator(8, width=4)
    game = Game(epochs=1, rounds=60, generator_rate=0.01)
    losses = []

    def skew(images):
        losses.append(loss := images.pow(3).mean())
        return loss

    draw = learning_draw(generator, skew, game)
    for _ in range(60):
        draw()
    assert losses[-1] < losses[0] - 0.5


def test_the_generators_loss_leaves_no_gradient_in_other_networks():
    net = plain_net(2).eval()
    learning_draw(Generator(4, width=2), lambda x: net(x).sum(), Game(batch_size=3))()
    assert all(p.grad is None for p in net.parameters())


def test_the_draw_puts_the_generator_into_training_mode():
    generator = Generator(4, width=2).eval()
    learning_draw(generator, lambda x: x.mean(), Game(batch_size=3))()
    assert generator.training


def test_a_pass_of_the_student_is_adam_on_kl_with_a_rate_that_rises_and_falls():
    batch, teacher = torch.randn(5, 3), nn.Linear(3, 4).eval()
    ours = nn.Linear(3, 4)
    theirs = copy.deepcopy(ours)
    losses = learn_imagined(ours, Imagined(lambda: batch, teacher, SHORT))
    adam = torch.optim.Adam(theirs.parameters())
    found = []
    for step in range(24):
        rise = min(1.0, (step + 1) / 2)
        fall = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * max(0, step - 2) / 22)))
        adam.param_groups[0]["lr"] = 0.02 * rise * float(fall)
        loss = soft_loss(theirs(batch), teacher(batch), 1.0)
        adam.zero_grad()
        loss.backward()
        adam.step()
        found.append(loss.item())
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-3, atol=1e-5)
    assert losses == pytest.approx([sum(found[:12]) / 12, sum(found[12:]) / 12], 1e-3)


def test_another_loss_gets_images_and_logits():
    teacher, student = nn.Linear(3, 4).eval(), nn.Linear(3, 4)
    imagined = Imagined(lambda: torch.randn(20, 3), teacher, Game(learning_rate=0.1))
    learn_imagined(student, imagined, lambda x, t: F.mse_loss(student(x), t))
    torch.testing.assert_close(student.weight, teacher.weight, atol=1e-2, rtol=0)


def test_the_teacher_stays_bitwise_as_it_is():
    teacher, student = plain_net(2).eval(), plain_net(1)
    before = copy.deepcopy(teacher.state_dict())
    generator = Generator(4, width=2)
    draw = learning_draw(generator, lambda x: -teacher(x).std(), SHORT)
    learn_imagined(student, Imagined(draw, teacher, SHORT))
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="teacher is in training mode"):
        Imagined(lambda: torch.zeros(1), nn.Linear(2, 2), SHORT)
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        Game(rounds=0)
    with pytest.raises(ValueError, match="student_steps must be at least 1"):
        Game(student_steps=0)
    for rate in (0.0, float("nan")):
        with pytest.raises(ValueError, match="generator_rate must be above 0"):
            Game(generator_rate=rate)
        with pytest.raises(ValueError, match="learning_rate and"):
            Game(learning_rate=rate)
