"""ReActNet: learned thresholds, moved PReLUs, and the teacher's distribution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.bireal import polynomial_sign
from effdl.quant.react_net import RPReLU, RSign, distribution_loss


def test_with_threshold_0_it_is_the_sign():
    x = torch.randn(2, 3, 4, 4)
    x[0, 0, 0, 0] = 0
    assert torch.equal(RSign(3)(x), torch.where(x >= 0, 1.0, -1.0))


def test_each_channel_has_its_threshold():
    layer = RSign(2)
    layer.threshold.data.copy_(torch.tensor([0.5, -2.0]).view(2, 1, 1))
    x = torch.tensor([0.0, 0.5, -3.0, -1.0]).reshape(1, 2, 1, 2)
    assert layer(x).flatten().tolist() == [-1, 1, -1, 1]


def test_the_threshold_learns_against_the_slope_of_the_sign():
    layer, x = RSign(2), torch.randn(3, 2, 4, 4, requires_grad=True)
    g = torch.randn(3, 2, 4, 4)
    (layer(x) * g).sum().backward()
    torch.testing.assert_close(layer.threshold.grad.flatten(), -x.grad.sum((0, 2, 3)))
    (expected,) = torch.autograd.grad((polynomial_sign(x) * g).sum(), x)
    torch.testing.assert_close(x.grad, expected)


def test_moved_relu_by_hand():
    """With g = 1, z = 10, b = 0.5: 3 -> 2 + 10, 0.5 -> 0.5 * (-0.5) + 10."""
    layer = RPReLU(1, slope=0.5)
    layer.before.data.fill_(1.0)
    layer.after.data.fill_(10.0)
    x = torch.tensor([3.0, 0.5, -1.0, 1.0]).reshape(1, 1, 1, 4)
    assert layer(x).flatten().tolist() == [12, 9.75, 9, 10]


def test_without_moves_it_is_prelu():
    x, prelu = torch.randn(2, 3, 4, 4), nn.PReLU(3)
    torch.testing.assert_close(RPReLU(3)(x), prelu(x))


def test_every_parameter_learns_for_each_channel():
    layer = RPReLU(3)
    layer(torch.randn(2, 3, 4, 4)).square().sum().backward()
    for parameter in (layer.before, layer.after, layer.slope):
        assert parameter.grad.shape == (3, 1, 1)
        assert parameter.grad.count_nonzero() == 3


def test_the_loss_is_the_divergence_from_the_teacher():
    logits, teacher = torch.randn(5, 4), torch.randn(5, 4)
    p, q = teacher.softmax(1), logits.softmax(1)
    expected = sum(
        p[i, c] * torch.log(p[i, c] / q[i, c]) for i in range(5) for c in range(4)
    )
    torch.testing.assert_close(distribution_loss(logits, teacher), expected / 5)


def test_the_loss_is_0_only_for_equal_distributions():
    logits = torch.randn(6, 3)
    assert distribution_loss(logits, logits).item() == pytest.approx(0, abs=1e-6)
    assert distribution_loss(logits, 2 * logits) > 0
    assert distribution_loss(logits, 2 * logits) != distribution_loss(
        2 * logits, logits
    )


def test_its_gradient_is_that_of_cross_entropy_with_soft_labels():
    """The two differ by the teacher's entropy, a constant."""
    logits, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    losses = (
        distribution_loss(logits, teacher),
        F.cross_entropy(logits, teacher.softmax(1)),
    )
    found = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    torch.testing.assert_close(*found)


def test_the_teacher_takes_no_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    teacher = torch.randn(2, 3, requires_grad=True)
    distribution_loss(logits, teacher).backward()
    assert teacher.grad is None
    assert logits.grad.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RSign(0), "channels"),
        (lambda: RPReLU(0), "channels"),
        (lambda: RSign(2)(torch.zeros(1, 3, 2, 2)), "must have 2 channels"),
        (lambda: RPReLU(2)(torch.zeros(1, 3, 2, 2)), "must have 2 channels"),
        (lambda: distribution_loss(torch.ones(2, 3), torch.ones(3, 3)), "same batch"),
        (lambda: distribution_loss(torch.ones(3), torch.ones(3)), "classes"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
