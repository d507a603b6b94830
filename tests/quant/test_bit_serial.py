"""Bit planes and bricks against integer products; cycles that follow the bits."""

import pytest
import torch

from effdl.quant.bit_serial import (
    bit_planes,
    bit_serial_cycles,
    bit_serial_product,
    brick_product,
    digits,
    plane_values,
)


def drawn(bits, *shape, signed=True):
    lowest = -(2 ** (bits - 1)) if signed else 0
    return torch.randint(lowest, lowest + 2**bits, shape)


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("signed", [True, False])
def test_every_integer_is_the_sum_of_its_planes(bits, signed):
    lowest = -(2 ** (bits - 1)) if signed else 0
    every = torch.arange(lowest, lowest + 2**bits)
    planes = bit_planes(every, bits, signed=signed)
    values = plane_values(bits, signed=signed)
    assert torch.equal((planes * values[:, None]).sum(dim=0), every)


def test_by_hand():
    """-3 in four bits is 1101: 1 + 4 - 8."""
    assert bit_planes(torch.tensor(-3), 4).tolist() == [True, False, True, True]
    assert plane_values(4).tolist() == [1, 2, 4, -8]
    assert plane_values(3, signed=False).tolist() == [1, 2, 4]


@pytest.mark.parametrize("input_bits", [1, 2, 5, 8])
@pytest.mark.parametrize("weight_bits", [1, 3, 8])
def test_the_product_is_the_integer_product(input_bits, weight_bits):
    bits = {"input_bits": input_bits, "weight_bits": weight_bits}
    w = drawn(weight_bits, 4, 100)
    for signed in (True, False):
        x = drawn(input_bits, 5, 100, signed=signed)
        found = bit_serial_product(x, w, **bits, signed_inputs=signed)
        assert torch.equal(found, x @ w.T)


def test_extreme_integers():
    x = torch.tensor([[-128, 127], [-128, -128]])
    found = bit_serial_product(x, x, input_bits=8, weight_bits=8)
    assert torch.equal(found, x @ x.T)
    assert torch.equal(brick_product(x, x, input_bits=8, weight_bits=8), x * x)


def test_more_bits_than_needed_change_nothing():
    x, w = drawn(3, 5, 70), drawn(2, 4, 70)
    few = bit_serial_product(x, w, input_bits=3, weight_bits=2)
    many = bit_serial_product(x, w, input_bits=7, weight_bits=5)
    assert torch.equal(few, many)


def test_cycles_are_in_proportion_to_both_bits():
    """K = 576 takes 9 cycles of 64 places for each pair of planes."""
    assert bit_serial_cycles(576, weight_bits=1, input_bits=1) == 9
    for w in (1, 2, 4, 8):
        for x in (1, 3, 8):
            cycles = bit_serial_cycles(576, weight_bits=w, input_bits=x)
            assert cycles == w * x * 576 / 64
    assert bit_serial_cycles(65, weight_bits=1, input_bits=1) == 2
    assert bit_serial_cycles(65, weight_bits=2, input_bits=3, width=13) == 30


def test_digits_are_fused_in_twos():
    expected = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 8: 4, 9: 8, 16: 8}
    assert {bits: digits(bits) for bits in expected} == expected


@pytest.mark.parametrize(("a", "b"), [(2, 2), (4, 2), (3, 5), (8, 8), (8, 2), (1, 8)])
def test_bricks_make_every_product(a, b):
    x = torch.arange(-(2 ** (a - 1)), 2 ** (a - 1))[:, None]
    w = torch.arange(-(2 ** (b - 1)), 2 ** (b - 1))
    assert torch.equal(brick_product(x, w, input_bits=a, weight_bits=b), x * w)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="numbers must be -8 to 7, got -9 to 3"):
        bit_planes(torch.tensor([-9, 3]), 4)
    with pytest.raises(ValueError, match="numbers must be 0 to 15, got -1"):
        bit_planes(torch.tensor([-1, 3]), 4, signed=False)
    for bits in (0, 17):
        with pytest.raises(ValueError, match=f"bits must be 1 to 16, got {bits}"):
            bit_planes(torch.tensor([0]), bits)
        with pytest.raises(ValueError, match=f"bits must be 1 to 16, got {bits}"):
            bit_serial_cycles(8, weight_bits=bits, input_bits=2)
        with pytest.raises(ValueError, match=f"bits must be 1 to 16, got {bits}"):
            bit_serial_cycles(8, weight_bits=2, input_bits=bits)
        with pytest.raises(ValueError, match=f"bits must be 1 to 16, got {bits}"):
            digits(bits)
    with pytest.raises(ValueError, match="width must be"):
        bit_serial_cycles(8, weight_bits=2, input_bits=2, width=0)
    with pytest.raises(ValueError, match="numbers must be -2 to 1"):
        brick_product(torch.tensor([0]), torch.tensor([2]), input_bits=4, weight_bits=2)
    with pytest.raises(ValueError, match="numbers must be -8 to 7"):
        brick_product(torch.tensor([8]), torch.tensor([0]), input_bits=4, weight_bits=2)


@pytest.mark.parametrize("number", [0.5, float("nan"), float("inf")])
def test_what_is_no_whole_number_is_refused(number):
    with pytest.raises(ValueError, match="numbers must be"):
        bit_planes(torch.tensor([number]), 4)
