"""Channel distillation: one number a channel."""

import numpy as np
import pytest
import torch

from effdl.distill.channel_weights import channel_weight_loss, channel_weights


def literal_weights(features):
    """Return the mean of every channel of every input, by loops."""
    return np.array([
        [sum(channel.ravel()) / channel.size for channel in one] for one in features
    ])


def maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_the_loss_is_the_mean_square_of_differences_of_means():
    s, t = maps(3, 5, 4, 2), maps(3, 5, 4, 2)
    w_s, w_t = literal_weights(s.numpy()), literal_weights(t.numpy())
    np.testing.assert_allclose(channel_weights(s), w_s)
    expected = np.mean((w_s - w_t) ** 2)
    np.testing.assert_allclose(float(channel_weight_loss(s, t)), expected)


def test_by_hand():
    """Means 2 and 5 against 1 and 1: (1 + 16) / 2."""
    s = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]])
    assert channel_weight_loss(s, torch.ones(1, 2, 3, 3)).item() == 8.5


def test_moving_pixels_about_changes_nothing():
    s, t = maps(2, 3, 4, 4), maps(2, 3, 4, 4)
    moved = s.flatten(2)[:, :, torch.randperm(16)].view_as(s)
    torch.testing.assert_close(channel_weight_loss(moved, t), channel_weight_loss(s, t))


def test_other_sizes_compare_but_their_scale_counts():
    s = maps(2, 3, 4, 4)
    larger = s.repeat_interleave(2, dim=2)
    assert channel_weight_loss(s, larger) < 1e-20
    assert channel_weight_loss(s, 2 * s) > 0.001


def test_the_order_of_channels_matters():
    s = maps(2, 3, 4, 4)
    assert channel_weight_loss(s[:, [1, 0, 2]], s) > 0.001


def test_all_pixels_of_a_channel_get_the_same_gradient_and_the_teacher_none():
    s, t = (maps(2, 3, 2, 2).requires_grad_() for _ in range(2))
    channel_weight_loss(s, t).backward()
    expected = 2 * (channel_weights(s) - channel_weights(t)) / 6 / 4
    torch.testing.assert_close(s.grad, expected[:, :, None, None].expand_as(s).detach())
    assert t.grad is None


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="student has 3 channels and teacher 6"):
        channel_weight_loss(torch.ones(2, 3, 4, 4), torch.ones(2, 6, 4, 4))
    with pytest.raises(ValueError, match=r"must be maps \(N, C, H, W\)"):
        channel_weight_loss(torch.ones(2, 3), torch.ones(2, 3))
