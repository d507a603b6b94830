"""The operations of DARTS: layer by layer, pixel by pixel, and their shapes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.nas.cell_net import ReluConvBn
from effdl.nas.darts_operations import (
    FactorizedReduce,
    Zero,
    darts_operation,
    dilated_conv,
    preprocess,
    separable_conv,
)
from effdl.nas.darts_space import OPERATIONS
from on_paper import randomised


def half(layers, x, **options):
    """Return ReLU, depthwise, pointwise and batch norm, channel by channel."""
    _, depthwise, pointwise, norm = layers
    maps = [
        F.conv2d(x[:, [c]].clamp(min=0), depthwise.weight[[c]], **options)
        for c in range(x.shape[1])
    ]
    return norm(
        torch.einsum("oi,nihw->nohw", pointwise.weight[..., 0, 0], torch.cat(maps, 1))
    )


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_convolution_is_two_halves(kernel_size, stride):
    layers = randomised(separable_conv(3, kernel_size, stride))
    x = torch.randn(2, 3, 7, 8)
    y = half(layers[:4], x, stride=stride, padding=kernel_size // 2)
    expected = half(layers[4:], y, padding=kernel_size // 2)
    torch.testing.assert_close(layers(x), expected)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_dilated_convolution_is_one_half_with_rate_2(kernel_size, stride):
    layers = randomised(dilated_conv(3, kernel_size, stride))
    x = torch.randn(2, 3, 9, 8)
    expected = half(layers, x, stride=stride, padding=kernel_size - 1, dilation=2)
    torch.testing.assert_close(layers(x), expected)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 6), (5, 7)])
def test_a_factorised_reduction_is_read_off_pixel_by_pixel(height, width):
    """Half of the filters see pixel (2 i, 2 j), the others (2 i + 1, 2 j + 1)."""
    layer = randomised(FactorizedReduce(2, 5))
    x = torch.randn(1, 2, height, width)
    high, wide = -(-height // 2), -(-width // 2)
    y = torch.zeros(1, 5, high, wide)
    padded = torch.zeros(2, height + 1, width + 1)
    padded[:, :height, :width] = x[0].clamp(min=0)
    for i in range(high):
        for j in range(wide):
            y[0, :2, i, j] = layer.even.weight[..., 0, 0] @ padded[:, 2 * i, 2 * j]
            shifted = padded[:, 2 * i + 1, 2 * j + 1]
            y[0, 2:, i, j] = layer.odd.weight[..., 0, 0] @ shifted
    torch.testing.assert_close(layer(x), layer.norm(y))


def test_poolings_of_a_small_map_by_hand():
    """3 x 3 pixels 1 to 9: at a corner four pixels count, in the middle all nine."""
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    largest = darts_operation("max_pool_3x3", 1)(x)
    mean = darts_operation("avg_pool_3x3", 1)(x)
    assert largest.flatten().tolist() == [5, 6, 6, 8, 9, 9, 8, 9, 9]
    assert mean[0, 0, 0, 0] == (1 + 2 + 4 + 5) / 4
    assert mean[0, 0, 1, 1] == 5
    assert darts_operation("max_pool_3x3", 1, 2)(x).flatten().tolist() == [5, 6, 8, 9]


def test_none_is_zero_and_a_skip_is_the_identity():
    x = torch.randn(2, 3, 5, 6)
    assert torch.equal(darts_operation("none", 3)(x), torch.zeros_like(x))
    assert torch.equal(darts_operation("skip_connect", 3)(x), x)
    assert torch.equal(Zero(2)(x), torch.zeros(2, 3, 3, 3))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_operations_keep_the_channels_and_divide_the_size(name, stride, size):
    y = darts_operation(name, 4, stride)(torch.randn(2, 4, size, size))
    assert y.shape == (2, 4, -(-size // stride), -(-size // stride))


@pytest.mark.parametrize(
    ("name", "stride", "parameters"),
    [
        ("none", 2, 0),
        ("max_pool_3x3", 2, 0),
        ("avg_pool_3x3", 1, 0),
        ("skip_connect", 1, 0),
        ("skip_connect", 2, 6 * 6 + 12),
        ("sep_conv_3x3", 1, 2 * (9 * 6 + 6 * 6 + 12)),
        ("sep_conv_5x5", 2, 2 * (25 * 6 + 6 * 6 + 12)),
        ("dil_conv_3x3", 1, 9 * 6 + 6 * 6 + 12),
        ("dil_conv_5x5", 2, 25 * 6 + 6 * 6 + 12),
    ],
)
def test_parameters_by_hand(name, stride, parameters):
    """For 6 channels: k^2 C depthwise, C^2 pointwise, 2 C batch norm."""
    assert parameter_count(darts_operation(name, 6, stride)) == parameters


def test_an_input_is_brought_to_the_cell_s_channels_and_size():
    x = torch.randn(2, 6, 8, 8)
    same, halved = (preprocess(6, 4, halve=h) for h in (False, True))
    assert isinstance(same, ReluConvBn)
    assert same.conv.kernel_size == (1, 1)
    assert same(x).shape == (2, 4, 8, 8)
    assert isinstance(halved, FactorizedReduce)
    assert halved(x).shape == (2, 4, 4, 4)


@pytest.mark.parametrize("name", OPERATIONS[3:])
def test_every_parameter_learns(name):
    module = darts_operation(name, 4, 2)
    module(torch.randn(4, 4, 8, 8)).square().sum().backward()
    grads = [p.grad for p in module.parameters()]
    assert grads
    assert all(g is not None and g.any() for g in grads)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: darts_operation("conv", 4), "unknown operation 'conv'; choose from"),
        (lambda: darts_operation("none", 4, 3), "stride must be 1 or 2, got 3"),
        (lambda: darts_operation("none", 0), "channels must be at least 1, got 0"),
        (lambda: Zero(0), "stride must be at least 1, got 0"),
        (lambda: FactorizedReduce(4, 1), "half_of_out_channels must be at least 1"),
        (lambda: FactorizedReduce(0, 4), "in_channels must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_batch_norm_is_the_only_state():
    """Nothing else holds buffers: the operations are plain layers."""
    for name in OPERATIONS:
        module = darts_operation(name, 4)
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())
        assert len(list(module.buffers())) == 3 * norms
