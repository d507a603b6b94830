"""Pairs cut to 16 bits: the rule, when it bites, and what a network makes of it."""

from itertools import product

import pytest
import torch
from torch import nn

from effdl.quant.fixed_point import fixed_point
from effdl.quant.grid import Grid
from effdl.quant.integer_layers import IntegerLayer, Requantize
from effdl.quant.integer_net import IntegerNet
from effdl.quant.integer_steps import Step
from effdl.quant.saturation import (
    SaturatingLayer,
    largest_safe_weight,
    pairs,
    saturating_dot,
    saturating_net,
)

BYTES = Grid(torch.tensor(1.0), torch.tensor(5), 0, 255)
WIDE = Grid(torch.tensor(1.0), torch.tensor(0), -(2**31), 2**31 - 1)
ONE = fixed_point(torch.tensor(1.0))


def literal_dot(x, w):
    total = 0
    for i in range(0, len(x), 2):
        pair = sum(a * b for a, b in zip(x[i : i + 2], w[i : i + 2], strict=True))
        total += min(max(pair, -32768), 32767)
    return total


def exact_layer(like, largest=127, bias=True):
    weight = torch.randint(-largest, largest + 1, like.weight.shape)
    shift = torch.randint(-99, 99, (len(weight),)) * bias
    return IntegerLayer(weight, shift, BYTES, Requantize(ONE, WIDE), like)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_the_sum_is_that_of_a_loop_over_pairs(length):
    x = torch.randint(0, 256, (200, length), dtype=torch.int32)
    w = torch.randint(-128, 128, (200, length), dtype=torch.int32)
    expected = [literal_dot(*rows) for rows in zip(x.tolist(), w.tolist(), strict=True)]
    assert torch.equal(saturating_dot(x, w), torch.tensor(expected).int())


def test_by_hand():
    """255 (127 + 2) = 32895 is cut to 32767; -255 * 256 = -65280 to -32768."""
    x = torch.full((2,), 255, dtype=torch.int32)
    for w, sum_, kept in (([127, 2], 32895, 32767), ([-128, -128], -65280, -32768)):
        weight = torch.tensor(w, dtype=torch.int32)
        assert pairs(x, weight).tolist() == [sum_]
        assert saturating_dot(x, weight).item() == kept


def test_seven_bits_never_saturate_and_one_step_more_can():
    assert largest_safe_weight() == 64
    w = torch.tensor([*product((-64, 64, 63), repeat=2)], dtype=torch.int32)
    x = torch.tensor([*product((0, 1, 254, 255), repeat=2)], dtype=torch.int32)
    found = pairs(x[:, None], w)
    assert torch.equal(found, found.clamp(-32768, 32767))
    bright, more = (torch.full((2,), v, dtype=torch.int32) for v in (255, 65))
    assert saturating_dot(bright, more).item() == 32767 < 2 * 255 * 65


def test_the_safe_weight_is_the_largest_whose_pairs_all_fit():
    for largest in (1, 15, 63, 100, 127, 128, 200, 255):
        safe = largest_safe_weight(largest)
        assert 2 * largest * safe <= 32767 < 2 * largest * (safe + 1)


def test_signed_bytes_on_both_sides_fit_if_weights_leave_out_minus_128():
    assert largest_safe_weight(128) == 127


@pytest.mark.parametrize(
    "like",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), groups=2),
        nn.Conv2d(4, 3, 1),
    ],
    ids=["3x3", "depthwise", "odd", "pointwise"],
)
def test_with_small_weights_a_layer_computes_the_exact_totals(like):
    layer = exact_layer(like, largest=64)
    q = torch.randint(0, 256, (2, 4, 6, 5), dtype=torch.int32)
    saturating = SaturatingLayer(layer)
    assert torch.equal(saturating.totals(q), layer.totals(q))
    assert saturating.cut == 0
    flat = exact_layer(nn.Linear(5, 3), largest=64)
    row = torch.randint(0, 256, (4, 5), dtype=torch.int32)
    assert torch.equal(SaturatingLayer(flat)(row), flat(row))


def test_channels_of_a_pixel_are_neighbours_then_pixels():
    like = nn.Conv2d(2, 1, (1, 2), bias=False)
    layer = exact_layer(like, bias=False)
    layer.zero_point = 0
    layer.weight.copy_(torch.tensor([[[[127, 0]], [[127, 0]]]]))
    q = torch.full((1, 2, 1, 2), 255, dtype=torch.int32)
    assert SaturatingLayer(layer).totals(q).item() == 32767
    layer.weight.copy_(torch.tensor([[[[127, 127]], [[0, 0]]]]))
    assert SaturatingLayer(layer).totals(q).item() == 2 * 255 * 127


def test_it_cuts_raw_inputs_before_the_zero_point_is_taken_off():
    layer = exact_layer(nn.Linear(2, 1), bias=False)
    layer.weight.fill_(127)
    q = torch.tensor([[255, 255]], dtype=torch.int32)
    saturating = SaturatingLayer(layer)
    assert saturating.totals(q).item() == 32767 - 5 * 2 * 127
    assert saturating.cut == 1


def test_the_share_that_is_cut_counts_pairs():
    layer = exact_layer(nn.Linear(4, 2), bias=False)
    layer.weight.copy_(torch.tensor([[127, 127, 0, 0], [1, 1, 1, 1]]))
    saturating = SaturatingLayer(layer)
    saturating(torch.full((3, 4), 255, dtype=torch.int32))
    assert saturating.cut == 0.25


def test_a_network_has_all_its_layers_replaced_in_a_copy():
    layers = [exact_layer(nn.Linear(4, 4)) for _ in range(2)]
    for layer in layers:
        layer.requantize = Requantize(fixed_point(torch.tensor(2.0**-9)), BYTES)
    steps = [
        Step("a", layers[0], ("input",), BYTES),
        Step("b", layers[1], ("a",), BYTES),
    ]
    exact = IntegerNet(BYTES, steps)
    saturating = saturating_net(exact)
    q = torch.randint(200, 256, (50, 4), dtype=torch.int32)
    by_hand = SaturatingLayer(layers[1])(SaturatingLayer(layers[0])(q))
    assert torch.equal(saturating(q), by_hand)
    assert not torch.equal(saturating(q), exact(q))
    assert all(isinstance(layer, IntegerLayer) for layer in exact.layers)


def test_bad_input_is_refused():
    byte = torch.ones(2, dtype=torch.int32)
    with pytest.raises(
        ValueError, match="x must be 0 to 255, got -1 to -1; use 8 bits"
    ):
        pairs(-byte, byte)
    with pytest.raises(ValueError, match="weight must be -128 to 127, got 128 to 128"):
        saturating_dot(byte, 128 * byte)
    with pytest.raises(ValueError, match="q must be int32"):
        pairs(byte.float(), byte)
    with pytest.raises(ValueError, match="largest_input must be at least 1, got 0"):
        largest_safe_weight(0)
    with pytest.raises(ValueError, match="padding must be numbers, got 'same'"):
        SaturatingLayer(exact_layer(nn.Conv2d(1, 1, 3, padding="same")))
