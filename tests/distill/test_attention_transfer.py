"""Attention transfer: one map without channels, of length 1."""

import numpy as np
import pytest
import torch

from effdl.distill.attention_transfer import attention_loss, attention_map


def literal_map(features):
    """Return Q / ||Q|| of one input (C, H, W), by loops."""
    channels, height, width = features.shape
    q = np.zeros(height * width)
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                q[h * width + w] += abs(features[c, h, w]) ** 2
    return q / np.sqrt((q**2).sum())


def literal_lengths(student, teacher):
    """Return the length of the difference, as in the paper, for every input."""
    pairs = zip(student.numpy(), teacher.numpy(), strict=True)
    return [np.linalg.norm(literal_map(s) - literal_map(t)) for s, t in pairs]


def test_the_map_is_the_normalised_sum_of_squares():
    x = torch.randn(3, 5, 4, 2, dtype=torch.float64)
    expected = np.stack([literal_map(one) for one in x.numpy()])
    np.testing.assert_allclose(attention_map(x), expected)


def test_the_loss_is_the_square_of_the_papers_length_over_the_pixels():
    s = torch.randn(3, 5, 4, 2, dtype=torch.float64)
    t = torch.randn(3, 7, 4, 2, dtype=torch.float64)
    expected = np.mean(np.square(literal_lengths(s, t))) / 8
    np.testing.assert_allclose(float(attention_loss(s, t)), expected)


def test_by_hand():
    """Q of (1, 0) and of (1, 1): lengths 1, sqrt 2; differences 1 - r and r, r^2 = .5.

    The mean of both squares is (1 - 2 r + 2 r^2) / 2 = 1 - r.
    """
    s = torch.tensor([[[[1.0, 0.0]]]])
    t = torch.tensor([[[[1.0, -1.0]]]])
    torch.testing.assert_close(attention_loss(s, t), 1 - torch.tensor(0.5).sqrt())


def test_scale_order_sign_and_number_of_channels_do_not_matter():
    s, t = torch.randn(2, 4, 3, 3), torch.randn(2, 6, 3, 3)
    loss = attention_loss(s, t)
    torch.testing.assert_close(attention_loss(7 * s, 0.1 * t), loss)
    torch.testing.assert_close(attention_loss(-s, t[:, torch.randperm(6)]), loss)
    torch.testing.assert_close(attention_loss(torch.cat([s, s], 1), t), loss)
    torch.testing.assert_close(attention_loss(s, 2 * s.repeat(1, 3, 1, 1)).item(), 0.0)


def test_where_the_activity_is_does_matter():
    s = torch.rand(2, 4, 3, 3)
    assert attention_loss(s, s.flip(2)) > 0.001


def test_the_larger_map_is_averaged():
    s, t = torch.randn(2, 4, 6, 6), torch.randn(2, 5, 3, 3)
    pooled = s.view(2, 4, 3, 2, 3, 2).mean((3, 5))
    torch.testing.assert_close(attention_loss(s, t), attention_loss(pooled, t))
    torch.testing.assert_close(attention_loss(t, s), attention_loss(t, pooled))


def test_features_that_are_all_zero_give_a_finite_slope():
    s = torch.zeros(1, 2, 2, 2, requires_grad=True)
    attention_loss(s, torch.rand(1, 2, 2, 2)).backward()
    assert s.grad.isfinite().all()


def test_only_the_student_gets_a_gradient():
    s, t = (torch.rand(2, 3, 2, 2, requires_grad=True) for _ in range(2))
    attention_loss(s, t).backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"must be maps \(N, C, H, W\)"):
        attention_loss(torch.ones(2, 3), torch.ones(2, 3))
