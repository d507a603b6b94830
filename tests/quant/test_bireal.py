"""Bi-Real: the slope in place of the sign's, and real numbers past the convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.bireal import (
    BinaryBlock,
    MagnitudeSign,
    PolynomialSign,
    polynomial,
    polynomial_sign,
    small_binary_net,
)


def test_the_slope_is_the_piecewise_line_of_the_paper():
    x = torch.tensor([-2.0, -1.0, -0.75, -0.25, 0.0, 0.25, 0.75, 1.5])
    x.requires_grad_()
    polynomial_sign(x).sum().backward()
    expected = [0, 0, 2 + 2 * -0.75, 2 + 2 * -0.25, 2, 2 - 2 * 0.25, 0.5, 0]
    assert x.grad.tolist() == expected


def test_the_value_is_the_sign_with_plus_one_at_0():
    x = torch.tensor([-0.1, 0.0, -0.0, 3.0])
    assert polynomial_sign(x).tolist() == [-1, 1, 1, 1]
    assert torch.equal(PolynomialSign(7)(x), polynomial_sign(x))


def test_the_surrogate_rises_as_far_as_the_sign_does():
    """F(1) - F(-1) = 2, and the integral of the slope is 2, too."""
    ends = polynomial(torch.tensor([-1.0, 1.0, 5.0]))
    assert ends.tolist() == [-1, 1, 1]
    low, high = polynomial_sign(torch.tensor([-1.0, 1.0])).tolist()
    assert high - low == 2
    x = torch.linspace(-2, 2, 4001, dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(polynomial(x).sum(), x)
    torch.testing.assert_close(torch.trapezoid(slope, x).item(), 2.0)


def test_the_surrogate_is_the_one_whose_derivative_is_used():
    x = torch.tensor([-1.7, -0.6, 0.3, 2.0], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(polynomial, x)
    by_surrogate, by_sign = (
        torch.autograd.grad(f(x).sum(), x)[0] for f in (polynomial, polynomial_sign)
    )
    assert torch.equal(by_surrogate, by_sign)


def test_the_surrogate_lies_nearer_to_the_sign_than_the_clipped_identity():
    x = torch.linspace(-1.5, 1.5, 1001)
    sign = x.sign()
    gap = [(f - sign).abs().mean() for f in (polynomial(x), x.clamp(-1, 1))]
    assert gap[0] < 0.7 * gap[1]


def test_weights_are_signs_times_the_mean_size_of_their_filter():
    weight = torch.randn(3, 2, 3, 3)
    found = MagnitudeSign()(weight)
    for row, source in zip(found, weight, strict=True):
        expected = source.abs().mean() * torch.where(source >= 0, 1.0, -1.0)
        torch.testing.assert_close(row, expected)


def test_the_scale_of_weights_takes_no_slope_and_clips_with_the_identity():
    """Sizes 0.5 and 1.5 have the mean 1; beyond 1 no slope passes."""
    weight = torch.tensor([[0.5, -1.5], [0.2, 0.2]], requires_grad=True)
    MagnitudeSign()(weight).sum().backward()
    torch.testing.assert_close(weight.grad, torch.tensor([[1.0, 0.0], [0.2, 0.2]]))


def test_a_block_is_batch_norm_of_signs_convolved_plus_its_input():
    block = BinaryBlock(4, 4, tail=lambda channels: nn.PReLU(channels)).eval()
    x = torch.randn(2, 4, 6, 6)
    conv, norm = block.main[1], block.main[2]
    original = conv.parametrizations.weight.original
    signs = torch.where(x >= 0, 1.0, -1.0)
    y = norm(F.conv2d(signs, MagnitudeSign()(original), padding=1)) + x
    torch.testing.assert_close(block(x), block.tail(y))
    assert torch.equal(block.main[0](x), signs)


def test_the_shortcut_averages_and_repeats():
    block = BinaryBlock(2, 4, 2).eval()
    nn.init.zeros_(block.main[2].weight)
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    pooled = x.reshape(1, 2, 2, 2, 2, 2).mean(dim=(3, 5))
    torch.testing.assert_close(block(x), torch.cat([pooled, pooled], dim=1))


def test_a_shortcut_adds_no_weights_and_can_be_left_out():
    with_it, without = BinaryBlock(4, 8, 2), BinaryBlock(4, 8, 2, shortcut=False)
    count = [sum(p.numel() for p in b.parameters()) for b in (with_it, without)]
    assert count == [4 * 8 * 9 + 16] * 2
    without.load_state_dict(with_it.state_dict())
    x = torch.randn(1, 4, 6, 6)
    past = F.avg_pool2d(x, 2).repeat(1, 2, 1, 1)
    torch.testing.assert_close(with_it(x) - without(x), past)


def test_without_shortcut_only_signs_get_through():
    net, x = BinaryBlock(4, 6, shortcut=False).eval(), torch.randn(1, 4, 5, 5)
    assert torch.equal(net(x), net(3 * x))
    shortcut = BinaryBlock(4, 4).eval()
    assert not torch.equal(shortcut(x), shortcut(3 * x))


def test_the_network_has_four_blocks_and_every_weight_learns():
    net = small_binary_net(width=4)
    blocks = [m for m in net if isinstance(m, BinaryBlock)]
    shapes = [(b.in_channels, b.out_channels, b.stride) for b in blocks]
    assert shapes == [(4, 4, 1), (4, 8, 1), (8, 8, 2), (8, 16, 1)]
    assert net[:3](torch.zeros(1, 1, 16, 16)).shape == (1, 8, 8, 8)
    net(torch.randn(3, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BinaryBlock(4, 6), "in_channels"),
        (lambda: BinaryBlock(4, 8)(torch.zeros(1, 3, 4, 4)), "must have 4 channels"),
        (lambda: BinaryBlock(4, 8, 0), "stride"),
        (lambda: small_binary_net(width=0), "width"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
