"""Relational distillation: distances and angles between the inputs of a batch."""

from itertools import permutations

import numpy as np
import pytest
import torch

from effdl.distill.relational import angle_loss, distance_loss, relational_loss


def huber(error):
    return error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5


def literal_distance_loss(student, teacher):
    """Return the loss over ordered pairs of different inputs, by loops."""
    pairs = list(permutations(range(len(student)), 2))
    relative = []
    for points in (student, teacher):
        lengths = [np.sqrt(((points[i] - points[j]) ** 2).sum()) for i, j in pairs]
        relative.append(np.array(lengths) / np.mean(lengths))
    return np.mean([huber(s - t) for s, t in zip(*relative, strict=True)])


def cosine(points, i, j, k):
    a, b = points[i] - points[j], points[k] - points[j]
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def literal_angle_loss(student, teacher):
    """Return the loss over ordered triples of different inputs, by loops."""
    triples = permutations(range(len(student)), 3)
    return np.mean([huber(cosine(student, *t) - cosine(teacher, *t)) for t in triples])


def features(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_distances_and_angles_are_those_of_the_equations():
    s, t = features(6, 3), features(6, 8)
    t[0] *= 30  # so that some error exceeds 1
    arrays = s.numpy(), t.numpy()
    np.testing.assert_allclose(
        float(distance_loss(s, t)), literal_distance_loss(*arrays)
    )
    np.testing.assert_allclose(float(angle_loss(s, t)), literal_angle_loss(*arrays))


def test_averages_over_all_indices_as_in_the_public_program_are_a_factor_smaller():
    """With b inputs: (b - 1) / b for pairs, (b - 1)(b - 2) / b^2 for triples."""
    s, t, b = features(5, 3), features(5, 4), 5
    lengths = []
    for x in (s, t):
        d = torch.cdist(x, x)
        lengths.append(d / d[d > 0].mean())
    error = (lengths[0] - lengths[1]).abs()
    whole = torch.where(error <= 1, error**2 / 2, error - 0.5).mean()
    torch.testing.assert_close(distance_loss(s, t) * (b - 1) / b, whole)
    cosines = []
    for x in (s, t):
        arms = x[None] - x[:, None]
        arms = arms / arms.norm(dim=2, keepdim=True).clamp_min(1e-12)
        cosines.append(torch.einsum("jid,jkd->jik", arms, arms))
    error = (cosines[0] - cosines[1]).abs()
    whole = torch.where(error <= 1, error**2 / 2, error - 0.5).mean()
    torch.testing.assert_close(angle_loss(s, t) * (b - 1) * (b - 2) / b**2, whole)


def test_by_hand():
    """Points 0, 1, 3 and 0, 1, 2 on a line.

    Distances over their mean: (1, 3, 2) / 2 and (1, 2, 1) / (4 / 3), so the errors are
    1/4, 0, 1/4, and the loss (2 / 32) / 3. All angles on a line agree.
    """
    s, t = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    torch.testing.assert_close(distance_loss(s, t).item(), 1 / 48)
    assert angle_loss(s, t).item() == 0
    torch.testing.assert_close(relational_loss(s, t).item(), 1 / 48)


def test_the_whole_is_distances_plus_twice_the_angles():
    s, t = features(6, 3), features(6, 8)
    expected = distance_loss(s, t) + 2 * angle_loss(s, t)
    torch.testing.assert_close(relational_loss(s, t), expected)


@pytest.mark.parametrize("loss", [distance_loss, angle_loss, relational_loss])
def test_turning_moving_and_scaling_change_nothing(loss):
    s, t = features(6, 4), features(6, 5)
    q = torch.linalg.qr(features(4, 4)).Q
    torch.testing.assert_close(loss(3 * s @ q + features(4), 0.1 * t - 2), loss(s, t))
    assert loss(3 * s @ q + 1, s) < 1e-20
    assert loss(s, t) > 0.001


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
def test_maps_count_as_the_vectors_of_all_their_numbers(loss):
    s, t = features(4, 2, 3, 3), features(4, 5)
    assert torch.equal(loss(s, t), loss(s.flatten(1), t))


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
def test_only_the_student_gets_a_gradient_finite_where_inputs_coincide(loss):
    s = torch.tensor([[1.0], [1.0], [2.0], [4.0]], requires_grad=True)
    t = torch.rand(4, 2, requires_grad=True)
    loss(s, t).backward()
    assert s.grad.isfinite().all()
    assert t.grad is None
    everywhere = torch.rand(4, 2, requires_grad=True)
    loss(everywhere, t).backward()
    assert everywhere.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
def test_a_student_that_says_the_same_of_all_inputs_has_a_finite_loss(loss):
    s = torch.zeros(4, 3, requires_grad=True)
    value = loss(s, torch.rand(4, 2))
    value.backward()
    assert value.isfinite()
    assert s.grad.isfinite().all()


def test_too_few_inputs_are_refused():
    with pytest.raises(ValueError, match="distances need at least 2 inputs, got 1"):
        distance_loss(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match="angles need at least 3 inputs, got 2"):
        angle_loss(torch.ones(2, 3), torch.ones(2, 3))
    for loss in (distance_loss, angle_loss):
        with pytest.raises(ValueError, match="student has 4 inputs and teacher 5"):
            loss(torch.ones(4, 3), torch.ones(5, 3))
