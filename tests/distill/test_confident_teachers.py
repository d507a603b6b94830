"""CA-MKD: weights that sum to 1, and teachers that are wrong and lose theirs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.averaged_teachers import mean_probabilities
from effdl.distill.confident_teachers import (
    confidence_weights,
    confident_answers,
    distil_confident,
)
from effdl.distill.kd import learn_answers, soft_loss, softened
from effdl.distill.recipe import Recipe

K, N, C = 3, 6, 4


def test_weights_by_the_definition_one_at_a_time():
    z, y = 3 * torch.randn(K, N, C), torch.randint(0, C, (N,))
    found = confidence_weights(z, y)
    for n in range(N):
        losses = [F.cross_entropy(z[k, n], y[n]) for k in range(K)]
        total = sum(loss.exp() for loss in losses)
        expected = [(1 - loss.exp() / total) / (K - 1) for loss in losses]
        torch.testing.assert_close(found[:, n], torch.stack(expected))


def test_two_teachers_are_weighed_by_the_probability_of_the_label():
    """Probabilities 0.9 and 0.3: 0.75 and 0.25."""
    p = torch.tensor([[[0.9, 0.1]], [[0.3, 0.7]]])
    found = confidence_weights(p.log(), torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[0.75], [0.25]]))


def test_weights_sum_to_one_and_the_worst_has_the_smallest():
    z, y = 3 * torch.randn(5, 50, C), torch.randint(0, C, (50,))
    found = confidence_weights(z, y)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(50))
    assert (found >= 0).all()
    assert (found <= 1 / 4 + 1e-6).all()
    losses = torch.stack([F.cross_entropy(t, y, reduction="none") for t in z])
    assert torch.equal(found.argmin(dim=0), losses.argmax(dim=0))
    assert torch.equal(found.argsort(dim=0), losses.argsort(dim=0, descending=True))


def test_equal_teachers_have_equal_weights():
    z, y = torch.randn(1, N, C).expand(K, N, C), torch.randint(0, C, (N,))
    torch.testing.assert_close(confidence_weights(z, y), torch.full((K, N), 1 / K))
    torch.testing.assert_close(confident_answers(z, y), mean_probabilities(z, 4.0))


def test_a_teacher_that_is_surely_wrong_is_shut_out():
    z = torch.zeros(K, 1, 2)
    z[0] = torch.tensor([[-60.0, 60.0]])
    found = confidence_weights(z, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[0.0], [0.5], [0.5]]))
    answers = confident_answers(z, torch.tensor([0]), 1.0)
    torch.testing.assert_close(softened(answers, 1.0), torch.full((1, 2), 0.5))


def test_the_slope_is_that_of_the_weighted_sum_of_losses():
    z, y = 2 * torch.randn(K, N, C), torch.randint(0, C, (N,))
    s = torch.randn(N, C, requires_grad=True)
    w, temperature = confidence_weights(z, y), 3.0
    q = (s / temperature).log_softmax(dim=1)
    p = softened(z, temperature)
    each = temperature**2 * (p * (p.log() - q)).sum(dim=2)  # (K, N)
    one = soft_loss(s, confident_answers(z, y, temperature), temperature)
    slopes = [torch.autograd.grad(x, s)[0] for x in ((w * each).sum(0).mean(), one)]
    torch.testing.assert_close(*slopes)


def networks():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return [nn.Linear(5, C).eval() for _ in range(K)], nn.Linear(5, C)


def test_training_uses_the_weighted_answers_and_leaves_the_teachers_alone():
    split = Split(torch.randn(80, 5), torch.randint(0, C, (80,)))
    recipe = Recipe(epochs=2, batch_size=20, seed=4)
    teachers, student = networks()
    losses = distil_confident(
        student, teachers, split, recipe, temperature=2.0, alpha=0.7
    )
    for net, before in zip(teachers, networks()[0], strict=True):
        assert torch.equal(net.weight, before.weight)
        assert net.weight.grad is None
    twin = networks()[1]
    z = torch.stack([net(split.inputs) for net in teachers]).detach()
    answers = confident_answers(z, split.targets, 2.0)
    expected = learn_answers(twin, answers, split, recipe, temperature=2.0, alpha=0.7)
    assert losses == expected
    assert torch.equal(student.weight, twin.weight)


def test_bad_input_is_refused():
    y = torch.tensor([0])
    with pytest.raises(ValueError, match="those of two teachers at least"):
        confidence_weights(torch.zeros(1, 1, 2), y)
    with pytest.raises(ValueError, match=r"logits must be \(K, N, C\)"):
        confidence_weights(torch.zeros(1, 2), y)
    split = Split(torch.zeros(1, 2), y)
    with pytest.raises(ValueError, match=r"call teacher\.eval"):
        distil_confident(nn.Linear(2, 2), [nn.Linear(2, 2)] * 2, split)
