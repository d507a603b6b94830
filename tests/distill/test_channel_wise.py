"""Channel-wise distillation: a distribution over the pixels for each channel."""

import numpy as np
import pytest
import torch

from effdl.distill.channel_wise import channel_wise_loss


def literal_loss(student, teacher, temperature):
    """Return T^2 / C sum_c KL, averaged over inputs, by loops."""
    inputs, channels = student.shape[:2]
    total = 0.0
    for n in range(inputs):
        for c in range(channels):
            q, p = (
                np.exp(x[n, c].ravel() / temperature)
                / np.exp(x[n, c].ravel() / temperature).sum()
                for x in (student, teacher)
            )
            for p_i, q_i in zip(p, q, strict=True):
                total += p_i * np.log(p_i / q_i)
    return temperature**2 * total / (inputs * channels)


def maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.7, 4.0])
def test_the_loss_is_that_of_the_equation(temperature):
    s, t = maps(3, 5, 4, 2), maps(3, 5, 4, 2)
    found = channel_wise_loss(s, t, temperature=temperature)
    expected = literal_loss(s.numpy(), t.numpy(), temperature)
    np.testing.assert_allclose(float(found), expected)


def test_by_hand():
    """Two pixels, T = 2: the teacher's shares 3/4 and 1/4, the student's 1/2 each.

    KL = 3/4 log(3/2) + 1/4 log(1/2), times T^2 = 4. A second channel agrees: half.
    """
    teacher = torch.tensor([[[[np.log(9.0), 0.0]], [[1.0, 2.0]]]])
    student = torch.tensor([[[[5.0, 5.0]], [[3.0, 4.0]]]], dtype=torch.float64)
    expected = 4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5)) / 2
    found = channel_wise_loss(student, teacher, temperature=2.0)
    np.testing.assert_allclose(float(found), expected, rtol=1e-6)


def test_a_number_added_to_a_channel_changes_nothing():
    s, t = maps(2, 3, 4, 4), maps(2, 3, 4, 4)
    moved = s + maps(2, 3, 1, 1), t + maps(2, 3, 1, 1)
    torch.testing.assert_close(channel_wise_loss(*moved), channel_wise_loss(s, t))


def test_the_order_of_channels_and_the_scale_matter():
    s = maps(2, 3, 4, 4)
    assert channel_wise_loss(s[:, [1, 0, 2]], s) > 0.01
    assert channel_wise_loss(2 * s, s) > 0.01


def test_for_a_large_temperature_it_is_half_the_square_of_centred_maps():
    s, t = maps(2, 3, 4, 4), maps(2, 3, 4, 4)
    centred = [x - x.mean((2, 3), keepdim=True) for x in (s, t)]
    limit = (centred[0] - centred[1]).square().mean() / 2
    errors = [
        abs(channel_wise_loss(s, t, temperature=T) / limit - 1).item()
        for T in (10.0, 100.0, 1000.0)
    ]
    assert errors[2] < 0.01
    assert errors[0] > errors[1] > errors[2]


def test_the_larger_map_is_averaged():
    s, t = maps(2, 3, 4, 4), maps(2, 3, 2, 2)
    pooled = s.view(2, 3, 2, 2, 2, 2).mean((3, 5))
    torch.testing.assert_close(channel_wise_loss(s, t), channel_wise_loss(pooled, t))


def test_only_the_student_gets_a_gradient():
    s, t = (maps(2, 3, 2, 2).requires_grad_() for _ in range(2))
    channel_wise_loss(s, t).backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None


def test_bad_input_is_refused():
    s = torch.ones(2, 3, 4, 4)
    with pytest.raises(ValueError, match="temperature must be finite and above 0"):
        channel_wise_loss(s, s, temperature=0.0)
    with pytest.raises(ValueError, match="student has 3 channels and teacher 6"):
        channel_wise_loss(s, torch.ones(2, 6, 4, 4))
