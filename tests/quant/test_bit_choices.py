"""The space of bits: how large it is, what a member costs."""

import itertools

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.measure.macs import count_macs
from effdl.nas.space_size import independent_choices
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.bit_choices import (
    LayerSize,
    bit_operations,
    bit_space,
    bits_of,
    layer_sizes,
    uniform_choices,
    weight_bits,
)
from effdl.quant.graph import fold_batch_norm
from effdl.quant.quantizers import WeightQuantizer


def test_the_space_of_four_layers_is_all_combinations_each_once():
    space = bit_space(4)
    members = [bits_of(space, choices) for choices in space.all_choices()]
    assert members == list(itertools.product((2, 4, 8), repeat=4))
    assert len(set(members)) == space.size == 81


def test_fifty_layers_with_eight_bits_for_weight_and_input_are_2_to_the_300():
    """8 * 8 = 64 = 2^6 pairs a layer, and (2^6)^50 = 2^300, about 2.0e90."""
    assert independent_choices([8 * 8] * 50) == 64**50 == 2**300
    assert bit_space(50, range(2, 10)).size ** 2 == 2**300
    assert f"{2**300:.1e}" == "2.0e+90"


def test_uniform_members_are_in_the_space():
    space = bit_space(5)
    uniform = uniform_choices(space)
    assert [bits_of(space, u) for u in uniform] == [(2,) * 5, (4,) * 5, (8,) * 5]
    assert set(uniform) <= set(space.all_choices())


def test_candidates_make_quantizers_of_their_bits():
    layer = bit_space(1, (3, 5)).layers[0]
    made = [make() for make in layer.values()]
    assert [(type(m), m.bits) for m in made] == [
        (WeightQuantizer, 3),
        (WeightQuantizer, 5),
    ]


def test_costs_by_hand():
    """Weights 10 * 2 + 100 * 8 = 820; operations 50 * 2 * 8 + 200 * 8 * 4 = 7,200."""
    sizes = [LayerSize("a", 10, 50), LayerSize("b", 100, 200)]
    assert weight_bits((2, 8), sizes) == 820
    assert bit_operations((2, 8), (8, 4), sizes) == 7200


@pytest.mark.parametrize("make", [lambda: plain_net(4), small_mobilenet_v2])
def test_sizes_are_those_of_the_counters(make):
    net, images = fold_batch_norm(make().eval()), torch.zeros(2, 1, 16, 16)
    sizes = layer_sizes(net, images)
    weights = {n: m.weight for n, m in net.named_modules() if hasattr(m, "weight")}
    assert {s.name: s.weights for s in sizes} == {
        n: w.numel() for n, w in weights.items()
    }
    assert sum(s.macs for s in sizes) == count_macs(net, images[:1]).total


def test_sizes_come_in_the_order_in_which_layers_run_and_leave_no_trace():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            assert not self.training
            return self.last(self.first(x))

    net = Backwards().train()
    assert [s.name for s in layer_sizes(net, torch.zeros(1, 4))] == ["first", "last"]
    assert net.training
    assert not net.first._forward_hooks


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"candidates must differ, got \[2, 2\]"):
        bit_space(3, (2, 2))
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        bit_space(0)
    with pytest.raises(ValueError, match="has no candidate"):
        bit_space(2, ())
    with pytest.raises(ValueError, match=r"shorter|longer"):
        weight_bits((2,), [LayerSize("a", 1, 1)] * 2)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        bit_operations((2, 2), (8,), [LayerSize("a", 1, 1)] * 2)
