"""Squeeze-and-Excitation against its equations, timm, torchvision and its limits."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.squeeze_excite import (
    SqueezeExcite,
    channel_gate,
    squeeze_excite,
    squeeze_excite_cost,
)


def test_output_is_the_equations_evaluated_image_by_image():
    x = torch.randn(3, 8, 4, 5)
    w1, b1, w2, b2 = (torch.randn(s) for s in ((2, 8), (2,), (8, 2), (8,)))
    for image, y, gate in zip(
        x,
        squeeze_excite(x, (w1, b1), (w2, b2)),
        channel_gate(x, (w1, b1), (w2, b2)),
        strict=True,
    ):
        z = torch.stack([channel.sum() / 20 for channel in image])  # eq. 2
        hidden = w1 @ z + b1
        hidden = torch.where(hidden > 0, hidden, torch.zeros(2))
        s = 1 / (1 + torch.exp(-(w2 @ hidden + b2)))  # eq. 3
        torch.testing.assert_close(gate, s)
        for c in range(8):
            torch.testing.assert_close(y[c], s[c] * image[c])  # eq. 4


def test_value_by_hand():
    """Means 2 and 5; relu(2 - 5 + 4) = 1; sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2."""
    x = torch.tensor([[1.0, 3.0], [4.0, 6.0]]).reshape(1, 2, 1, 2)
    reduce = torch.tensor([[1.0, -1.0]]), torch.tensor([4.0])
    expand = torch.tensor([[math.log(3)], [1.0]]), torch.tensor([0.0, -1.0])
    y = squeeze_excite(x, reduce, expand).flatten()
    torch.testing.assert_close(y, torch.tensor([0.75, 2.25, 2.0, 3.0]))


def test_agrees_with_timm():
    layers = pytest.importorskip("timm.layers")
    theirs = layers.SqueezeExcite(32, rd_channels=2)
    check_against(theirs, x=torch.randn(2, 32, 5, 6))


def test_agrees_with_torchvision():
    ops = pytest.importorskip("torchvision.ops")
    check_against(ops.SqueezeExcitation(32, 2), x=torch.randn(2, 32, 5, 6))


def test_module_and_formula_agree():
    layer, x = SqueezeExcite(8, reduction=4), torch.randn(2, 8, 5, 6)
    reduce = layer.reduce.weight, layer.reduce.bias
    expand = layer.expand.weight, layer.expand.bias
    torch.testing.assert_close(layer(x), squeeze_excite(x, reduce, expand))
    torch.testing.assert_close(layer.gate(x), channel_gate(x, reduce, expand))
    assert layer.gate(x).shape == (2, 8)


def test_a_wide_open_gate_is_the_identity_and_a_shut_one_is_zero():
    layer, x = SqueezeExcite(16), torch.randn(2, 16, 5, 6)
    nn.init.zeros_(layer.expand.weight)
    nn.init.constant_(layer.expand.bias, 100.0)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.expand.bias, -200.0)
    assert not layer(x).any()


def test_the_gate_sees_the_mean_and_not_where_things_are():
    layer, x = SqueezeExcite(16), torch.randn(2, 16, 5, 6)
    moved = x.flatten(2)[:, :, torch.randperm(30)].unflatten(2, (5, 6))
    torch.testing.assert_close(layer.gate(moved), layer.gate(x))
    assert not torch.allclose(layer.gate(x + 1), layer.gate(x))


def test_images_do_not_see_each_other():
    layer, x = SqueezeExcite(16), torch.randn(3, 16, 5, 6)
    alone = torch.cat([layer(image[None]) for image in x])
    torch.testing.assert_close(layer(x), alone)


@pytest.mark.parametrize("reduction", [2, 16])
def test_cost_is_what_torch_counts(reduction):
    layer, x = SqueezeExcite(32, reduction=reduction), torch.zeros(1, 32, 5, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x)
    parameters = sum(p.numel() for p in layer.parameters())
    cost = squeeze_excite_cost(32, (5, 7), reduction=reduction)
    assert cost.parameters == parameters
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == 3 * x.numel() + parameters


def test_seresnet50_has_as_many_parameters_more_than_resnet50_as_the_formula_says():
    """Stages of 3, 4, 6, 3 blocks, 256 to 2048 channels: 2,530,992 in all."""
    timm = pytest.importorskip("timm")
    stages = [(3, 256), (4, 512), (6, 1024), (3, 2048)]
    ours = sum(n * squeeze_excite_cost(c, 1).parameters for n, c in stages)
    with torch.device("meta"):
        with_it, without = (timm.create_model(m) for m in ("seresnet50", "resnet50"))
    counts = [sum(p.numel() for p in net.parameters()) for net in (with_it, without)]
    assert counts[0] - counts[1] == ours == 2_530_992


def test_the_default_reduction_is_that_of_the_paper():
    assert SqueezeExcite(64).reduce.weight.shape == (4, 64)
    assert squeeze_excite_cost(64, 5) == squeeze_excite_cost(64, 5, reduction=16)


def test_every_parameter_learns():
    layer = SqueezeExcite(8, reduction=2)
    layer(torch.randn(16, 8, 6, 6) + 1).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"reduction": 0}, "reduction must be at least 1, got 0"),
        ({"reduction": 5}, "reduction=5 must divide channels, got 32; use 30 or 35"),
        ({"channels": 8}, "reduction=16 must divide channels, got 8; use 16"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    arguments = {"channels": 32} | arguments
    with pytest.raises(ValueError, match=message):
        SqueezeExcite(**arguments)
    with pytest.raises(ValueError, match=message):
        squeeze_excite_cost(**arguments, output_size=5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 32, 5, 5), r"x is empty, shape \(0, 32, 5, 5\)"),
        ((32, 5, 5), r"must be \(N, C, H, W\), got shape \(32, 5, 5\)"),
        ((2, 3, 5, 5), "x must have 32 channels in dimension 1, got 3"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        SqueezeExcite(32)(torch.zeros(shape))


def check_against(theirs: nn.Module, x: torch.Tensor) -> None:
    """Compare with a block of two 1 x 1 convolutions once the weights are copied."""
    ours = SqueezeExcite(32)
    with torch.no_grad():
        for linear, conv in ((ours.reduce, theirs.fc1), (ours.expand, theirs.fc2)):
            linear.weight.copy_(conv.weight.flatten(1))
            linear.bias.copy_(conv.bias)
    torch.testing.assert_close(ours(x), theirs(x))
