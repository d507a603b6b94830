"""Depthwise and separable convolution against their equations and F.conv2d."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.cost import conv_cost
from effdl.conv.depthwise import (
    DepthwiseConv2d,
    SeparableConv2d,
    depthwise,
    depthwise_cost,
    separable_cost,
    separable_saving,
)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_output_is_each_channel_convolved_alone(multiplier):
    """Output c m + j is channel c under kernel c m + j, one call at a time."""
    x, weight = torch.randn(2, 3, 5, 6), torch.randn(3 * multiplier, 1, 3, 3)
    maps = [
        F.conv2d(x[:, c : c + 1], weight[c * multiplier + j][None], padding=1)
        for c in range(3)
        for j in range(multiplier)
    ]
    torch.testing.assert_close(depthwise(x, weight), torch.cat(maps, dim=1))


def test_value_by_hand():
    """Row (1, 2, 3) under (10, 0, 1), zeros outside: 0 + 2, 10 + 3, 20 + 0."""
    x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1] = torch.tensor([10.0, 0.0, 1.0])
    assert depthwise(x, weight).flatten().tolist() == [2.0, 13.0, 20.0]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("multiplier", [1, 3])
def test_module_formula_and_torch_agree_in_value_and_gradient(multiplier, kernel_size):
    layer = DepthwiseConv2d(4, kernel_size, multiplier=multiplier)
    x = torch.randn(2, 4, 7, 5)
    reference = F.conv2d(x, layer.weight, padding=kernel_size // 2, groups=4)
    y = depthwise(x, layer.weight)
    torch.testing.assert_close(layer(x), reference)
    torch.testing.assert_close(y, reference)
    slow, fast = (
        torch.autograd.grad(out.square().sum(), layer.weight) for out in (y, reference)
    )
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-4)


def test_separable_is_an_ordinary_convolution_with_one_shape_for_each_channel():
    """W[o, c] = P[o, c] w[c]."""
    layer, x = SeparableConv2d(4, 6), torch.randn(2, 4, 7, 5)
    shapes = layer.depthwise.weight[:, 0]  # (c, k, k)
    mixing = layer.pointwise.weight[:, :, 0, 0]  # (n, c)
    dense = torch.einsum("oc,cuv->ocuv", mixing, shapes)
    torch.testing.assert_close(layer(x), F.conv2d(x, dense, padding=1))


@pytest.mark.parametrize("stride", [2, 3])
def test_stride_leaves_outputs_out(stride):
    layer, x = DepthwiseConv2d(4, stride=stride), torch.randn(2, 4, 7, 8)
    expected = depthwise(x, layer.weight)[:, :, ::stride, ::stride]
    torch.testing.assert_close(layer(x), expected)
    separable = SeparableConv2d(4, 6, 5, stride=stride)
    assert separable(x).shape == (2, 6, -(-7 // stride), -(-8 // stride))


def test_a_channel_sees_no_other_channel():
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    DepthwiseConv2d(4)(x)[:, 1].sum().backward()
    seen = x.grad.abs().amax(dim=(0, 2, 3)) > 0
    assert seen.tolist() == [False, True, False, False]


@pytest.mark.parametrize("multiplier", [1, 3])
def test_cost_is_what_torch_counts(multiplier):
    layer, x = DepthwiseConv2d(4, multiplier=multiplier), torch.zeros(1, 4, 5, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    cost = depthwise_cost(4, 3, (5, 7), multiplier=multiplier)
    assert cost.parameters == layer.weight.numel()
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == x.numel() + layer.weight.numel() + y.numel()


def test_separable_cost_is_what_torch_counts_with_the_maps_between_moved_twice():
    layer, x = SeparableConv2d(4, 8, 5), torch.zeros(1, 4, 6, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    parameters = sum(p.numel() for p in layer.parameters())
    cost = separable_cost(4, 8, 5, (6, 7))
    assert cost.parameters == parameters
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == 3 * x.numel() + parameters + y.numel()


@pytest.mark.parametrize(("n", "k"), [(8, 3), (512, 3), (16, 5)])
def test_saving_is_the_ratio_of_the_costs(n, k):
    """Whatever the input channels and the size, parameters and MACs alike."""
    for c in (4, 32):
        dense, cheap = conv_cost(c, n, k, 7), separable_cost(c, n, k, 7)
        saving = separable_saving(n, k)
        assert saving == pytest.approx(dense.macs / cheap.macs)
        assert saving == pytest.approx(dense.parameters / cheap.parameters)


def test_share_of_the_paper():
    """Howard et al.: 3 x 3 separable is 8 to 9 times cheaper; 0.1131 for n = 512."""
    assert 1 / separable_saving(512, 3) == pytest.approx(0.1131, abs=5e-5)
    assert 8 < separable_saving(512, 3) < 9


def test_a_depthwise_layer_waits_for_memory():
    """About k^2 / 2 MACs for each number moved; the ordinary layer has hundreds."""
    assert depthwise_cost(256, 3, 56).intensity == pytest.approx(4.5, rel=0.01)
    assert conv_cost(256, 256, 3, 56).intensity > 500


def test_every_parameter_learns():
    layer = SeparableConv2d(3, 8)
    layer(torch.randn(4, 3, 6, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.all() for p in layer.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"multiplier": 0}, "multiplier must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"kernel_size": -1}, "kernel_size must be at least 1, got -1"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4; use 3 or 5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DepthwiseConv2d(**{"channels": 4} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
    ],
)
def test_bad_arguments_of_separable_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SeparableConv2d(**{"in_channels": 4, "out_channels": 8} | arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 4, 5, 5), r"x is empty, shape \(0, 4, 5, 5\)"),
        ((4, 5, 5), r"must be \(N, C, H, W\), got shape \(4, 5, 5\)"),
        ((2, 3, 5, 5), "x must have 4 channels in dimension 1, got 3"),
    ],
)
@pytest.mark.parametrize("layer", [DepthwiseConv2d(4), SeparableConv2d(4, 8)])
def test_bad_inputs_are_named(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(shape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: depthwise(torch.zeros(4, 5, 5), torch.zeros(4, 1, 3, 3)),
         r"x must be \(N, C, H, W\)"),
        (lambda: depthwise(torch.zeros(1, 4, 5, 5), torch.zeros(6, 1, 3, 3)),
         r"x.shape\[1\]=4 must divide kernels, got 6; use 4 or 8"),
        (lambda: depthwise(torch.zeros(1, 4, 5, 5), torch.zeros(4, 1, 2, 2)),
         "kernel_size must be odd, got 2"),
        (lambda: depthwise(torch.zeros(1, 4, 5, 5), torch.zeros(4, 4, 3, 3)),
         r"weight must have 1 channels.*got 4; make it \(4, 1, 3, 3\)"),
        (lambda: depthwise(torch.zeros(1, 4, 5, 5), torch.zeros(4, 1, 3, 1)),
         "pad the shorter side"),
        (lambda: separable_saving(0, 3), "out_channels must be at least 1, got 0"),
        (lambda: separable_saving(8, 0), "kernel_size must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_weights_and_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
