"""Training with a mean teacher: what a step does, and what few labels give."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.mean_teacher import (
    consistency_loss,
    decay_at,
    follow_,
    mean_teacher_of,
    ramp_up,
)
from effdl.distill.mean_teacher_training import Consistency, train_with_mean_teacher
from effdl.distill.recipe import Recipe

C = 3


def data():
    """Return 6 inputs with labels, 20 without."""
    return Split(torch.randn(6, 4), torch.arange(6) % C), torch.randn(20, 4)


def nothing(x):
    return x


def state(net):
    return torch.cat([v.flatten().float() for v in net.state_dict().values()])


def test_the_first_loss_is_that_of_the_definition():
    labelled, x = data()
    student = nn.Linear(4, C)
    other = nn.Linear(4, C).eval()  # begins elsewhere, so that it has something to say
    both = torch.cat([labelled.inputs, x])
    expected = F.cross_entropy(student(labelled.inputs), labelled.targets)
    pull = 7.0 * ramp_up(0, 0.5)
    expected += pull * consistency_loss(student(both), other(both))
    losses = train_with_mean_teacher(
        student,
        other,
        labelled,
        x,
        Recipe(epochs=1, batch_size=20),
        noise=nothing,
        consistency=Consistency(7.0, 0.9, 0.5),
    )
    assert losses == pytest.approx([expected.item()], rel=1e-5)


def test_the_weight_rises_over_a_share_of_the_steps_and_stays():
    """Weights stand still, noise is the same in all steps: so the loss is the ramp."""
    labelled, x = data()
    fixed = nn.Linear(4, C).requires_grad_(requires_grad=False)
    student = nn.Sequential(fixed, Nought())
    moves = [0.0, 1.0] * 4  # of the student, the teacher, and so on

    def noise(inputs):
        return inputs + moves.pop(0)

    losses = train_with_mean_teacher(
        student,
        mean_teacher_of(student),
        labelled,
        x,
        Recipe(epochs=4, batch_size=20),
        noise=noise,
        consistency=Consistency(3.0, 0.9, 0.5),
    )
    both = torch.cat([labelled.inputs, x])
    apart = consistency_loss(fixed(both), fixed(both + 1)).item()
    hard = F.cross_entropy(fixed(labelled.inputs), labelled.targets).item()
    expected = [hard + 3 * apart * ramp_up(step, 2) for step in range(4)]
    assert losses == pytest.approx(expected, rel=1e-4)


class Nought(nn.Module):
    """Adds 0 times a weight, so that there is something to train."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """Return x."""
        return x + 0 * self.weight


def test_the_teacher_is_the_average_of_the_path_that_was_taken():
    labelled, x = data()
    student = nn.Linear(4, C)
    teacher = mean_teacher_of(student)
    replay, twin = copy.deepcopy(student), mean_teacher_of(student)
    options = {"noise": nothing, "consistency": Consistency(5.0, 0.6)}
    recipe = Recipe(epochs=2, batch_size=5, weight_decay=0.0)
    seen = []
    forward = nn.Linear.forward

    class Watched(nn.Linear):
        def forward(self, inputs):
            if self.training:
                seen.append(copy.deepcopy(self.state_dict()))
            return forward(self, inputs)

    student.__class__ = Watched
    train_with_mean_teacher(student, teacher, labelled, x, recipe, **options)
    seen.append(student.state_dict())
    for step, weights in enumerate(seen[1:], start=1):
        replay.load_state_dict(weights)
        follow_(twin, replay, decay_at(step, 0.6))
    assert len(seen) == 1 + 2 * 4
    torch.testing.assert_close(state(teacher), state(twin))


def test_without_decay_the_teacher_ends_as_the_student():
    labelled, x = data()
    student = nn.Sequential(nn.Linear(4, C), nn.BatchNorm1d(C))
    teacher = mean_teacher_of(student)
    train_with_mean_teacher(
        student,
        teacher,
        labelled,
        x,
        Recipe(epochs=1, batch_size=5),
        noise=nothing,
        consistency=Consistency(1.0, 0.0),
    )
    assert torch.equal(state(teacher), state(student))


def test_without_weight_what_has_no_label_is_not_shown():
    labelled, x = data()
    sizes = []

    def watch(inputs):
        sizes.append(len(inputs))
        return inputs

    found = []
    for unlabelled in (x, 100 * x):
        torch.manual_seed(1)
        student = nn.Sequential(nn.Linear(4, C), nn.BatchNorm1d(C))
        train_with_mean_teacher(
            student,
            mean_teacher_of(student),
            labelled,
            unlabelled,
            Recipe(epochs=2, batch_size=4),
            noise=watch,
            consistency=Consistency(0.0),
        )
        found.append(state(student))
    assert torch.equal(*found)
    assert sizes == [4, 2] * 10  # 2 x 10 steps; the labelled come round again


def test_student_and_teacher_see_other_noise():
    labelled, x = data()
    shown, clean = [], []

    def noise(inputs):
        clean.append(inputs)
        shown.append(inputs + torch.randn_like(inputs))
        return shown[-1]

    student = nn.Linear(4, C)
    train_with_mean_teacher(
        student,
        mean_teacher_of(student),
        labelled,
        x,
        Recipe(epochs=1, batch_size=20),
        noise=noise,
    )
    assert len(shown) == 2
    assert shown[0].shape == shown[1].shape == (26, 4)
    assert not torch.equal(*shown)
    assert torch.equal(*clean)


def test_inputs_without_labels_help_where_classes_are_clouds():
    """Two crescents of points, three labels each, small moves as noise."""
    angle = torch.rand(400) * torch.pi
    which = torch.arange(400) % 2
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    x[which == 1] = torch.tensor([1.0, 0.4]) - x[which == 1]
    x = x + 0.05 * torch.randn_like(x)
    few = torch.cat([(which == c).nonzero()[:3, 0] for c in (0, 1)])
    labelled = Split(x[few], which[few])
    right = {}
    for weight in (0.0, 30.0):
        torch.manual_seed(4)
        student = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
        teacher = mean_teacher_of(student)
        train_with_mean_teacher(
            student,
            teacher,
            labelled,
            x,
            Recipe(epochs=40, batch_size=50),
            noise=lambda z: z + 0.15 * torch.randn_like(z),
            consistency=Consistency(weight, 0.95),
        )
        right[weight] = float((teacher(x).argmax(dim=1) == which).float().mean())
    assert right[30.0] > right[0.0] + 0.1


def test_bad_input_is_refused():
    labelled, x = data()
    net = nn.Linear(4, C)
    with pytest.raises(ValueError, match="teacher is in training mode"):
        train_with_mean_teacher(net, nn.Linear(4, C), labelled, x, noise=nothing)
    with pytest.raises(ValueError, match="decay must be from 0 to 1, got 2"):
        Consistency(1.0, 2.0)
    for weight, ramp in ((-1.0, 0.5), (1.0, 0.0), (float("nan"), 0.5)):
        with pytest.raises(ValueError, match=rf"got {weight} and {ramp}"):
            Consistency(weight, 0.5, ramp)
