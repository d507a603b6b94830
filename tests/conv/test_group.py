"""Group convolution against its equations, F.conv2d and a block-diagonal weight."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.cost import conv_cost
from effdl.conv.group import (
    GroupConv2d,
    block_diagonal,
    group_conv,
    group_cost,
    group_saving,
)


def test_output_is_the_equation_evaluated_output_by_output():
    """Output o of group i sums over the channels of group i alone."""
    x, weight = torch.randn(1, 6, 3, 4), torch.randn(4, 3, 3, 3)  # 2 groups
    padded = F.pad(x, (1, 1, 1, 1))
    expected = torch.zeros(1, 4, 3, 4)
    for o in range(4):
        first = 3 * (o // 2)  # of the input channels in the group of o
        for h in range(3):
            for w in range(4):
                window = padded[0, first : first + 3, h : h + 3, w : w + 3]
                expected[0, o, h, w] = (weight[o] * window).sum()
    torch.testing.assert_close(group_conv(x, weight, 2), expected)


def test_value_by_hand():
    """Pixel (1, 2, 3, 4) in two groups: 1 * 1 + 2 * 10 = 21 and 3 * 2 + 4 * 5 = 26."""
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1)
    weight = torch.tensor([[1.0, 10.0], [2.0, 5.0]])[:, :, None, None]
    assert group_conv(x, weight, 2).flatten().tolist() == [21.0, 26.0]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_module_formula_and_torch_agree_in_value_and_gradient(groups, kernel_size):
    layer = GroupConv2d(6, 12, kernel_size, groups=groups)
    x = torch.randn(2, 6, 7, 5)
    padding = kernel_size // 2
    reference = F.conv2d(x, layer.weight, padding=padding, groups=groups)
    y = group_conv(x, layer.weight, groups)
    torch.testing.assert_close(layer(x), reference)
    torch.testing.assert_close(y, reference)
    slow, fast = (
        torch.autograd.grad(out.square().sum(), layer.weight) for out in (y, reference)
    )
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_it_is_an_ordinary_convolution_with_a_block_diagonal_weight(groups):
    layer, x = GroupConv2d(6, 12, groups=groups), torch.randn(2, 6, 7, 5)
    dense = block_diagonal(layer.weight, groups)
    assert dense.shape == (12, 6, 3, 3)
    torch.testing.assert_close(layer(x), F.conv2d(x, dense, padding=1))
    assert int((dense != 0).sum()) == layer.weight.numel()


@pytest.mark.parametrize("stride", [2, 3])
def test_stride_leaves_outputs_out(stride):
    layer, x = GroupConv2d(4, 6, stride=stride), torch.randn(2, 4, 7, 8)
    expected = group_conv(x, layer.weight, 2)[:, :, ::stride, ::stride]
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape == (2, 6, -(-7 // stride), -(-8 // stride))


def test_no_output_sees_another_group():
    x = torch.randn(1, 6, 5, 5, requires_grad=True)
    GroupConv2d(6, 9, groups=3)(x)[:, 3:6].sum().backward()  # outputs of group 2
    seen = x.grad.abs().amax(dim=(0, 2, 3)) > 0
    assert seen.tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_cost_is_what_torch_counts(groups):
    layer, x = GroupConv2d(4, 8, groups=groups), torch.zeros(1, 4, 5, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    cost = group_cost(4, 8, 3, (5, 7), groups=groups)
    assert cost.parameters == layer.weight.numel()
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == x.numel() + layer.weight.numel() + y.numel()


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_saving_is_the_number_of_groups(groups):
    """Parameters and MACs alike, an identity of integers; memory access falls less."""
    dense, cheap = conv_cost(8, 16, 3, 9), group_cost(8, 16, 3, 9, groups=groups)
    saving = group_saving(8, 3, groups=groups)
    assert saving == groups
    assert dense.parameters == saving * cheap.parameters
    assert dense.macs == saving * cheap.macs
    assert dense.memory_access / cheap.memory_access <= saving


def test_with_bias_the_saving_is_the_ratio_of_counted_parameters():
    dense, cheap = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1, groups=4)
    ratio = sum(map(torch.numel, dense.parameters())) / sum(
        map(torch.numel, cheap.parameters())
    )
    assert group_saving(4, 1, groups=4, bias=True) == pytest.approx(ratio)
    assert ratio < 4


def test_defaults_are_alexnets_two_groups_and_no_bias():
    layer = GroupConv2d(4, 8)
    assert (layer.groups, layer.kernel_size, layer.bias) == (2, (3, 3), None)
    assert group_cost(4, 8, 3, 5) == group_cost(4, 8, 3, 5, groups=2)
    assert group_saving(4, 3) == 2.0


def test_every_parameter_learns():
    layer = GroupConv2d(4, 8, groups=4)
    layer(torch.randn(4, 4, 6, 6)).square().sum().backward()
    assert layer.weight.grad.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 2}, "kernel_size must be odd, got 2; use 1 or 3"),
        ({"groups": 3}, "groups=3 must divide in_channels, got 4; use 3 or 6"),
        ({"out_channels": 7}, "groups=2 must divide out_channels, got 7; use 6 or 8"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GroupConv2d(**{"in_channels": 4, "out_channels": 8} | arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 4, 5, 5), r"x is empty, shape \(0, 4, 5, 5\)"),
        ((4, 5, 5), r"must be \(N, C, H, W\), got shape \(4, 5, 5\)"),
        ((2, 3, 5, 5), "x must have 4 channels in dimension 1, got 3"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        GroupConv2d(4, 8)(torch.zeros(shape))
    with pytest.raises(ValueError, match=message):
        group_conv(torch.zeros(shape), torch.zeros(8, 2, 3, 3), 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: group_conv(torch.zeros(1, 4, 5, 5), torch.zeros(7, 2, 3, 3), 2),
         "groups=2 must divide out_channels, got 7"),
        (lambda: group_conv(torch.zeros(1, 4, 5, 5), torch.zeros(8, 2, 2, 2), 2),
         "kernel_size must be odd, got 2"),
        (lambda: group_conv(torch.zeros(1, 4, 5, 5), torch.zeros(8, 2), 2),
         r"weight must be \(n, c, k, k\), got shape \(8, 2\)"),
        (lambda: group_conv(torch.zeros(1, 4, 5, 5), torch.zeros(8, 2, 3, 3), 0),
         "groups must be at least 1, got 0"),
        (lambda: block_diagonal(torch.zeros(7, 2, 3, 3), 2),
         "groups=2 must divide out_channels, got 7"),
        (lambda: block_diagonal(torch.zeros(7, 2, 3, 3), 0),
         "groups must be at least 1, got 0"),
        (lambda: group_saving(4, 3, groups=3), "groups=3 must divide in_channels"),
        (lambda: group_saving(4, 0), "kernel_size must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_weights_and_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
