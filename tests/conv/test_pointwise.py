"""Pointwise convolution against its equation, a linear layer and F.conv2d."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.cost import conv_cost
from effdl.conv.pointwise import (
    PointwiseConv2d,
    pointwise,
    pointwise_cost,
    pointwise_saving,
)


def test_output_is_the_equation_evaluated_pixel_by_pixel():
    """A dot product over the channels, in five loops."""
    x, weight, bias = torch.randn(2, 3, 2, 4), torch.randn(5, 3), torch.randn(5)
    expected = torch.zeros(2, 5, 2, 4)
    for n, o, h, w in itertools.product(range(2), range(5), range(2), range(4)):
        products = [weight[o, c] * x[n, c, h, w] for c in range(3)]
        expected[n, o, h, w] = bias[o] + sum(products)
    torch.testing.assert_close(pointwise(x, weight, bias), expected)
    without = expected - bias[:, None, None]
    torch.testing.assert_close(pointwise(x, weight), without)


def test_value_by_hand():
    """Pixel (1, 2): rows (10, 1) and (0, 3) give 10 * 1 + 2 = 12 and 3 * 2 = 6."""
    x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
    y = pointwise(x, torch.tensor([[10.0, 1.0], [0.0, 3.0]]))
    assert y.flatten().tolist() == [12.0, 6.0]


def test_it_is_a_linear_layer_on_the_channel_axis():
    linear, x = nn.Linear(6, 4), torch.randn(2, 6, 5, 7)
    expected = linear(x.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(pointwise(x, linear.weight, linear.bias), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_module_and_formula_agree_in_value_and_gradient(bias):
    layer = PointwiseConv2d(6, 4, bias=bias)
    assert (layer.bias is not None) is bias
    x = torch.randn(2, 6, 5, 7)
    weight = layer.weight.detach()[:, :, 0, 0].clone().requires_grad_()
    y = pointwise(x, weight, layer.bias)
    torch.testing.assert_close(layer(x), y)
    layer(x).square().sum().backward()
    (gradient,) = torch.autograd.grad(y.square().sum(), weight)
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0], gradient)


def test_module_agrees_with_conv2d():
    layer, x = PointwiseConv2d(6, 4, stride=2), torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, stride=2))
    assert layer.weight.shape == (4, 6, 1, 1)


def test_stride_leaves_pixels_out():
    layer, x = PointwiseConv2d(3, 4, stride=2), torch.randn(1, 3, 5, 6)
    expected = pointwise(x, layer.weight[:, :, 0, 0])[:, :, ::2, ::2]
    torch.testing.assert_close(layer(x), expected)


def test_no_pixel_sees_its_neighbour():
    x = torch.randn(1, 3, 5, 5, requires_grad=True)
    PointwiseConv2d(3, 4)(x)[0, :, 2, 1].sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1)) > 0
    assert seen.nonzero().tolist() == [[2, 1]]


def test_cost_is_what_torch_counts():
    layer, x = PointwiseConv2d(6, 4, bias=True), torch.zeros(1, 6, 5, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    cost = pointwise_cost(6, 4, (5, 7), bias=True)
    parameters = layer.weight.numel() + layer.bias.numel()
    assert cost.parameters == parameters
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == x.numel() + parameters + y.numel()


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_saving_is_the_square_of_the_kernel_side(kernel_size):
    """Parameters and MACs alike, an identity of integers."""
    dense, cheap = conv_cost(6, 4, kernel_size, 9), pointwise_cost(6, 4, 9)
    saving = pointwise_saving(6, kernel_size)
    assert saving == kernel_size**2
    assert dense.parameters == saving * cheap.parameters
    assert dense.macs == saving * cheap.macs


def test_with_bias_the_saving_is_the_ratio_of_counted_parameters():
    dense, cheap = nn.Conv2d(2, 7, 3), nn.Conv2d(2, 7, 1)
    ratio = sum(map(torch.numel, dense.parameters())) / sum(
        map(torch.numel, cheap.parameters())
    )
    assert pointwise_saving(2, 3, bias=True) == pytest.approx(ratio)
    assert ratio < 9


def test_every_parameter_learns():
    layer = PointwiseConv2d(3, 8, bias=True)
    layer(torch.randn(4, 3, 6, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.all() for p in layer.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"out_channels": 8.0}, r"out_channels must be a whole number, got 8\.0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PointwiseConv2d(**{"in_channels": 4, "out_channels": 8} | arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 4, 5, 5), r"x is empty, shape \(0, 4, 5, 5\)"),
        ((4, 5, 5), r"must be \(N, C, H, W\), got shape \(4, 5, 5\); use x.unsqueeze"),
        ((2, 3, 5, 5), "x must have 4 channels in dimension 1, got 3"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        PointwiseConv2d(4, 8)(torch.zeros(shape))
    with pytest.raises(ValueError, match=message):
        pointwise(torch.zeros(shape), torch.zeros(8, 4))


@pytest.mark.parametrize(
    ("shape", "cure"),
    [((8, 4, 1, 1), r"use weight\[:, :, 0, 0\]"), ((8, 4, 3, 3), "it has no k")],
)
def test_a_weight_that_is_no_matrix_is_named(shape, cure):
    with pytest.raises(ValueError, match=rf"weight must be \(n, c\), got .*; {cure}"):
        pointwise(torch.zeros(1, 4, 5, 5), torch.zeros(shape))


@pytest.mark.parametrize("name", ["in_channels", "kernel_size"])
def test_saving_needs_positive_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        pointwise_saving(**{"in_channels": 4, "kernel_size": 3} | {name: 0})
