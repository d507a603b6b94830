"""Closed-form costs against counted parameters, a FLOP counter and loops."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.cost import ConvCost, conv_cost, pixels

SHAPES = [(3, 8, 3, 1), (6, 4, 1, 2), (4, 8, 5, 4)]


@pytest.mark.parametrize(("c", "n", "k", "g"), SHAPES)
def test_macs_are_the_steps_of_the_loops(c, n, k, g):
    """One step for every output, every weight that it meets: seven loops, counted."""
    loops = [range(r) for r in (g, n // g, c // g, k, k, 2, 3)]
    steps = sum(1 for _ in itertools.product(*loops))
    assert conv_cost(c, n, k, (2, 3), groups=g).macs == steps


def test_value_by_hand():
    """Of 2 channels 3, 3 x 3, on 4 x 5: 54 weights, 1080 MACs, 40 + 54 + 60 moved."""
    assert conv_cost(2, 3, 3, (4, 5)) == ConvCost(54, 1080, 154)
    assert conv_cost(2, 3, 3, (4, 5), bias=True) == ConvCost(57, 1080, 157)


@pytest.mark.parametrize(("c", "n", "k", "g"), SHAPES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_all_three_are_what_torch_counts(c, n, k, g, stride, bias):
    layer = nn.Conv2d(c, n, k, stride, k // 2, groups=g, bias=bias)
    x = torch.zeros(1, c, 9, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    cost = conv_cost(
        c, n, k, tuple(y.shape[2:]), groups=g, input_size=(9, 7), bias=bias
    )
    parameters = sum(p.numel() for p in layer.parameters())
    assert cost.parameters == parameters
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == x.numel() + parameters + y.numel()


def test_resnet50_is_the_sum_of_its_convolutions():
    """He et al. 2016 publish 3.8e9 MACs; the torchvision variant is 4.089e9."""
    resnet50 = pytest.importorskip("torchvision").models.resnet50
    with torch.device("meta"):
        net, x = resnet50(), torch.zeros(1, 3, 224, 224)
    total = []

    def note(layer, _inputs, y):
        total.append(
            conv_cost(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size[0],
                tuple(y.shape[2:]),
                groups=layer.groups,
            ).macs
        )

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    net(x)
    assert sum(total) + 2048 * 1000 == 4_089_184_256  # the last layer is linear


def test_costs_in_sequence_add_up():
    assert ConvCost(1, 20, 300) + ConvCost(4, 50, 600) == ConvCost(5, 70, 900)


def test_intensity_is_the_macs_for_each_number_moved():
    assert ConvCost(1, 300, 20).intensity == 15.0


def test_input_size_is_the_output_size_unless_given():
    assert conv_cost(2, 2, 3, 8) == conv_cost(2, 2, 3, 8, input_size=8)
    wider = conv_cost(2, 2, 3, 8, input_size=16)
    assert wider.memory_access - conv_cost(2, 2, 3, 8).memory_access == 2 * (256 - 64)


def test_a_single_side_means_a_square():
    assert conv_cost(2, 2, 3, 7) == conv_cost(2, 2, 3, (7, 7))
    assert pixels(7) == 49
    assert pixels((2, 5)) == 10


def test_sizes_of_numpy_and_torch_are_sizes():
    assert pixels(np.int32(70_000)) == 4_900_000_000
    assert pixels(torch.zeros(2, 5).shape) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, "out_channels must be at least 1, got -1"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"groups": 3}, "groups=3 must divide in_channels, got 4; use 3 or 6"),
        ({"out_channels": 6, "groups": 4}, "groups=4 must divide out_channels, got 6"),
        ({"output_size": 0}, "height must be at least 1, got 0"),
        ({"output_size": (2, 0)}, "width must be at least 1, got 0"),
        ({"input_size": 0}, "height must be at least 1, got 0"),
        ({"output_size": 2.5}, "height must be a whole number, got 2.5"),
        ({"output_size": (2, 3, 4)}, r"size must be H or .*got \(2, 3, 4\)"),
        (
            {"output_size": (2,)},
            r"size must be H or \(H, W\), got \(2,\); give the two",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"in_channels": 4, "out_channels": 8, "kernel_size": 3, "output_size": 5}
    with pytest.raises(ValueError, match=message):
        conv_cost(**good | arguments)
