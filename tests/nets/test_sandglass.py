"""The sandglass block against its equations, its counts, and its three forms."""

import pytest
import torch
from torch import nn

from effdl.conv.depthwise import depthwise
from effdl.conv.pointwise import pointwise
from effdl.measure.macs import torch_flops
from effdl.nets.inverted_residual import InvertedResidual
from effdl.nets.sandglass import Sandglass, middle_channels
from on_paper import randomised


@pytest.mark.parametrize(("stride", "n"), [(1, 12), (1, 10), (2, 12)])
def test_block_is_the_five_equations(stride, n):
    """Matrix products and shifted copies; inputs so large that ReLU6 clips."""
    block = randomised(Sandglass(12, n, stride=stride, ratio=4))
    (first, bn1, _), (reduce, bn2), (expand, bn3, _), (last, bn4) = block.layers
    nn.init.constant_(bn3.weight, 10)
    x = 5 * torch.randn(2, 12, 8, 9)

    h = _normalised(depthwise(x, first.weight), bn1).clamp(0, 6)
    assert (h == 6).any()
    h = _normalised(pointwise(h, reduce.weight[:, :, 0, 0]), bn2)
    assert h.shape[1] == 3
    assert (h < 0).any()
    h = _normalised(pointwise(h, expand.weight[:, :, 0, 0]), bn3).clamp(0, 6)
    assert (h == 6).any()
    y = depthwise(h, last.weight)[:, :, ::stride, ::stride]
    y = _normalised(y, bn4)
    if stride == 1 and n == 12:
        y = y + x

    torch.testing.assert_close(block(x), y)


@pytest.mark.parametrize("stride", [1, 2])
def test_macs_by_the_formula(stride):
    """H W (9 c + c m + m n) + (H W / s^2) 9 n; c = n = 24, t = 6, H = W = 8."""
    block = Sandglass(24, 24, stride=stride)
    macs = 64 * (9 * 24 + 24 * 4 + 4 * 24) + 64 // stride**2 * 9 * 24
    assert torch_flops(block, torch.zeros(1, 24, 8, 8)) == 2 * macs


@pytest.mark.parametrize(
    ("c", "n", "t", "m"),
    [
        (192, 192, 6, 32),  # c / t
        (96, 144, 6, 32),  # 16 is less than 144 / 6 = 24, which rounds to 32
        (192, 288, 6, 48),  # 32 is less than 288 / 6 = 48
        (32, 96, 2, 16),  # c / t is 96 / 6
        (96, 96, 2, 48),
        (24, 26, 6, 16),  # 4 is less than 26 / 6
        (4, 6, 6, 16),  # c / t is 0
    ],
)
def test_channels_of_the_middle_by_hand(c, n, t, m):
    assert middle_channels(c, n, t) == m
    with torch.device("meta"):
        assert Sandglass(c, n, ratio=t, depthwise=0).layers[0][0].out_channels == m


def test_pointwise_weights_are_those_of_an_inverted_residual_inside_out():
    """With c = 96 and t = 6, 96-16-96 against 16-96-16."""
    blocks = Sandglass(96, 96), InvertedResidual(16, 16)
    counts = [
        [m.weight.numel() for m in block.modules() if _is_conv(m, side=1)]
        for block in blocks
    ]
    assert counts[0] == counts[1] == [96 * 16, 16 * 96]
    assert [sum(_is_conv(m, side=3) for m in b.modules()) for b in blocks] == [2, 1]


@pytest.mark.parametrize(
    ("depthwise_layers", "sides"), [(2, [3, 1, 1, 3]), (1, [1, 1, 3]), (0, [1, 1])]
)
def test_depthwise_layers_can_be_left_out(depthwise_layers, sides):
    block = Sandglass(12, 18, depthwise=depthwise_layers)
    convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.kernel_size[0] for conv in convs] == sides
    assert block(torch.randn(2, 12, 5, 5)).shape == (2, 18, 5, 5)


def test_the_last_depthwise_layer_takes_the_stride():
    block = Sandglass(12, 18, stride=2)
    convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.stride[0] for conv in convs] == [1, 1, 1, 2]
    assert block(torch.randn(2, 12, 9, 7)).shape == (2, 18, 5, 4)


@pytest.mark.parametrize(
    ("share", "added"), [(1.0, 12), (0.5, 6), (1 / 3, 4), (1 / 6, 2), (0.01, 0)]
)
def test_shortcut_adds_the_first_channels_only(share, added):
    """With the last batch norm at 0, nothing comes out but the shortcut."""
    block = Sandglass(12, 12, identity_share=share).eval()
    nn.init.zeros_(block.layers[-1][1].weight)
    x = torch.randn(2, 12, 5, 5)
    y = block(x)
    assert torch.equal(y[:, :added], x[:, :added])
    assert not y[:, added:].any()


@pytest.mark.parametrize("arguments", [{"out_channels": 18}, {"stride": 2}])
def test_no_shortcut_where_the_shape_changes(arguments):
    block = Sandglass(**{"in_channels": 12, "out_channels": 12} | arguments)
    assert block.added == 0
    assert Sandglass(12, 12).added == 12


def test_the_input_is_left_alone():
    x = torch.randn(2, 12, 5, 5)
    before = x.clone()
    Sandglass(12, 12, depthwise=0, identity_share=0.5)(x)
    assert torch.equal(x, before)


def test_every_parameter_gets_a_gradient():
    block = Sandglass(12, 12)
    block(torch.randn(4, 12, 6, 6)).square().sum().backward()
    for layer in block.layers:
        assert layer[0].weight.grad.any()
        assert layer[1].bias.grad.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sandglass(0, 8), "in_channels must be at least 1, got 0"),
        (lambda: Sandglass(8, 0), "out_channels must be at least 1, got 0"),
        (lambda: Sandglass(8, 8, stride=0), "stride must be at least 1, got 0"),
        (lambda: Sandglass(8, 8, ratio=0), "ratio must be at least 1, got 0"),
        (lambda: Sandglass(8, 8, identity_share=0), "identity_share must be above 0"),
        (lambda: Sandglass(8, 8, identity_share=1.5), "and at most 1, got 1.5"),
        (lambda: Sandglass(8, 8, depthwise=3), r"in 0..2 with stride 1, got 3"),
        (lambda: Sandglass(8, 8, depthwise=-1), r"in 0..2 with stride 1, got -1"),
        (
            lambda: Sandglass(8, 8, depthwise=0, stride=2),
            r"depthwise must be in 1..2 with stride 2, got 0; the last depthwise",
        ),
        (lambda: Sandglass(4, 8)(torch.zeros(1, 3, 5, 5)), "x must have 4 channels"),
        (lambda: middle_channels(8, 8, 0), "ratio must be at least 1, got 0"),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _is_conv(module, *, side):
    return isinstance(module, nn.Conv2d) and module.kernel_size == (side, side)


def _normalised(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    return x * scale[:, None, None] + shift[:, None, None]
