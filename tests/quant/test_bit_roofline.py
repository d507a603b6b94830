"""A roofline for few bits: costs, peaks, counted numbers, and who waits for whom."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.measure.macs import count_macs
from effdl.quant.bit_roofline import (
    BitMachine,
    LayerNumbers,
    brick_cost,
    half_serial_cost,
    lane_cost,
    layer_numbers,
    serial_cost,
)
from effdl.quant.bit_serial import bit_serial_cycles

COSTS = (serial_cost, half_serial_cost, brick_cost, lane_cost)


def test_the_costs_by_hand():
    table = {(1, 1): (1, 16, 4, 1), (2, 2): (4, 32, 4, 2), (2, 8): (16, 32, 16, 8)}
    table |= {
        (8, 8): (64, 128, 64, 8),
        (3, 8): (24, 48, 32, 8),
        (5, 4): (20, 80, 32, 5),
    }
    for bits, expected in table.items():
        assert tuple(cost(*bits) for cost in COSTS) == expected


def test_the_serial_cost_is_that_of_the_cycles():
    for w, x in ((1, 1), (3, 5), (8, 8)):
        cycles = bit_serial_cycles(640, weight_bits=w, input_bits=x)
        assert cycles == 10 * serial_cost(w, x)


@pytest.mark.parametrize("cost", COSTS)
def test_fewer_bits_never_cost_more(cost):
    for bits in range(1, 16):
        assert cost(bits, 4) <= cost(bits + 1, 4)
        assert cost(4, bits) <= cost(4, bits + 1)


def test_bricks_cost_what_serial_does_where_the_bits_are_powers_of_two_from_2_on():
    for w in (2, 4, 8, 16):
        for x in (2, 4, 8, 16):
            assert brick_cost(w, x) == serial_cost(w, x)
    assert brick_cost(3, 3) > serial_cost(3, 3)


def test_the_peak_grows_and_the_memory_stays():
    machine = BitMachine(6.4e12, 8e10)
    eight, two = machine.roofline(8, 8), machine.roofline(2, 2)
    assert eight.macs_per_second == 1e11
    assert two.macs_per_second == 16 * eight.macs_per_second
    assert eight.bytes_per_second == two.bytes_per_second == 1e10


def test_a_layer_by_hand():
    """100 multiply-adds, 10 weights of 4 bits, 5 + 5 numbers of 8: 120 bits."""
    layer = LayerNumbers("x", 100, 10, 5, 5)
    assert layer.moved_bits(4, 8) == 120
    assert layer.intensity(4, 8) == pytest.approx(100 / 15)
    slow_memory = BitMachine(1e9, 1e3)
    assert layer.seconds(slow_memory, 4, 8) == pytest.approx(120 / 1e3)
    slow_products = BitMachine(1e3, 1e9)
    assert layer.seconds(slow_products, 4, 8) == pytest.approx(100 * 32 / 1e3)


def test_numbers_are_counted_as_the_layers_have_them():
    net = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.Flatten())
    (layer,) = layer_numbers(net, torch.zeros(2, 4, 8, 8))
    assert layer == ("0", 2 * 6 * 4 * 4 * 2 * 9, 6 * 2 * 9, 2 * 4 * 64, 2 * 6 * 16)


@pytest.mark.parametrize("net", [plain_net(4), plain_mlp()])
def test_the_multiply_adds_are_those_of_the_other_counter(net):
    x = torch.zeros(3, 1, 16, 16)
    layers = layer_numbers(net, x)
    assert sum(layer.macs for layer in layers) == count_macs(net, x).total
    assert sum(layer.weights for layer in layers) == sum(
        p.numel() for p in net.parameters() if p.ndim > 1
    )


def test_the_model_comes_back_as_it_was():
    net = plain_net(4).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    layer_numbers(net, torch.randn(2, 1, 16, 16))
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_with_fewer_bits_more_layers_wait_for_their_data():
    layers = layer_numbers(plain_net(8), torch.zeros(1, 1, 16, 16))
    machine = BitMachine(64e9, 8e9)
    waiting = []
    for bits in (8, 4, 2, 1):
        ridge = machine.roofline(bits, bits).ridge
        waiting.append(sum(x.intensity(bits, bits) < ridge for x in layers))
    assert waiting == sorted(waiting)
    assert waiting[0] < waiting[-1]


def test_half_the_bits_are_at_most_four_times_and_at_least_twice_as_fast():
    machine = BitMachine(64e9, 8e9)
    for layer in layer_numbers(plain_net(8), torch.zeros(1, 1, 16, 16)):
        gain = layer.seconds(machine, 8, 8) / layer.seconds(machine, 4, 4)
        assert 2 - 1e-9 <= gain <= 4 + 1e-9


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="products_per_second must be above 0, got 0"):
        BitMachine(0, 1.0)
    with pytest.raises(ValueError, match="bits_per_second must be above 0, got nan"):
        BitMachine(1.0, float("nan"))
    with pytest.raises(ValueError, match="input_bits must be at most 16, got 17"):
        half_serial_cost(1, 17)
    with pytest.raises(ValueError, match="bits must be 1 to 16, got 0"):
        brick_cost(0, 2)
    with pytest.raises(ValueError, match="empty batch"):
        layer_numbers(plain_net(4), torch.zeros(0, 1, 16, 16))
