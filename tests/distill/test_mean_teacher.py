"""Mean teacher: the closed forms of the average, buffers, ramp and consistency."""

import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from effdl.distill.mean_teacher import (
    consistency_loss,
    decay_at,
    follow_,
    mean_teacher_of,
    ramp_up,
)


def path(steps):
    """Return a student and a function that gives it new weights and statistics."""
    student = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

    @torch.no_grad()
    def move():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))
        student(torch.randn(4, 3))  # statistics move, too

    return student, [move] * steps


def floats(net):
    """Return all weights and floating-point buffers as one vector."""
    values = net.state_dict().values()
    return torch.cat([v.flatten() for v in values if v.is_floating_point()]).clone()


def test_with_a_constant_decay_it_is_the_closed_form():
    student, moves = path(5)
    teacher, a = mean_teacher_of(student), 0.8
    trajectory = [floats(student)]
    for move in moves:
        move()
        follow_(teacher, student, a)
        trajectory.append(floats(student))
    t = len(moves)
    expected = a**t * trajectory[0]
    for k in range(1, t + 1):
        expected = expected + (1 - a) * a ** (t - k) * trajectory[k]
    torch.testing.assert_close(floats(teacher), expected)


def test_by_hand():
    """0, then 1 and 1 with a = 3/4: 1/4, then 3/16 + 1/4 = 7/16."""
    student = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(student.weight)
    teacher = mean_teacher_of(student)
    nn.init.ones_(student.weight)
    found = []
    for _ in range(2):
        follow_(teacher, student, 0.75)
        found.append(teacher.weight.item())
    assert found == [1 / 4, 7 / 16]


def test_before_the_cap_it_is_the_plain_mean_of_the_path_with_its_beginning():
    student, moves = path(6)
    teacher = mean_teacher_of(student)
    trajectory = [floats(student)]
    for step, move in enumerate(moves, start=1):
        move()
        follow_(teacher, student, decay_at(step, 0.999))
        trajectory.append(floats(student))
    torch.testing.assert_close(floats(teacher), torch.stack(trajectory).mean(dim=0))


def test_it_is_the_average_of_pytorch_with_buffers():
    student, moves = path(4)
    teacher = mean_teacher_of(student)
    theirs = AveragedModel(
        student, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    theirs.update_parameters(student)  # the first call copies
    for move in moves:
        move()
        follow_(teacher, student, 0.9)
        theirs.update_parameters(student)
    torch.testing.assert_close(floats(teacher), floats(theirs.module))


def test_two_students_on_the_same_path_have_the_same_teacher():
    """Nothing but the path enters: no data, no other network."""
    states = [{"weight": torch.randn(2, 3), "bias": torch.randn(2)} for _ in range(4)]
    found = []
    for _ in range(2):
        student = nn.Linear(3, 2)
        student.load_state_dict(states[0])
        teacher = mean_teacher_of(student)
        for state in states[1:]:
            student.load_state_dict(state)
            follow_(teacher, student, 0.7)
        found.append(floats(teacher))
    assert torch.equal(*found)


def test_without_decay_the_teacher_is_the_student():
    student, moves = path(3)
    teacher = mean_teacher_of(student)
    for move in moves:
        move()
        follow_(teacher, student, 0.0)
    for own, its in zip(
        teacher.state_dict().values(), student.state_dict().values(), strict=True
    ):
        assert torch.equal(own, its)


def test_with_all_the_decay_the_teacher_never_moves():
    student, moves = path(1)
    teacher = mean_teacher_of(student)
    before = floats(teacher)
    moves[0]()
    follow_(teacher, student, 1.0)
    assert torch.equal(floats(teacher), before)


def test_counters_are_copied_and_the_student_stays_as_it_is():
    student, moves = path(3)
    teacher = mean_teacher_of(student)
    for move in moves:
        move()
    before = floats(student)
    follow_(teacher, student, 0.5)
    assert teacher[1].num_batches_tracked.item() == 3
    assert torch.equal(floats(student), before)
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_the_teacher_begins_as_a_frozen_copy_in_evaluation_mode():
    student, moves = path(1)
    teacher = mean_teacher_of(student)
    assert torch.equal(floats(teacher), floats(student))
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    moves[0]()
    assert not torch.equal(floats(teacher), floats(student))


def test_consistency_is_the_mean_square_of_differences_and_takes_no_slope_back():
    s, t = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    loss = consistency_loss(s, t)
    p, q = s.softmax(dim=1), t.softmax(dim=1)
    torch.testing.assert_close(loss, ((p - q) ** 2).sum() / 12)
    loss.backward()
    assert t.grad is None
    assert s.grad.abs().sum() > 0
    assert consistency_loss(s, s + 1).item() == pytest.approx(0, abs=1e-12)


def test_the_ramp_rises_once_and_stays():
    found = [ramp_up(step, 20) for step in range(40)]
    assert found[0] == pytest.approx(math.exp(-5))
    assert found[10] == pytest.approx(math.exp(-5 / 4))
    assert found == sorted(found)
    assert found[20:] == [1.0] * 20


def test_the_decay_rises_from_a_half_to_its_cap():
    assert [decay_at(step, 0.9) for step in (1, 3, 9, 10, 99)] == [
        0.5,
        0.75,
        0.9,
        0.9,
        0.9,
    ]


def test_bad_input_is_refused():
    student = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="teacher has other layers than student"):
        follow_(nn.Linear(2, 2, bias=False), student, 0.5)
    with pytest.raises(ValueError, match="teacher has other layers than student"):
        follow_(nn.Linear(2, 2), nn.Linear(1, 2), 0.5)
    with pytest.raises(ValueError, match=r"decay must be from 0 to 1, got 1\.5"):
        follow_(mean_teacher_of(student), student, 1.5)
    with pytest.raises(ValueError, match="2 classes and teacher 3"):
        consistency_loss(torch.zeros(1, 2), torch.zeros(1, 3))
