"""Knowledge distillation: Eq. (19) and (20), against autograd, scipy and by hand."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import rel_entr
from torch import nn

from effdl.blocks import plain_net
from effdl.data.digits import Split
from effdl.distill.kd import distil, kd_loss, learn_answers, soft_loss, softened
from effdl.distill.recipe import Recipe
from effdl.quant.react_net import distribution_loss
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

STUDENT = torch.tensor([[1.0, 0.5, -2.0], [0.0, 3.0, 1.0]])
TEACHER = torch.tensor([[2.0, 1.0, -1.0], [-1.0, 4.0, 2.0]])
TARGETS = torch.tensor([0, 1])


def test_softened_is_the_softmax_of_a_fraction_of_the_logits() -> None:
    by_hand = np.exp(TEACHER.numpy() / 3)
    by_hand /= by_hand.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softened(TEACHER, 3.0), by_hand, rtol=1e-5)
    torch.testing.assert_close(softened(TEACHER, 1.0), TEACHER.softmax(1))


def test_a_hot_softmax_is_uniform_and_a_cold_one_names_the_largest() -> None:
    torch.testing.assert_close(softened(TEACHER, 1e6), torch.full((2, 3), 1 / 3))
    cold = F.one_hot(TEACHER.argmax(1), 3).float()
    torch.testing.assert_close(softened(TEACHER, 1e-3), cold)
    assert softened(1000 * TEACHER, 1e-3).isfinite().all()


def test_large_logits_do_not_overflow() -> None:
    assert soft_loss(1e4 * STUDENT, 1e4 * TEACHER, 1.0).isfinite()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_soft_loss_is_scipys_relative_entropy(temperature: float) -> None:
    p, q = (softened(x.double(), temperature).numpy() for x in (TEACHER, STUDENT))
    want = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
    got = soft_loss(STUDENT.double(), TEACHER.double(), temperature)
    assert float(got) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_its_slope_is_the_difference_of_the_distributions(temperature: float) -> None:
    s = STUDENT.double().requires_grad_()
    soft_loss(s, TEACHER.double(), temperature).backward()
    q, p = (softened(x.detach().double(), temperature) for x in (s, TEACHER))
    torch.testing.assert_close(s.grad, temperature * (q - p) / len(s))


def test_a_hot_student_matches_centred_logits() -> None:
    s, t = (x.double() - x.double().mean(1, keepdim=True) for x in (STUDENT, TEACHER))
    s.requires_grad_()
    soft_loss(s, t, 1e4).backward()
    limit = (s - t).detach() / (3 * len(s))
    torch.testing.assert_close(s.grad, limit, rtol=1e-3, atol=1e-6)


def test_cross_entropy_and_divergence_have_the_same_slope() -> None:
    s = STUDENT.clone().requires_grad_()
    (ours,) = torch.autograd.grad(soft_loss(s, TEACHER, 4.0), s)
    entropy = -(softened(TEACHER, 4.0) * (s / 4).log_softmax(1)).sum(1).mean()
    (theirs,) = torch.autograd.grad(16 * entropy, s)
    torch.testing.assert_close(ours, theirs)


def test_at_temperature_1_it_is_the_loss_of_reactnet() -> None:
    ours, theirs = soft_loss(STUDENT, TEACHER, 1.0), distribution_loss(STUDENT, TEACHER)
    torch.testing.assert_close(ours, theirs)


def test_the_ends_of_alpha_are_the_two_losses() -> None:
    hard = F.cross_entropy(STUDENT, TARGETS)
    soft = soft_loss(STUDENT, TEACHER, 3.0)
    for alpha in (0.0, 0.25, 1.0):
        got = kd_loss(STUDENT, TEACHER, TARGETS, temperature=3.0, alpha=alpha)
        torch.testing.assert_close(got, (1 - alpha) * hard + alpha * soft)


def test_a_student_that_agrees_has_no_slope_from_the_teacher() -> None:
    s = TEACHER.clone().requires_grad_()
    soft_loss(s, TEACHER, 2.0).backward()
    torch.testing.assert_close(s.grad, torch.zeros(2, 3))


def test_no_gradient_reaches_the_teacher() -> None:
    s, t = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    kd_loss(s, t, TARGETS).backward()
    assert t.grad is None and s.grad is not None


def data() -> Split:
    return Split(torch.randn(40, 1, 16, 16), torch.arange(40) % 10)


def net(seed: int, width: int = 2) -> nn.Module:
    with seeded(seed):
        return plain_net(width)


def test_alpha_0_is_plain_training_bit_for_bit() -> None:
    split, ours, theirs, teacher = data(), net(1), net(1), net(2).eval()
    recipe = Recipe(epochs=2, batch_size=8, seed=5)
    got = distil(ours, teacher, split, recipe, alpha=0.0)
    want = train_classifier(theirs, split, epochs=2, batch_size=8, seed=5)
    assert got == want
    state, other = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_the_teacher_is_untouched() -> None:
    teacher = net(2).eval()
    before = copy.deepcopy(teacher.state_dict())
    distil(net(1), teacher, data(), Recipe(epochs=2))
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert not any(layer.training for layer in teacher.modules())


def test_alpha_and_temperature_change_what_is_learned() -> None:
    split, teacher, recipe = data(), net(2).eval(), Recipe(epochs=1)
    cases = [(4.0, 0.9), (4.0, 0.5), (1.0, 0.9)]
    losses = {
        distil(net(1), teacher, split, recipe, temperature=t, alpha=a)[0]
        for t, a in cases
    }
    assert len(losses) == 3


def test_without_labels_a_student_learns_what_the_teacher_says() -> None:
    teacher, student = nn.Linear(2, 3).eval(), nn.Linear(2, 3)
    inputs = torch.randn(200, 2)
    said = teacher(inputs).argmax(1)
    wrong = Split(inputs, (said + 1) % 3)
    distil(student, teacher, wrong, Recipe(epochs=20, weight_decay=0.0), alpha=1.0)
    assert accuracy(student, [(inputs, said)]) > 0.97


def test_bad_input_is_named() -> None:
    student, split = nn.Linear(2, 3), Split(torch.zeros(4, 2), torch.zeros(4).long())
    with pytest.raises(ValueError, match="student has 3 classes and teacher 5"):
        distil(student, nn.Linear(2, 5).eval(), split)
    with pytest.raises(ValueError, match="training mode"):
        distil(student, nn.Linear(2, 3), split)
    with pytest.raises(ValueError, match="temperature must be finite and above 0"):
        distil(student, nn.Linear(2, 3).eval(), split, temperature=0.0)
    with pytest.raises(ValueError, match="alpha must be from 0 to 1, got 2"):
        distil(student, nn.Linear(2, 3).eval(), split, alpha=2.0)
    with pytest.raises(ValueError, match="temperature"):
        softened(STUDENT, -1.0)
    with pytest.raises(ValueError, match="alpha"):
        kd_loss(STUDENT, TEACHER, TARGETS, alpha=-1.0)


def test_logits_without_a_teacher_are_learned_the_same_way() -> None:
    split, teacher, recipe = data(), net(2).eval(), Recipe(epochs=1, batch_size=8)
    by_teacher = distil(net(1), teacher, split, recipe)
    taught = teacher(split.inputs).detach()
    assert learn_answers(net(1), taught, split, recipe) == pytest.approx(by_teacher)
    with pytest.raises(ValueError, match="taught must have 40 rows"):
        learn_answers(net(1), taught[1:], split, recipe)
