"""LAB: bits from neighbours, the slope of a softmax, and maps that stay different."""

import pytest
import torch
import torch.nn.functional as F

from effdl.quant.lab import (
    LearnedBinarizer,
    larger_is_second,
    set_to_sign_,
    unique_patterns,
)


def test_a_bit_is_whether_the_second_map_is_at_least_the_first():
    layer, x = LearnedBinarizer(3), torch.randn(2, 3, 5, 6)
    weight, bias = layer.conv.weight, layer.conv.bias
    bits = layer(x)
    padded = F.pad(x, (1, 1, 1, 1))
    for c in range(3):
        for i, j in ((0, 0), (2, 3), (4, 5)):
            window = padded[:, c, i : i + 3, j : j + 3]
            first, second = (
                (window * weight[2 * c + m, 0]).sum((1, 2)) + bias[2 * c + m]
                for m in (0, 1)
            )
            expected = torch.where(second >= first, 1.0, -1.0)
            assert torch.equal(bits[:, c, i, j], expected)


def test_with_a_delta_in_the_centre_it_is_the_sign_exactly():
    for side in (1, 3, 5):
        layer, x = LearnedBinarizer(4, side), torch.randn(3, 4, 6, 6)
        x[0, 0, 0, 0] = 0
        set_to_sign_(layer)
        assert torch.equal(layer(x), torch.where(x >= 0, 1.0, -1.0))


def test_the_slope_is_that_of_the_soft_maximum():
    maps = torch.randn(2, 3, 2, 4, 4, requires_grad=True)
    beta, g = torch.tensor(1.7, requires_grad=True), torch.randn(2, 3, 4, 4)
    wanted = maps, beta
    found = torch.autograd.grad((larger_is_second(maps, beta) * g).sum(), wanted)
    soft = 2 * torch.sigmoid(beta * (maps[:, :, 1] - maps[:, :, 0])) - 1
    expected = torch.autograd.grad((soft * g).sum(), wanted)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_by_hand():
    """Maps 1 and 1: the bit is +1, the slopes are -1/2 and 1/2 for beta 1."""
    maps = torch.ones(1, 1, 2, 1, 1, requires_grad=True)
    bit = larger_is_second(maps, torch.tensor(1.0))
    bit.backward()
    assert bit.item() == 1
    assert maps.grad.flatten().tolist() == [-0.5, 0.5]


def test_only_the_difference_of_the_two_kernels_counts():
    layer, x = LearnedBinarizer(2), torch.randn(2, 2, 6, 6)
    before = layer(x)
    with torch.no_grad():
        both = torch.randn(2, 1, 3, 3)
        layer.conv.weight[0::2] += both
        layer.conv.weight[1::2] += both
        difference = layer.conv.weight[1::2] - layer.conv.weight[0::2]
        bias = layer.conv.bias[1::2] - layer.conv.bias[0::2]
    assert torch.equal(layer(x), before)
    one = F.conv2d(x, difference, bias, padding=1, groups=2)
    assert torch.equal(torch.where(one >= 0, 1.0, -1.0), before)
    layer(x).square().sum().add(layer(x).sum()).backward()
    grad = layer.conv.weight.grad
    torch.testing.assert_close(grad[0::2], -grad[1::2])


def test_every_parameter_and_the_input_learn():
    layer, x = LearnedBinarizer(2), torch.randn(2, 2, 4, 4, requires_grad=True)
    assert layer.beta.item() == 1
    (layer(x) * torch.randn(2, 2, 4, 4)).sum().backward()
    assert all(p.grad.any() for p in (layer.conv.weight, layer.conv.bias, layer.beta))
    assert x.grad.any()


def test_patterns_are_counted_per_channel():
    bits = torch.ones(4, 2, 1, 2)
    bits[1, 0, 0, 0] = bits[2, 0, 0, 0] = -1  # twice the same
    bits[3, 0, 0, 1] = -1
    assert unique_patterns(bits) == [3, 1]


def test_more_patterns_stay_different_than_with_the_sign():
    """Maps of one sign everywhere are one map to the sign, not to a difference."""
    x = torch.rand(50, 1, 4, 4) + 0.1
    layer = LearnedBinarizer(1)
    set_to_sign_(layer)
    assert unique_patterns(layer(x)) == [1]
    with torch.no_grad():
        layer.conv.weight[1, 0, 1, 0] -= 1  # minus the neighbour on the left
    assert unique_patterns(layer(x))[0] > 45


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LearnedBinarizer(0), "channels"),
        (lambda: LearnedBinarizer(2, 4), "kernel_size"),
        (lambda: LearnedBinarizer(2)(torch.zeros(1, 3, 4, 4)), "must have 2 channels"),
        (lambda: larger_is_second(torch.ones(1, 3, 4, 4), torch.ones(())), "maps must"),
        (lambda: larger_is_second(torch.ones(1, 2, 3, 4, 4), torch.ones(())), "maps"),
        (lambda: unique_patterns(torch.ones(2, 2)), "N, C, H, W"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
