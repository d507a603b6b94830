"""Similarity-preserving distillation: who is like whom in a batch."""

import numpy as np
import pytest
import torch

from effdl.distill.similarity import similarity_loss, similarity_matrix


def literal_matrix(features):
    """Return G by loops, rows of length 1."""
    rows = features.reshape(len(features), -1)
    g = np.array([[sum(a * b) for b in rows] for a in rows])
    return np.array([row / np.sqrt(sum(row**2)) for row in g])


def features(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def rotation(n):
    return torch.linalg.qr(features(n, n)).Q


def test_the_matrix_is_that_of_all_products_with_rows_of_length_1():
    x = features(5, 3, 2, 2)
    np.testing.assert_allclose(similarity_matrix(x), literal_matrix(x.numpy()))


def test_the_loss_is_the_squared_norm_over_b_squared():
    s, t = features(5, 3, 2, 2), features(5, 7)
    difference = literal_matrix(t.numpy()) - literal_matrix(s.numpy())
    expected = np.linalg.norm(difference, "fro") ** 2 / 25
    np.testing.assert_allclose(float(similarity_loss(s, t)), expected)


def test_by_hand():
    """Teacher: two inputs at a right angle, G = 1. Student: both alike, all r = .7071.

    The mean of (1 - r)^2, r^2, r^2, (1 - r)^2 is 1 - r.
    """
    loss = similarity_loss(torch.ones(2, 1), torch.eye(2))
    torch.testing.assert_close(loss, 1 - torch.tensor(0.5).sqrt())


def test_turning_and_scaling_all_features_changes_nothing():
    s, t = features(6, 4), features(6, 5)
    loss = similarity_loss(s, t)
    torch.testing.assert_close(similarity_loss(s @ rotation(4), 3 * t), loss)
    torch.testing.assert_close(similarity_loss(9 * s, t @ rotation(5)), loss)
    assert similarity_loss(s, s @ rotation(4)) < 1e-20


def test_turning_each_input_its_own_way_does_change_it():
    s = features(6, 4)
    turned = torch.stack([row @ rotation(4) for row in s])
    assert similarity_loss(turned, s) > 0.001


def test_moving_all_features_changes_it():
    s = features(6, 4)
    assert similarity_loss(s + 1, s) > 0.001


def test_only_the_student_gets_a_gradient():
    s, t = (torch.rand(4, 3, requires_grad=True) for _ in range(2))
    similarity_loss(s, t).backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match="student has 4 inputs and teacher 5"):
        similarity_loss(torch.ones(4, 3), torch.ones(5, 3))
