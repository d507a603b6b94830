"""Future frames: who sees what, who teaches when, and marks that are off."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from effdl.data.digits import Split
from effdl.distill.future_frames import (
    FrameNet,
    action_streams,
    distil_frames,
    frame_accuracy,
)
from effdl.distill.kd import soft_loss
from effdl.distill.recipe import Recipe, train_student
from effdl.seed import seeded

SHORT = Recipe(epochs=2, batch_size=10)


def made(past=3, future=0, seed=1):
    with seeded(seed):
        return FrameNet(past, future)


def streams(n=30, seed=0, **settings):
    with seeded(seed):
        return action_streams(n, **settings)


@pytest.mark.parametrize("future", [0, 2])
def test_the_output_at_t_is_that_of_the_frames_around_t_alone(future):
    net, x = made(3, future), torch.randn(2, 4, 12)
    padded = torch.cat([torch.zeros(2, 4, 3), x, torch.zeros(2, 4, future)], 2)
    kernel, bias = net.over_time.weight, net.over_time.bias
    for t in range(12):
        window = padded[:, :, t : t + 4 + future]
        hidden = (torch.einsum("nck,hck->nh", window, kernel) + bias).relu()
        expected = hidden @ net.head.weight[:, :, 0].T + net.head.bias
        torch.testing.assert_close(net(x)[:, :, t], expected)


def test_the_student_is_causal_and_the_teacher_is_not():
    """Other frames after t: not one bit of the student's logits up to t changes."""
    x, t = torch.randn(2, 4, 40), 20
    other = x.clone()
    other[:, :, t + 1 :] = torch.randn(2, 4, 19)
    student, teacher = made(8, 0), made(8, 4)
    assert torch.equal(student(x)[..., : t + 1], student(other)[..., : t + 1])
    assert not torch.equal(student(x)[..., t + 1], student(other)[..., t + 1])
    assert not torch.equal(teacher(x)[..., t], teacher(other)[..., t])
    assert torch.equal(teacher(x)[..., : t - 3], teacher(other)[..., : t - 3])


def test_it_is_causal_after_training_with_teachers_that_are_not():
    student, teachers = made(), [made(3, w).eval() for w in (2, 4)]
    distil_frames(student, teachers, streams(), SHORT)
    x = torch.randn(1, 4, 40, requires_grad=True)
    (slope,) = torch.autograd.grad(student(x)[0, :, 15].sum(), x)
    touched = slope[0].abs().sum(0) > 0
    assert touched.nonzero().flatten().tolist() == [12, 13, 14, 15]


def test_the_loss_is_that_of_all_frames_and_both_terms():
    data, student, teacher = streams(20), made(), made(3, 2, seed=2).eval()
    whole = Recipe(epochs=1, batch_size=20)
    with torch.no_grad():
        s, t = (
            torch.stack([n(data.inputs)[i, :, f] for i in range(20) for f in range(40)])
            for n in (student, teacher)
        )
    y = data.targets.flatten()
    expected = 0.3 * cross_entropy(s, y) + 0.7 * soft_loss(s, t, 2.0)
    found = distil_frames(student, [teacher], data, whole, temperature=2.0, alpha=0.7)
    assert found == [pytest.approx(float(expected), rel=1e-5)]


def test_with_alpha_0_it_is_plain_training():
    data, plain, student = streams(), made(), made()
    train_student(plain, data, lambda x, y: cross_entropy(plain(x), y), SHORT)
    distil_frames(student, [made(3, 2).eval()], data, SHORT, alpha=0.0)
    torch.testing.assert_close(student.over_time.weight, plain.over_time.weight)


