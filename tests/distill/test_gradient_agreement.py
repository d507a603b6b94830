"""AEKD: the shortest mixture of slopes, its promise, its cap and its references."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.svm import OneClassSVM
from torch import nn

from effdl.data.digits import Split
from effdl.distill.averaged_teachers import mean_probabilities
from effdl.distill.gradient_agreement import (
    agreement_loss,
    distil_agreement,
    min_norm_weights,
    teacher_slopes,
)
from effdl.distill.kd import kd_loss, soft_loss
from effdl.distill.recipe import Recipe

K, N, C = 4, 6, 5


def test_slopes_are_those_of_the_soft_loss():
    s, z = torch.randn(N, C, requires_grad=True), torch.randn(K, N, C)
    found = teacher_slopes(s, z, 3.0)
    for k in range(K):
        (expected,) = torch.autograd.grad(soft_loss(s, z[k], 3.0), s)
        torch.testing.assert_close(found[k], expected)
    assert not found.requires_grad


def test_two_vectors_by_the_closed_form():
    for _ in range(20):
        a, b = torch.randn(2, 3).double()
        for cap in (1.0, 0.7, 0.5):
            w = ((b - a) @ b / (a - b).square().sum()).clamp(1 - cap, cap)
            found = min_norm_weights(torch.stack([a, b]), cap)
            torch.testing.assert_close(found, torch.stack([w, 1 - w]))


def test_by_hand():
    """(3, 0) and (0, 3) and (9, 9): the two short ones, half each, and no third."""
    slopes = torch.tensor([[3.0, 0.0], [0.0, 3.0], [9.0, 9.0]])
    torch.testing.assert_close(min_norm_weights(slopes), torch.tensor([0.5, 0.5, 0.0]))
    found = min_norm_weights(slopes, cap=0.4)
    torch.testing.assert_close(found, torch.tensor([0.4, 0.4, 0.2]))


@pytest.mark.parametrize("cap", [1.0, 0.6, 0.3])
def test_a_general_optimiser_finds_nothing_shorter(cap):
    for _ in range(5):
        slopes = torch.randn(K, 3).double()
        products = (slopes @ slopes.T).numpy()
        found = min_norm_weights(slopes, cap).numpy()
        best = minimize(
            lambda w, g=products: w @ g @ w / 2,
            np.full(K, 1 / K),
            jac=lambda w, g=products: g @ w,
            bounds=[(0, cap)] * K,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        assert found @ products @ found <= 2 * best.fun + 1e-8


def test_it_is_the_one_class_support_vector_machine_that_the_authors_call():
    for cap in (0.6, 0.35):
        slopes = torch.randn(K, 8).double()
        svm = OneClassSVM(kernel="precomputed", nu=1 / (K * cap), tol=1e-9)
        svm.fit((slopes @ slopes.T).numpy())
        expected = np.zeros(K)
        expected[svm.support_] = svm.dual_coef_[0] * cap
        expected /= expected.sum()
        found = min_norm_weights(slopes, cap)
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_weights_are_shares_below_the_cap():
    for cap in (1.0, 0.6, 1 / 3, 1 / K):
        found = min_norm_weights(torch.randn(K, 7), cap)
        torch.testing.assert_close(found.sum(), torch.tensor(1.0))
        assert (found >= 0).all()
        assert (found <= cap + 1e-6).all()
    torch.testing.assert_close(found, torch.full((K,), 1 / K))  # the cap of the mean


def test_without_a_cap_no_teacher_objects_to_the_step():
    """g_k . d >= |d|^2 for every k: all their losses go down along -d."""
    for _ in range(10):
        s, z = torch.randn(N, C), 3 * torch.randn(K, N, C)
        slopes = teacher_slopes(s, z, 1.0)
        d = torch.einsum("k,knc->nc", min_norm_weights(slopes), slopes)
        along = (slopes * d).sum(dim=(1, 2))
        assert (along >= d.square().sum() - 1e-6).all()
        after = s - 1e-2 * d
        for k in range(K):
            assert soft_loss(after, z[k], 1.0) < soft_loss(s, z[k], 1.0)


def test_with_the_cap_of_the_mean_a_teacher_may_object():
    """Slopes 1 and -3: the mean is -1, against the first."""
    slopes = torch.tensor([[1.0], [-3.0]])
    d = min_norm_weights(slopes, 0.5) @ slopes
    assert (slopes[0] * d).item() < 0
    torch.testing.assert_close(min_norm_weights(slopes) @ slopes, torch.zeros(1))


def test_identical_teachers_and_slopes_of_nothing_give_the_mean():
    same = torch.randn(1, 6).expand(K, 6)
    torch.testing.assert_close(min_norm_weights(same), torch.full((K,), 1 / K))
    none = torch.zeros(K, 6)
    torch.testing.assert_close(min_norm_weights(none), torch.full((K,), 1 / K))
    assert min_norm_weights(torch.randn(1, 3)).tolist() == [1.0]


def test_the_slope_of_the_loss_is_the_mixture_and_the_labels():
    s, z, y = torch.randn(N, C, requires_grad=True), torch.randn(K, N, C), torch.ones(N)
    y = y.long()
    slopes = teacher_slopes(s, z, 4.0)
    d = torch.einsum("k,knc->nc", min_norm_weights(slopes, 0.6), slopes)
    (hard,) = torch.autograd.grad(nn.functional.cross_entropy(s, y), s)
    (found,) = torch.autograd.grad(agreement_loss(s, z, y, alpha=0.7), s)
    torch.testing.assert_close(found, 0.3 * hard + 0.7 * d)


def test_with_the_cap_of_the_mean_it_is_the_mean_of_probabilities():
    s, z, y = torch.randn(N, C), torch.randn(K, N, C), torch.zeros(N).long()
    found = agreement_loss(s, z, y, cap=1 / K)
    torch.testing.assert_close(found, kd_loss(s, mean_probabilities(z, 4.0), y))


def test_training_uses_the_loss_and_leaves_the_teachers_alone():
    split = Split(torch.randn(60, 5), torch.randint(0, C, (60,)))
    teachers = [nn.Linear(5, C).eval() for _ in range(3)]
    before = [net.weight.clone() for net in teachers]
    student = nn.Linear(5, C)
    start = student.weight.detach().clone()
    recipe = Recipe(epochs=1, batch_size=60)
    options = {"cap": 0.5, "temperature": 2.0, "alpha": 0.8}
    z = torch.stack([net(split.inputs) for net in teachers]).detach()
    expected = agreement_loss(student(split.inputs), z, split.targets, **options)
    losses = distil_agreement(student, teachers, split, recipe, **options)
    assert losses == pytest.approx([expected.item()], rel=1e-5)
    assert not torch.equal(student.weight, start)
    for net, weight in zip(teachers, before, strict=True):
        assert torch.equal(net.weight, weight)
        assert net.weight.grad is None


def test_bad_input_is_refused():
    slopes = torch.randn(3, 2)
    for cap in (0.3, 1.1, float("nan")):
        with pytest.raises(
            ValueError, match=rf"cap must be from 1 / 3 to 1, got {cap}"
        ):
            min_norm_weights(slopes, cap)
    with pytest.raises(ValueError, match="slopes is empty"):
        min_norm_weights(torch.zeros(0, 2))
    s, z = torch.zeros(2, 3), torch.zeros(2, 2, 4)
    with pytest.raises(ValueError, match="3 classes and teacher 4"):
        teacher_slopes(s, z, 1.0)
    with pytest.raises(ValueError, match="temperature must be"):
        teacher_slopes(s, z[..., :3], -1.0)
    with pytest.raises(ValueError, match="alpha must be from 0 to 1, got 2"):
        agreement_loss(s, z, torch.zeros(2).long(), alpha=2)
