"""Partial convolution against its equations, timm and an ordinary convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.cost import conv_cost
from effdl.conv.partial import (
    PartialConv2d,
    partial_conv,
    partial_conv_,
    partial_cost,
    partial_saving,
    touched_channels,
)


def test_output_is_the_equations_evaluated_channel_by_channel():
    x, weight = torch.randn(2, 8, 5, 6), torch.randn(3, 3, 3, 3)
    for o, y in enumerate(partial_conv(x, weight).unbind(dim=1)):
        expected = x[:, o]
        if o < 3:
            terms = [
                F.conv2d(x[:, c : c + 1], weight[o : o + 1, c : c + 1], padding=1)
                for c in range(3)
            ]
            expected = sum(terms)[:, 0]
        torch.testing.assert_close(y, expected)


def test_value_by_hand():
    """Pixel (1, 2, 3), of which two channels are touched: 1 + 20, 3 + 8, and 3."""
    x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    weight = torch.tensor([[1.0, 10.0], [3.0, 4.0]])[:, :, None, None]
    assert partial_conv(x, weight).flatten().tolist() == [21.0, 11.0, 3.0]


@pytest.mark.parametrize("form", ["split_cat", "slicing"])
@pytest.mark.parametrize(("channels", "divisor"), [(16, 4), (10, 4), (12, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_agrees_with_timm(form, channels, divisor, training):
    fasternet = pytest.importorskip("timm.models.fasternet")
    theirs = fasternet.Partial_conv3(channels, divisor, form).train(training)
    ours = PartialConv2d(channels, share=1 / divisor).train(training)
    ours.conv.load_state_dict(theirs.partial_conv3.state_dict())
    x = torch.randn(2, channels, 7, 6)
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(ours(x), theirs(x))


def test_it_is_an_ordinary_convolution_with_identities_on_the_other_channels():
    layer, x = PartialConv2d(8), torch.randn(2, 8, 5, 6)
    dense = torch.zeros(8, 8, 3, 3)
    dense[:2, :2] = layer.conv.weight.detach()
    dense[range(2, 8), range(2, 8), 1, 1] = 1.0
    torch.testing.assert_close(layer(x), F.conv2d(x, dense, padding=1))


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_layer_is_the_formula(kernel_size):
    layer, x = PartialConv2d(8, kernel_size), torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(layer(x), partial_conv(x, layer.conv.weight))


def test_a_hook_on_the_convolution_sees_its_channels_only():
    """What counts, times or quantizes layers finds the convolution by its hooks."""
    layer, seen = PartialConv2d(8), []
    layer.conv.register_forward_hook(lambda _, x, y: seen.append((x[0].shape, y.shape)))
    layer(torch.randn(2, 8, 5, 6))
    assert seen == [((2, 2, 5, 6), (2, 2, 5, 6))]


def test_in_place_form_returns_its_argument_changed():
    x, weight = torch.randn(2, 8, 5, 6), torch.randn(2, 2, 3, 3)
    expected = partial_conv(x, weight)
    assert partial_conv_(x, weight) is x
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("gradients", [True, False])
def test_the_layer_leaves_its_input_alone(gradients):
    layer, x = PartialConv2d(8).eval(), torch.randn(2, 8, 5, 6)
    before = x.clone()
    with torch.set_grad_enabled(gradients):
        layer(x)
    assert torch.equal(x, before)


def test_untouched_channels_pass_on_bit_for_bit():
    layer, x = PartialConv2d(16), torch.randn(2, 16, 5, 6)
    y = layer(x)
    assert torch.equal(y[:, 4:], x[:, 4:])
    assert not torch.isclose(y[:, :4], x[:, :4]).all()


def test_the_whole_share_is_the_ordinary_convolution():
    layer, x = PartialConv2d(6, share=1.0), torch.randn(2, 6, 5, 6)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.conv.weight, padding=1))


@pytest.mark.parametrize(
    ("channels", "share", "touched"),
    [(64, 0.25, 16), (10, 0.25, 2), (11, 0.25, 2), (100, 0.29, 29), (9, 1 / 3, 3)],
)
def test_the_share_is_rounded_down_but_for_rounding_errors(channels, share, touched):
    """100 * 0.29 is 28.999999999999996 in floating point."""
    assert touched_channels(channels, share) == touched
    layer = PartialConv2d(channels, share=share)
    assert layer.conv.weight.shape == (touched, touched, 3, 3)


@pytest.mark.parametrize(("channels", "share"), [(8, 0.25), (10, 0.25), (8, 0.5)])
def test_cost_is_what_torch_counts(channels, share):
    layer, x = PartialConv2d(channels, share=share), torch.zeros(1, channels, 5, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x)
    cost = partial_cost(channels, 3, (5, 7), share=share)
    assert cost.parameters == layer.conv.weight.numel()
    assert 2 * cost.macs == counter.get_total_flops()


def test_memory_access_is_the_formula_of_the_paper():
    """With h = w = 56, c = 64, c_p = 16: 2 c_p h w + k^2 c_p^2, a quarter or so."""
    cost = partial_cost(64, 3, 56)
    assert cost.memory_access == 56 * 56 * 2 * 16 + 9 * 16 * 16
    dense = conv_cost(64, 64, 3, 56)
    assert dense.memory_access / cost.memory_access == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_saving_is_the_ratio_of_the_costs(share):
    """Parameters and MACs alike; 16 for the share of the paper."""
    dense, cheap = conv_cost(16, 16, 3, 9), partial_cost(16, 3, 9, share=share)
    assert partial_saving(share) == dense.macs / cheap.macs
    assert partial_saving(share) == dense.parameters / cheap.parameters


def test_defaults_are_those_of_the_paper():
    assert PartialConv2d(16).conv.weight.shape == (4, 4, 3, 3)
    assert PartialConv2d(16).conv.bias is None
    assert partial_cost(16, 3, 9) == partial_cost(16, 3, 9, share=0.25)
    assert partial_saving() == 16.0


def test_parameters_and_inputs_get_gradients():
    layer, x = PartialConv2d(8), torch.randn(4, 8, 6, 6, requires_grad=True)
    layer(x).square().sum().backward()
    assert layer.conv.weight.grad.all()
    assert x.grad.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4; use 3 or 5"),
        ({"share": 0.0}, r"share must be above 0 and at most 1, got 0\.0"),
        ({"share": 4}, "share must be above 0 and at most 1, got 4"),
        ({"channels": 3}, r"share=0\.25 of channels=3 is less than one channel; use a "
                          r"share of at least 0\.3334"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PartialConv2d(**{"channels": 16} | arguments)


@pytest.mark.parametrize("channels", [3, 9, 12, 7001])
def test_the_share_in_the_message_is_the_cure(channels):
    with pytest.raises(ValueError, match="is less than one channel") as caught:
        touched_channels(channels, 1e-6)
    advice = float(str(caught.value).rpartition(" ")[2])
    assert touched_channels(channels, advice) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 8, 5, 5), r"x is empty, shape \(0, 8, 5, 5\)"),
        ((8, 5, 5), r"must be \(N, C, H, W\), got shape \(8, 5, 5\)"),
        ((2, 3, 5, 5), "x must have 8 channels in dimension 1, got 3"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        PartialConv2d(8)(torch.zeros(shape))


@pytest.mark.parametrize("form", [partial_conv, partial_conv_])
@pytest.mark.parametrize(
    ("shape", "weight", "message"),
    [
        ((4, 5, 5), (2, 2, 3, 3), r"x must be \(N, C, H, W\)"),
        ((1, 4, 5, 5), (2, 2, 2, 2), "kernel_size must be odd, got 2"),
        ((1, 4, 5, 5), (2, 4, 3, 3), r"weight must have 2 .*make it \(2, 2, 3, 3\)"),
        ((1, 4, 5, 5), (), r"weight must be \(n, c, k, k\), got shape \(\)"),
        ((1, 4, 5, 5), (5, 5, 3, 3), "weight convolves 5 channels, but x has 4"),
    ],
)
def test_bad_weights_are_named(form, shape, weight, message):
    with pytest.raises(ValueError, match=message):
        form(torch.zeros(shape), torch.zeros(weight))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_saving_needs_a_share(share):
    with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
        partial_saving(share)
