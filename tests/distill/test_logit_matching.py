"""Logit matching: the loss, the limit it is of distillation, and the bottleneck."""

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.distill.kd import soft_loss
from effdl.distill.logit_matching import (
    MATCHING,
    bottleneck_linear,
    logit_loss,
    match_logits,
    merged,
)
from effdl.distill.recipe import Recipe
from effdl.seed import seeded


def teacher_and_split():
    with seeded(1):
        teacher = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
        return teacher, Split(torch.randn(300, 6), torch.full((300,), -1))


def test_the_loss_is_its_formula():
    s, t = torch.randn(5, 3), torch.randn(5, 3)
    literal = sum(float(((s[n] - t[n]) ** 2).sum()) for n in range(5)) / (2 * 5)
    assert logit_loss(s, t).item() == pytest.approx(literal, rel=1e-5)


def test_by_hand():
    """Half of 3^2 + 4^2 for one input, nothing for the other: 12.5 / 2."""
    t = torch.tensor([[3.0, 4.0], [1.0, 1.0]])
    s = torch.tensor([[0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    loss = logit_loss(s, t)
    loss.backward()
    assert loss.item() == 6.25 and s.grad.tolist() == [[-1.5, -2.0], [0.0, 0.0]]


def test_distillation_turns_into_it_as_the_temperature_grows():
    """The cosine of the slopes goes to 1, their ratio to the number of classes."""
    s = torch.randn(8, 10, dtype=torch.float64) * 4
    t = torch.randn(8, 10, dtype=torch.float64) * 4
    s, t = (v - v.mean(dim=1, keepdim=True) for v in (s, t))
    s.requires_grad_()
    (matching,) = torch.autograd.grad(logit_loss(s, t), s)
    cosines, ratio = [], None
    for temperature in (1.0, 10.0, 100.0, 1000.0):
        (soft,) = torch.autograd.grad(soft_loss(s, t, temperature), s)
        cosines.append(torch.cosine_similarity(soft.ravel(), matching.ravel(), 0))
        ratio = matching.norm() / soft.norm()
    assert cosines == sorted(cosines) and cosines[0] < 0.95
    assert cosines[-1] > 1 - 1e-5 and ratio.item() == pytest.approx(10, rel=1e-2)


def test_it_sees_the_mean_of_the_logits_that_the_softmax_does_not():
    s, t = torch.tensor([[10.0, 20.0, 30.0]]), torch.tensor([[-10.0, 0.0, 10.0]])
    assert soft_loss(s, t, 1.0).item() == 0 and logit_loss(s, t).item() == 600


def test_a_bottleneck_has_fewer_weights_and_multiplies_out():
    layer = bottleneck_linear(30, 50, 4)
    assert layer[0].weight.numel() + layer[1].weight.numel() == 4 * (30 + 50)
    one, x = merged(layer), torch.randn(7, 30)
    torch.testing.assert_close(one(x), layer(x))
    assert torch.linalg.matrix_rank(one.weight) == 4
    plain = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 5, bias=False))
    assert merged(plain).bias is None
    assert merged(layer.double()).weight.dtype == torch.float64


def test_merging_leaves_the_bottleneck_as_it_is():
    layer = bottleneck_linear(3, 5, 2)
    before = [w.clone() for w in layer.parameters()]
    one = merged(layer)
    with torch.no_grad():
        one.weight.zero_()
        one.bias.add_(1)
    assert all(map(torch.equal, before, layer.parameters()))
    assert all(w.grad is None for w in layer.parameters())


def test_the_student_learns_logits_without_labels():
    teacher, split = teacher_and_split()
    with seeded(0):
        student = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    recipe = Recipe(40, 0.1, weight_decay=0.0)
    losses = match_logits(student, teacher, split, recipe)
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        same = student(split.inputs).argmax(1) == teacher(split.inputs).argmax(1)
    assert same.float().mean() > 0.85


def test_the_teacher_stays_as_it_is_and_takes_no_gradient():
    teacher, split = teacher_and_split()
    before = {name: w.clone() for name, w in teacher.state_dict().items()}
    match_logits(nn.Linear(6, 4), teacher, split, Recipe(1, 0.01))
    for name, w in teacher.state_dict().items():
        assert torch.equal(w, before[name])
    assert not teacher.training
    assert all(w.grad is None for w in teacher.parameters())
    t = torch.zeros(1, 2, requires_grad=True)
    assert not logit_loss(torch.zeros(1, 2), t).requires_grad


def test_the_default_rate_is_that_of_an_infinite_temperature():
    assert Recipe(learning_rate=0.1 / 10) == MATCHING


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: logit_loss(torch.zeros(2, 3), torch.zeros(2, 4)), "3 classes and"),
        (lambda: bottleneck_linear(3, 0, 2), "outputs must be"),
        (lambda: merged(nn.Sequential(nn.Linear(2, 2))), "use bottleneck_linear"),
        (
            lambda: merged(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))),
            "the first without bias",
        ),
        (
            lambda: merged(nn.Sequential(*bottleneck_linear(2, 2, 1), nn.ReLU())),
            "got .*'ReLU'",
        ),
        (
            lambda: match_logits(
                nn.Linear(2, 2),
                nn.Linear(2, 2),
                Split(torch.zeros(1, 2), torch.zeros(1)),
            ),
            "teacher is in training mode",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
