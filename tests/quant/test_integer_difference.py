"""How far integers are from fake quantization: after one layer, and after many."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.fake import quantize
from effdl.quant.fixed_point import rescale_once
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers, quantizers_of
from effdl.quant.integer_difference import (
    Difference,
    difference,
    differences,
    fake_integers,
)
from effdl.quant.integer_layers import Requantize
from effdl.quant.integer_net import to_integers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


def made(net, x, bits=8):
    net.train()
    with torch.no_grad():
        for _ in range(10):
            net(x)
    quantized = insert_quantizers(
        fold_batch_norm(net.eval()),
        weight=lambda name, w: WeightQuantizer(bits),
        activation=lambda name: ActivationQuantizer(Extremes(), bits),
    )
    calibrate_(quantized, [(x, None)])
    return quantized, to_integers(quantized)


@pytest.fixture(scope="module")
def mobile():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(100, 1, 16, 16)
        return *made(small_mobilenet_v2(), x), x


def test_a_layer_is_at_most_one_step_apart_and_seldom(mobile):
    found = differences(*mobile, layer_by_layer=True)
    assert len(found) == 21
    assert {name for name in found if name.startswith("add")} == {
        "add",
        "add_1",
        "add_2",
    }
    assert max(layer.largest for layer in found.values()) == 1
    assert max(layer.share for layer in found.values()) < 0.02


def test_differences_add_up_over_the_layers(mobile):
    alone = list(differences(*mobile, layer_by_layer=True).values())
    handed_on = list(differences(*mobile).values())
    assert handed_on[0] == alone[0]
    assert handed_on[-2].share > 5 * max(layer.share for layer in alone)


def test_most_of_a_layer_comes_from_rounding_twice(mobile):
    quantized, integers, x = mobile
    once = copy.deepcopy(integers)
    for module in once.modules():
        if isinstance(module, Requantize):
            module.rescale = rescale_once
    shares = [
        sum(
            d.share
            for d in differences(quantized, net, x, layer_by_layer=True).values()
        )
        for net in (once, integers)
    ]
    assert shares[0] < 0.6 * shares[1]


def test_it_is_counted_beside_fake_quantization_layer_by_layer():
    x = torch.randn(50, 1, 12, 12)
    quantized, integers = made(plain_net(2), x)
    faked = fake_integers(quantized, integers, x)
    assert list(faked) == list(quantizers_of(quantized))
    assert torch.equal(faked["input"], quantize(x, integers.source))
    with torch.no_grad():
        assert torch.equal(faked["7"], quantize(quantized(x), integers.target))
    first = integers.layers[0](faked["input"])
    steps = (first - faked["0.2"]).abs()
    expected = Difference(float((steps > 0).double().mean()), int(steps.max()))
    assert differences(quantized, integers, x)["0.2"] == expected
    second = integers.layers[1](faked["0.2"])
    found = differences(quantized, integers, x, layer_by_layer=True)["1.2"]
    assert found == difference(second, faked["1.2"])
    found = differences(quantized, integers, x)["1.2"]
    assert found == difference(integers.layers[1](first), faked["1.2"])


def test_it_runs_in_eval_mode_and_nothing_is_left_behind():
    x = torch.randn(50, 4)
    quantized, integers = made(nn.Sequential(nn.Dropout(), nn.Linear(4, 3)), x)
    expected = fake_integers(quantized, integers, x)["1"]
    quantized.train()
    assert torch.equal(fake_integers(quantized, integers, x)["1"], expected)
    assert quantized.training
    for quantizer in quantizers_of(quantized).values():
        assert not quantizer._forward_hooks


def test_by_hand():
    """5 of 8 are the same; the others are 1, 2 and 1 apart."""
    first = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    second = torch.tensor([[0, 2, 2, 3], [2, 5, 7, 7]])
    assert difference(first, second) == Difference(0.375, 2)
    assert difference(first, first) == Difference(0.0, 0)


def test_other_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"must have one shape, got \(2,\) and \(1, 2\)"
    ):
        difference(torch.ones(2), torch.ones(1, 2))
    net = nn.Sequential(nn.Linear(2, 2))
    quantized, integers = made(net, torch.rand(3, 2))
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        fake_integers(quantized, integers, torch.tensor([[float("nan"), 1.0]]))
