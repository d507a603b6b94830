"""CTKD: the turned slope, the range of the temperature, and what strength 0 is."""

import math

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.distill.curriculum_temperature import (
    LearnedTemperature,
    curriculum_strength,
    distil_with_curriculum,
    reverse_gradient,
)
from effdl.distill.kd import distil, soft_loss
from effdl.distill.recipe import Recipe
from effdl.seed import seeded


def teacher_and_split():
    with seeded(1):
        teacher = nn.Linear(4, 3).eval()
        with torch.no_grad():
            teacher.weight.mul_(6)
        inputs = torch.randn(200, 4)
        return teacher, Split(inputs, teacher(inputs).argmax(dim=1))


def test_the_slope_is_multiplied_by_minus_the_strength_and_nothing_else():
    x = torch.randn(5, requires_grad=True)
    for strength in (0.0, 0.25, 1.0, 3.0):
        y = reverse_gradient(x, strength)
        assert torch.equal(y, x)
        (plain,) = torch.autograd.grad(x.pow(3).sum(), x)
        (turned,) = torch.autograd.grad(y.pow(3).sum(), x)
        assert torch.equal(turned, -strength * plain)
    (turned,) = torch.autograd.grad(reverse_gradient(x).sum(), x)
    assert turned.tolist() == [-1.0] * 5


def test_the_strength_is_half_a_cosine_and_stays_at_1():
    for epoch in range(11):
        literal = 1 - (1 + math.cos(epoch * math.pi / 10)) / 2
        assert curriculum_strength(epoch) == pytest.approx(literal, abs=1e-12)
    assert curriculum_strength(99) == curriculum_strength(10) == 1
    assert curriculum_strength(-3) == 0
    assert curriculum_strength(1, 2) == pytest.approx(0.5)
    rising = [curriculum_strength(epoch, 7) for epoch in range(8)]
    assert rising == sorted(rising)


def test_by_hand():
    """1 + 20 sigmoid(1) = 1 + 20 * 0.731059; in the middle 2 + 6 / 2."""
    assert LearnedTemperature()().item() == pytest.approx(15.62117, abs=1e-4)
    assert LearnedTemperature(2.0, 6.0, start=0.0)().item() == 5.0


def test_it_never_leaves_its_range():
    for start in (-50.0, -3.0, 0.0, 3.0, 50.0):
        assert 1 <= LearnedTemperature(1.0, 20.0, start=start)() <= 21


def test_a_step_against_its_slope_makes_the_loss_larger():
    s, t = torch.randn(9, 5) * 3, torch.randn(9, 5) * 3
    for start in (-2.0, 0.0, 2.0):
        temperature = LearnedTemperature(start=start)
        before = soft_loss(s, t, temperature(1.0))
        (slope,) = torch.autograd.grad(before, temperature.raw)
        with torch.no_grad():
            temperature.raw -= 0.01 * slope / slope.abs()
        assert soft_loss(s, t, temperature()) > before


def test_with_strength_0_it_gets_no_slope():
    temperature = LearnedTemperature()
    soft_loss(torch.randn(2, 3), torch.randn(2, 3), temperature()).backward()
    assert temperature.raw.grad == 0


def test_a_temperature_that_stands_still_is_distillation_with_a_fixed_one():
    """Without a slope of its own, and without weight decay, r cannot move."""
    teacher, split = teacher_and_split()
    with seeded(0):
        fixed, learned = nn.Linear(4, 3), nn.Linear(4, 3)
        learned.load_state_dict(fixed.state_dict())
    still = LearnedTemperature(1.0, 6.0, start=0.0)
    still.raw.requires_grad_(requires_grad=False)
    distil(fixed, teacher, split, Recipe(3, 0.05), temperature=4.0)
    recipe = Recipe(3, 0.05)
    run = distil_with_curriculum(learned, teacher, split, recipe, temperature=still)
    assert torch.equal(fixed.weight, learned.weight) and run.temperatures == [4.0] * 3


def test_the_temperature_moves_and_its_course_is_told():
    teacher, split = teacher_and_split()
    with seeded(0):
        student, temperature = nn.Linear(4, 3), LearnedTemperature()
    recipe = Recipe(6, 0.1, batch_size=20)
    run = distil_with_curriculum(
        student, teacher, split, recipe, temperature=temperature, epochs=3
    )
    assert len(run.losses) == len(run.temperatures) == 6
    assert run.temperatures[-1] == temperature().item()
    assert len(set(run.temperatures)) == 6
    assert all(1 < value < 21 for value in run.temperatures)
    assert all(w.grad is None for w in teacher.parameters())


def test_the_first_epochs_move_it_little():
    """Strengths of 20 epochs in the first two, 0.006 and 0.024, and of 1: 1 and 1.

    The strength goes with epochs, not with the ten steps of each.
    """
    teacher, split = teacher_and_split()
    moved = []
    for epochs in (20, 1):
        with seeded(0):
            student, temperature = nn.Linear(4, 3), LearnedTemperature(start=0.0)
        distil_with_curriculum(
            student,
            teacher,
            split,
            Recipe(2, 0.05, batch_size=20),
            temperature=temperature,
            epochs=epochs,
        )
        moved.append(abs(temperature.raw.item()))
    assert 0 < moved[0] < 0.1 * moved[1]


def test_the_student_learns_what_the_teacher_says():
    teacher, split = teacher_and_split()
    with seeded(0):
        student = nn.Linear(4, 3)
    distil_with_curriculum(
        student, teacher, split, Recipe(10, 0.1), temperature=LearnedTemperature()
    )
    with torch.no_grad():
        right = student(split.inputs).argmax(dim=1) == split.targets
    assert right.float().mean() > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *_: LearnedTemperature(0.0), "low and span must be above 0"),
        (lambda *_: LearnedTemperature(1.0, -1.0), "got 1.0 and -1.0"),
        (lambda *_: LearnedTemperature(1.0, float("nan")), "low and span"),
        (lambda *_: curriculum_strength(1, 0), "epochs must be"),
        (
            lambda teacher, split: distil_with_curriculum(
                nn.Linear(4, 3),
                teacher,
                split,
                temperature=LearnedTemperature(),
                alpha=1.5,
            ),
            "alpha must be from 0 to 1",
        ),
        (
            lambda teacher, split: distil_with_curriculum(
                nn.Linear(4, 3),
                teacher.train(),
                split,
                temperature=LearnedTemperature(),
            ),
            "teacher is in training mode",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*teacher_and_split())
