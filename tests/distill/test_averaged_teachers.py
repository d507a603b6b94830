"""Averaged teachers: two means, their identities, and what one teacher costs."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.averaged_teachers import (
    Averaged,
    answers_of_all,
    disagreement,
    mean_logits,
    mean_probabilities,
)
from effdl.distill.kd import distil, kd_loss, soft_loss, softened
from effdl.distill.recipe import Recipe

K, N, C = 3, 5, 4


def test_the_softened_result_is_the_mean_of_softened_teachers():
    z = 3 * torch.randn(K, N, C)
    for temperature in (0.5, 1.0, 4.0):
        mean = mean_probabilities(z, temperature)
        expected = sum(softened(teacher, temperature) for teacher in z) / K
        torch.testing.assert_close(softened(mean, temperature), expected)


def test_by_hand():
    """Odds 3 and 1/3 of two teachers: 1/2 either way; odds 9 and 1: 0.7 and 3."""
    z = torch.tensor([[[3.0, 1.0]], [[1.0, 3.0]]]).log()
    torch.testing.assert_close(softened(mean_logits(z), 1.0), torch.full((1, 2), 0.5))
    z = torch.tensor([[[9.0, 1.0]], [[1.0, 1.0]]]).log()
    found = softened(mean_probabilities(z), 1.0)
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3]]))
    found = softened(mean_logits(z), 1.0)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25]]))


def test_the_mean_of_logits_is_the_normalised_geometric_mean():
    z = torch.randn(K, N, C)
    product = softened(z, 2.0).prod(dim=0) ** (1 / K)
    expected = product / product.sum(dim=1, keepdim=True)
    torch.testing.assert_close(softened(mean_logits(z), 2.0), expected)


@pytest.mark.parametrize("average", [mean_logits, mean_probabilities])
def test_identical_teachers_are_one_teacher(average):
    z = torch.randn(N, C)
    mean = average(torch.stack([z] * K))
    torch.testing.assert_close(softened(mean, 1.0), softened(z, 1.0))


def slope_of(loss, student):
    return torch.autograd.grad(loss, student)[0]


def test_the_mean_divergence_is_that_to_the_mean_plus_the_disagreement():
    z, s = 2 * torch.randn(K, N, C), torch.randn(N, C, requires_grad=True)
    for temperature in (1.0, 4.0):
        each = sum(soft_loss(s, teacher, temperature) for teacher in z) / K
        one = soft_loss(s, mean_probabilities(z, temperature), temperature)
        constant = temperature**2 * disagreement(z, temperature).mean()
        torch.testing.assert_close(each, one + constant)
        torch.testing.assert_close(slope_of(each, s), slope_of(one, s))


def test_the_mean_cross_entropy_is_exactly_that_with_the_mean():
    z, s = 2 * torch.randn(K, N, C), torch.randn(N, C)
    each = [F.cross_entropy(s, softened(teacher, 1.0)) for teacher in z]
    mean = softened(mean_probabilities(z), 1.0)
    torch.testing.assert_close(torch.stack(each).mean(), F.cross_entropy(s, mean))


def test_the_mean_of_logits_is_that_of_the_divergence_the_other_way_round():
    """The mean of KL(q || p_k) - KL(q || geometric mean) is the same for every q."""
    z = torch.randn(K, N, C)
    log_p = z.log_softmax(dim=2)
    log_g = mean_logits(z).log_softmax(dim=1)
    differences = []
    for _ in range(2):
        q = torch.randn(N, C).softmax(dim=1)
        each = (q * (q.log() - log_p)).sum(dim=2).mean(dim=0)
        differences.append(each - (q * (q.log() - log_g)).sum(dim=1))
    torch.testing.assert_close(*differences)


def test_the_ensemble_is_no_more_surprised_than_its_members_on_average():
    z, y = 3 * torch.randn(K, 200, C), torch.randint(0, C, (200,))
    each = torch.stack([F.cross_entropy(teacher, y, reduction="none") for teacher in z])
    for average in (mean_probabilities, mean_logits):
        together = F.cross_entropy(average(z), y, reduction="none")
        assert (together <= each.mean(dim=0) + 1e-6).all()


def test_weights_may_be_one_a_teacher_or_one_an_input():
    z = torch.randn(K, N, C)
    w = torch.tensor([0.5, 0.5, 0.0])
    found = softened(mean_probabilities(z, 4.0, w), 4.0)
    expected = (softened(z[0], 4.0) + softened(z[1], 4.0)) / 2
    torch.testing.assert_close(found, expected)
    by_input = torch.rand(K, N)
    by_input = by_input / by_input.sum(dim=0)
    found = softened(mean_probabilities(z, 4.0, by_input), 4.0)
    torch.testing.assert_close(found, (by_input[:, :, None] * softened(z, 4.0)).sum(0))
    same = mean_probabilities(z, 2.0, torch.full((K,), 1 / K))
    torch.testing.assert_close(same, mean_probabilities(z, 2.0))


def test_disagreement_is_nothing_to_all():
    z = torch.randn(1, N, C).expand(K, N, C)
    torch.testing.assert_close(disagreement(z, 2.0), torch.zeros(N))
    apart = 1000 * torch.eye(3)[:, None]  # three teachers, each sure of its own class
    torch.testing.assert_close(disagreement(apart), torch.tensor([math.log(3)]))
    several = disagreement(torch.randn(K, N, C))
    assert several.shape == (N,)
    assert (several > 0).all()


def test_several_networks_answer_as_one():
    nets = [nn.Linear(6, C).eval() for _ in range(K)]
    x = torch.randn(N, 6)
    each = answers_of_all(nets, x)
    assert torch.equal(each, torch.stack([net(x) for net in nets]))
    assert not each.requires_grad
    assert torch.equal(Averaged(nets).eval()(x), mean_logits(each))
    assert torch.equal(Averaged(nets, mean_probabilities)(x), mean_probabilities(each))
    assert sum(p.numel() for p in Averaged(nets).parameters()) == K * (6 * C + C)


def test_a_student_learns_from_all_of_them_as_from_their_losses_averaged():
    x, y = torch.randn(60, 6), torch.randint(0, C, (60,))
    nets = [nn.Linear(6, C).eval() for _ in range(2)]
    student = nn.Linear(6, C)
    twin = nn.Linear(6, C)
    twin.load_state_dict(student.state_dict())
    both = Averaged(nets, lambda z: mean_probabilities(z, 4.0)).eval()
    distil(student, both, Split(x, y), Recipe(epochs=1, batch_size=60))
    taught = answers_of_all(nets, x)
    loss = sum(kd_loss(twin(x), t, y) for t in taught) / 2
    slope = slope_of(loss, twin.weight)
    step = twin.weight - student.weight  # one step, Nesterov, decay
    torch.testing.assert_close(
        step, 0.1 * 1.9 * (slope + 5e-4 * twin.weight), rtol=1e-3, atol=1e-6
    )


def test_bad_input_is_refused():
    z = torch.randn(K, N, C)
    with pytest.raises(ValueError, match="members is empty; give one"):
        Averaged([])
    with pytest.raises(ValueError, match="teachers is empty; give one"):
        answers_of_all([], torch.zeros(1, 2))
    with pytest.raises(ValueError, match="teacher is in training mode"):
        answers_of_all([nn.Linear(2, 2)], torch.zeros(1, 2))
    for average in (mean_logits, mean_probabilities, disagreement):
        with pytest.raises(ValueError, match=r"logits must be \(K, N, C\).*\(5, 4\)"):
            average(z[0])
    with pytest.raises(ValueError, match=r"weights must be \(3,\) or \(3, 5\), got"):
        mean_probabilities(z, 1.0, torch.ones(N))
    with pytest.raises(ValueError, match="temperature must be finite and above 0"):
        mean_probabilities(z, 0.0)
