"""Dilated convolution against its equation, F.conv2d and measured fields."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.dilated import (
    DilatedConv2d,
    dilate_kernel,
    dilated_conv,
    dilated_cost,
    effective_kernel_size,
    receptive_field,
    seen_pixels,
)


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_output_is_the_equation_evaluated_pixel_by_pixel(dilation):
    """Taps d pixels apart, counted from the centre; outside the image are zeros."""
    x, weight = torch.randn(1, 2, 6, 5), torch.randn(3, 2, 3, 3)
    expected = torch.zeros(1, 3, 6, 5)
    taps = (-1, 0, 1)
    for h, w, u, v in itertools.product(range(6), range(5), taps, taps):
        row, column = h + dilation * u, w + dilation * v
        if 0 <= row < 6 and 0 <= column < 5:
            products = weight[:, :, u + 1, v + 1] @ x[0, :, row, column]
            expected[0, :, h, w] += products
    torch.testing.assert_close(dilated_conv(x, weight, dilation), expected)


def test_value_by_hand():
    """Row 1..5 under (100, 10, 1), rate 2: the third is 100 * 1 + 10 * 3 + 5 = 135."""
    x = torch.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1] = torch.tensor([100.0, 10.0, 1.0])
    y = dilated_conv(x, weight, 2)
    assert y.flatten().tolist() == [13.0, 24.0, 135.0, 240.0, 350.0]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_module_formula_and_torch_agree_in_value_and_gradient(dilation, kernel_size):
    layer = DilatedConv2d(4, 6, kernel_size, dilation=dilation)
    x = torch.randn(2, 4, 7, 8)
    padding = dilation * (kernel_size - 1) // 2
    reference = F.conv2d(x, layer.weight, padding=padding, dilation=dilation)
    y = dilated_conv(x, layer.weight, dilation)
    torch.testing.assert_close(layer(x), reference)
    torch.testing.assert_close(y, reference)
    slow, fast = (
        torch.autograd.grad(out.square().sum(), layer.weight) for out in (y, reference)
    )
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_it_is_an_ordinary_convolution_with_zeros_between_the_taps(
    dilation, kernel_size
):
    x, weight = torch.randn(1, 2, 15, 15), torch.randn(3, 2, kernel_size, kernel_size)
    stuffed = dilate_kernel(weight, dilation)
    span = effective_kernel_size(kernel_size, dilation)
    assert stuffed.shape == (3, 2, span, span)
    torch.testing.assert_close(
        F.conv2d(x, stuffed), F.conv2d(x, weight, dilation=dilation)
    )


def test_rate_1_is_the_ordinary_convolution_bit_for_bit():
    layer, x = DilatedConv2d(4, 6, dilation=1), torch.randn(2, 4, 7, 8)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, padding=1))
    assert torch.equal(dilate_kernel(layer.weight, 1), layer.weight)


def test_stride_leaves_outputs_out():
    layer, x = DilatedConv2d(4, 6, stride=2), torch.randn(2, 4, 7, 8)
    expected = dilated_conv(x, layer.weight, 2)[:, :, ::2, ::2]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("dilation", "span"), [(1, 3), (2, 5), (4, 9)])
def test_the_field_of_one_layer_is_its_effective_kernel(dilation, span):
    """Rate 1 sees 3 x 3; it takes rate 2 to see as far as 5 x 5."""
    layer = DilatedConv2d(2, 3, dilation=dilation)
    seen = seen_pixels(layer, torch.randn(1, 2, 15, 15))
    assert extent(seen) == (span, span)
    assert int(seen.sum()) == 9
    assert effective_kernel_size(3, dilation) == span
    assert receptive_field([dilation]) == span


@pytest.mark.parametrize("rates", [(1,), (1, 1, 1), (1, 2), (1, 2, 4), (2, 2)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_field_of_a_stack_is_the_measured_one(rates, kernel_size):
    layers = [DilatedConv2d(2, 2, kernel_size, dilation=d) for d in rates]
    seen = seen_pixels(nn.Sequential(*layers), torch.randn(1, 2, 31, 31))
    field = receptive_field(rates, kernel_size)
    assert extent(seen) == (field, field)


def test_yu_and_koltun_reach_15_with_three_layers():
    assert receptive_field([1, 2, 4]) == 15
    assert receptive_field([]) == 1


def test_equal_rates_leave_a_grid_of_unseen_pixels():
    gridded = nn.Sequential(DilatedConv2d(1, 2), DilatedConv2d(2, 1))
    varied = nn.Sequential(DilatedConv2d(1, 2, dilation=1), DilatedConv2d(2, 1))
    x = torch.randn(1, 1, 15, 15)
    seen = seen_pixels(gridded, x)[3:12, 3:12]  # 9 x 9: every second row and column
    assert seen[::2, ::2].all()
    assert int(seen.sum()) == 25
    assert seen_pixels(varied, x)[4:11, 4:11].all()  # 7 x 7, without a gap


def test_measuring_leaves_inputs_and_weights_alone():
    layer, x = DilatedConv2d(1, 1), torch.randn(1, 1, 7, 7)
    with torch.no_grad():
        assert seen_pixels(layer, x).shape == (7, 7)
    assert x.grad is None
    assert layer.weight.grad is None


def test_measuring_leaves_batch_norm_and_modes_alone():
    """Frozen or not; and what batch norm mixes in training is not taken for seen."""
    model = nn.Sequential(DilatedConv2d(1, 2), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    model[2].eval()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    assert int(seen_pixels(model, torch.randn(2, 1, 9, 9)).sum()) == 9
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert [module.training for module in model] == [True, True, False]


def test_pixels_of_all_images_and_channels_count():
    """The weight of channel 0 is zero, so that only channel 1 is seen."""
    layer = DilatedConv2d(2, 1, 1, dilation=1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.0, -1.0]).reshape(1, 2, 1, 1))
    assert seen_pixels(layer, torch.zeros(3, 2, 4, 5)).nonzero().tolist() == [[2, 2]]


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_cost_is_what_torch_counts_at_every_rate(dilation):
    layer, x = DilatedConv2d(4, 6, dilation=dilation), torch.zeros(1, 4, 9, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    cost = dilated_cost(4, 6, 3, (9, 7))
    assert cost.parameters == layer.weight.numel()
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == x.numel() + layer.weight.numel() + y.numel()


def test_the_default_is_a_rate_that_differs_from_the_ordinary_convolution():
    layer = DilatedConv2d(4, 8)
    assert (layer.dilation, layer.kernel_size, layer.bias) == ((2, 2), (3, 3), None)


def test_every_parameter_learns():
    layer = DilatedConv2d(3, 8)
    layer(torch.randn(4, 3, 6, 6)).square().sum().backward()
    assert layer.weight.grad.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"dilation": 0}, "dilation must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 2}, "kernel_size must be odd, got 2; use 1 or 3"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DilatedConv2d(**{"in_channels": 4, "out_channels": 8} | arguments)


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
        DilatedConv2d(4, 8)(torch.zeros(shape))
    with pytest.raises(ValueError, match=message):
        dilated_conv(torch.zeros(shape), torch.zeros(8, 4, 3, 3), 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dilated_conv(torch.zeros(1, 4, 5, 5), torch.zeros(8, 4, 2, 2), 2),
         "kernel_size must be odd, got 2"),
        (lambda: dilated_conv(torch.zeros(1, 4, 5, 5), torch.zeros(8, 4, 1, 3), 2),
         "weight must be .*pad the shorter side"),
        (lambda: dilated_conv(torch.zeros(1, 4, 5, 5), torch.zeros(8, 4, 3, 3), 0),
         "dilation must be at least 1, got 0"),
        (lambda: dilate_kernel(torch.zeros(8, 4, 3, 3), 0),
         "dilation must be at least 1, got 0"),
        (lambda: effective_kernel_size(0, 1), "kernel_size must be at least 1, got 0"),
        (lambda: receptive_field([1, 0]), "dilation must be at least 1, got 0"),
        (lambda: seen_pixels(nn.Identity(), torch.zeros(0, 1, 5, 5)), "x is empty"),
    ],
)  # fmt: skip
def test_bad_weights_and_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def extent(seen: torch.Tensor) -> tuple[int, int]:
    """Return height and width of the smallest rectangle around all seen pixels."""
    places = seen.nonzero()
    height, width = (places.amax(dim=0) - places.amin(dim=0) + 1).tolist()
    return height, width