def test_teachers_take_over_in_their_order_with_equal_shares():
    """Three constant teachers; six epochs of one step. The loss tells who teaches."""

    class Sure(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.kind = kind

        def forward(self, x):
            logits = torch.zeros(len(x), 3, x.shape[2])
            logits[:, self.kind] = 50
            return logits

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            q = torch.tensor([0.7, 0.2, 0.1]).log()[:, None] + 0 * self.unused
            return q.expand(len(x), 3, x.shape[2])

    teachers = [Sure(kind).eval() for kind in range(3)]
    recipe = Recipe(epochs=6, batch_size=10)
    losses = distil_frames(Fixed(), teachers, streams(10), recipe, alpha=1.0)
    shares = torch.tensor(losses).neg().exp()
    expected = torch.tensor([0.7, 0.7, 0.2, 0.2, 0.1, 0.1])
    torch.testing.assert_close(shares, expected, rtol=1e-3, atol=1e-3)


def test_teachers_stay_as_they_are():
    teacher = made(3, 2).eval()
    before = {name: t.clone() for name, t in teacher.state_dict().items()}
    distil_frames(made(), [teacher], streams(), SHORT)
    assert all(torch.equal(t, before[n]) for n, t in teacher.state_dict().items())
    assert not teacher.training


def test_streams_without_noise_are_the_rule():
    data = streams(50, noise=0.0)
    for x, y in zip(data.inputs, data.targets, strict=True):
        (on,) = y.nonzero(as_tuple=True)
        assert len(on) == 12
        assert int(on[-1] - on[0]) == 11
        kind = int(y[on[0]])
        rise = torch.tensor([0.375, 0.75, 1.125] + [1.5] * 9)
        torch.testing.assert_close(x[0, on], rise)
        torch.testing.assert_close(x[kind], x[0])
        assert x[3 - kind].abs().max() == x[3].abs().max() == 0
        assert x[0].count_nonzero() == 12
    assert set(data.targets.unique().tolist()) == {0, 1, 2}


def test_labels_that_are_off_are_off_by_no_more_than_asked_at_both_ends():
    data = streams(400, noise=0.0, late_by=2)
    first = (data.inputs[:, 0] > 0).float().argmax(1)
    marked = data.targets > 0
    begin = marked.float().argmax(1) - first
    end = begin + marked.sum(1) - 12
    assert set(begin.tolist()) == set(end.tolist()) == {-2, -1, 0, 1, 2}
    assert bool((begin != end).any())


def test_noise_has_the_deviation_that_is_asked_for():
    assert float(streams(200, noise=2.0).inputs[:, 3].std()) == pytest.approx(
        2, abs=0.1
    )


def test_accuracy_counts_frames():
    logits = torch.eye(3)[None].repeat(2, 1, 1)  # the largest at 0, 1, 2
    targets = torch.tensor([[0, 1, 2], [0, 0, 0]])
    assert frame_accuracy(nn.Identity().eval(), Split(logits, targets)) == 4 / 6


def test_the_future_helps_those_who_see_it():
    train, test, found = streams(60), streams(200, seed=5), []
    for future in (0, 6):
        net = made(6, future)
        train_student(
            net,
            train,
            lambda x, y, net=net: cross_entropy(net(x), y),
            Recipe(epochs=20, batch_size=20),
        )
        found.append(frame_accuracy(net.eval(), test))
    assert found[1] > found[0] + 0.02


def test_bad_input_is_refused():
    with pytest.raises(
        ValueError, match="past and future must be at least 0, got 3, -1"
    ):
        FrameNet(3, -1)
    with pytest.raises(
        ValueError, match="past and future must be at least 0, got -1, 0"
    ):
        FrameNet(-1, 0)
    for late_by in (-1, 7):
        with pytest.raises(ValueError, match="late_by must be from 0 to 6, got"):
            action_streams(3, late_by=late_by)
    with pytest.raises(ValueError, match="teachers is empty; give at least one"):
        distil_frames(made(), [], streams())
    with pytest.raises(ValueError, match="teacher is in training mode"):
        distil_frames(made(), [made()], streams())
    with pytest.raises(ValueError, match="alpha must be from 0 to 1, got 2"):
        distil_frames(made(), [made().eval()], streams(), alpha=2)
    with pytest.raises(ValueError, match="temperature must be finite"):
        distil_frames(made(), [made().eval()], streams(), temperature=-1)
