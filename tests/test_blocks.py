"""The shared building blocks against torch, counted weights and measured fields."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import (
    conv_bn,
    mean_linear,
    plain_mlp,
    plain_net,
    scaled_channels,
)
from effdl.conv.dilated import seen_pixels


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Hardswish, None])
@pytest.mark.parametrize(("k", "stride", "groups"), [(3, 1, 1), (5, 2, 2), (1, 1, 4)])
def test_output_is_convolution_then_norm_then_relu(k, stride, groups, activation):
    block = conv_bn(4, 8, k, stride=stride, groups=groups, activation=activation)
    conv, norm = block[:2]
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 4, 7, 8)
    y = F.conv2d(x, conv.weight, stride=stride, padding=k // 2, groups=groups)
    y = (y - y.mean((0, 2, 3), keepdim=True)) / (
        y.var((0, 2, 3), keepdim=True, correction=0) + norm.eps
    ).sqrt()
    y = norm.weight[:, None, None] * y + norm.bias[:, None, None]
    expected = activation()(y) if activation else y
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_makes_a_bias_useless():
    """Why there is none: the mean that batch norm takes away contains it."""
    block, x = conv_bn(2, 3, 3), torch.randn(4, 2, 5, 5)
    assert block[0].bias is None
    without = block(x)
    block[0].bias = nn.Parameter(torch.randn(3))
    torch.testing.assert_close(block(x), without, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_shape_is_the_one_the_docstring_promises(k, stride):
    y = conv_bn(3, 8, k, stride=stride)(torch.randn(2, 3, 7, 8))
    assert y.shape == (2, 8, -(-7 // stride), -(-8 // stride))


def test_defaults_are_an_ordinary_convolution_with_relu():
    block = conv_bn(3, 8, 3)
    assert (block[0].stride, block[0].groups) == ((1, 1), 1)
    assert [type(m) for m in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


def test_every_parameter_learns():
    block = conv_bn(3, 8, 3)
    block(torch.randn(4, 3, 6, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 2}, "kernel_size must be odd, got 2; use 1 or 3"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"groups": 3}, "groups=3 must divide in_channels, got 4; use 3 or 6"),
        ({"out_channels": 7, "groups": 2}, "groups=2 must divide out_channels, got 7"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"in_channels": 4, "out_channels": 8, "kernel_size": 3}
    with pytest.raises(ValueError, match=message):
        conv_bn(**good | arguments)


def test_weights_of_the_plain_net_by_hand():
    """Of width w: 9 (1 + w + 2 w + 4 w + 8 w) w, 2 * 10 w, and 10 (4 w + 1)."""
    for w in (1, 4, 16):
        counted = sum(p.numel() for p in plain_net(w).parameters())
        assert counted == 9 * (w + 15 * w * w) + 20 * w + 10 * (4 * w + 1)


def test_the_plain_net_takes_other_channels_and_classes():
    net = plain_net(2, in_channels=3, classes=7)
    assert net(torch.zeros(5, 3, 12, 12)).shape == (5, 7)


@pytest.mark.parametrize(("size", "left"), [(16, 4), (12, 3)])
def test_the_plain_net_halves_the_resolution_twice(size, left):
    assert plain_net(2)[:5](torch.zeros(2, 1, size, size)).shape[2:] == (left, left)


def test_the_plain_net_sees_as_far_as_its_docstring_says():
    convolutions = nn.Sequential(*(block[0] for block in plain_net(2)[:5]))
    places = seen_pixels(convolutions, torch.randn(1, 1, 48, 48)).nonzero()
    assert (places.amax(0) - places.amin(0) + 1).tolist() == [21, 21]


def test_every_parameter_of_the_plain_net_learns():
    net = plain_net(2)
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", ["width", "in_channels", "classes"])
def test_the_plain_net_needs_positive_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        plain_net(**{"width": 4} | {name: 0})


def test_the_plain_mlp_is_matrices_with_relu_in_between():
    net = plain_mlp((6, 5, 4, 3))
    x = torch.randn(2, 1, 2, 3)
    y = x.flatten(1)
    linears = [m for m in net if isinstance(m, nn.Linear)]
    for place, layer in enumerate(linears):
        y = y @ layer.weight.T + layer.bias
        y = y.clamp(min=0) if place < 2 else y
    torch.testing.assert_close(net(x), y)
    assert len(linears) == 3


def test_weights_of_the_plain_mlp_by_hand():
    """256 * 200 + 200 * 100 + 100 * 10 weights, and 310 biases."""
    parameters = list(plain_mlp().parameters())
    assert sum(p.numel() for p in parameters if p.ndim == 2) == 72_200
    assert sum(p.numel() for p in parameters if p.ndim == 1) == 310


def test_two_widths_are_one_linear_layer():
    assert [type(m) for m in plain_mlp([4, 3])] == [nn.Flatten, nn.Linear]


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((), r"widths must be inputs and outputs at least, got \(\)"),
        ((5,), r"widths must be inputs and outputs at least, got \(5,\)"),
        ((5, 0), "outputs must be at least 1, got 0"),
        ((0, 5), "inputs must be at least 1, got 0"),
        ((5, 2.5), "outputs must be a whole number, got 2.5"),
    ],
)
def test_bad_widths_are_told(widths, message):
    with pytest.raises(ValueError, match=message):
        plain_mlp(widths)


def test_the_head_by_hand():
    """Means 2 and 5 with weights 1 and 10 and a bias of 0.5: 52.5."""
    head = mean_linear(2, 1)
    nn.init.constant_(head[-1].bias, 0.5)
    head[-1].weight.data = torch.tensor([[1.0, 10.0]])
    x = torch.tensor([[1.0, 3.0], [4.0, 6.0]]).reshape(1, 2, 1, 2)
    assert head(x).tolist() == [[52.5]]


@pytest.mark.parametrize("name", ["channels", "classes"])
def test_the_head_needs_positive_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        mean_linear(**{"channels": 4, "classes": 2} | {name: 0})


@pytest.mark.parametrize("divisor", [4, 8])
@pytest.mark.parametrize("width", [0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4, 1.6])
def test_scaled_channels_are_those_of_timm(width, divisor):
    make_divisible = pytest.importorskip("timm.layers").make_divisible
    for channels in range(16, 1281, 8):
        ours = scaled_channels(channels, width, divisor=divisor)
        assert ours == make_divisible(channels * width, divisor)


def test_scaled_channels_by_hand():
    """Half of 24 is 12, halfway: up to 16. 24 * 0.7 = 16.8: 16 is within a tenth.

    18 with divisor 16: 16 would take a ninth away, so 32.
    """
    assert scaled_channels(24, 0.5) == 16
    assert scaled_channels(24, 0.7) == 16
    assert scaled_channels(18, divisor=16) == 32
    assert scaled_channels(16, 0.1) == 8  # never less than the divisor


@pytest.mark.parametrize("width", [0.0, -1.0, 0.03, math.nan, math.inf])
def test_a_width_that_gives_no_channel_is_named(width):
    with pytest.raises(ValueError, match=r"width must leave at least one of 32 chann"):
        scaled_channels(32, width)


def test_the_smallest_width_is_told():
    with pytest.raises(ValueError, match=r"got 0\.01; use 0\.0312 or more"):
        scaled_channels(32, 0.01)


@pytest.mark.parametrize("name", ["channels", "divisor"])
def test_scaled_channels_needs_positive_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        scaled_channels(**{"channels": 8} | {name: 0})
