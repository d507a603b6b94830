"""Bits of a quantized network, read and changed in place."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import insert_quantizers
from effdl.quant.quantizers import WeightQuantizer
from effdl.quant.set_bits import set_bits_, weight_quantizers, weight_rounding


def rounded(net, bits):
    bits = iter(bits)
    return insert_quantizers(
        net,
        weight=lambda name, weight: WeightQuantizer(next(bits)),
        activation=lambda name: None,
    )


def test_changed_bits_are_those_of_a_network_made_anew():
    net, x = fold_batch_norm(plain_net(4).eval()), torch.rand(3, 1, 16, 16)
    changed = rounded(net, [8] * 6)
    set_bits_(changed, [2, 4, 8, 8, 4, 4])
    assert torch.equal(changed(x), rounded(net, [2, 4, 8, 8, 4, 4])(x))
    assert not torch.equal(changed(x), rounded(net, [8] * 6)(x))


def test_quantizers_are_named_by_their_layers_in_the_networks_order():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.first(x).relu())

    net = rounded(Backwards(), [3, 5])
    found = weight_quantizers(net)
    assert [(name, q.bits) for name, q in found.items()] == [("first", 3), ("last", 5)]
    assert weight_rounding(net.first) is found["first"]


def test_what_is_not_rounded_by_bits_is_left_out():
    net = insert_quantizers(
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)),
        weight=lambda name, w: nn.Tanh() if name == "0" else WeightQuantizer(4),
        activation=lambda name: None,
    )
    assert list(weight_quantizers(net)) == ["2"]
    assert isinstance(weight_rounding(net.get_submodule("0")), nn.Tanh)
    assert weight_rounding(nn.Linear(2, 2)) is None
    assert weight_rounding(None) is None


def test_bad_input_is_refused():
    net = rounded(nn.Sequential(nn.Linear(2, 2)), [4])
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        set_bits_(net, [1])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        set_bits_(net, [4, 4])
