"""Checks of quantizers: bits that a grid can have, values that are finite."""

import pytest
import torch

from effdl.quant.checks import check_bits, check_finite, check_levels


@pytest.mark.parametrize("bits", range(1, 17))
def test_one_to_sixteen_bits_pass(bits):
    check_bits(bits)


@pytest.mark.parametrize("bits", [-1, 0, 17, 32])
def test_other_numbers_of_bits_are_refused_with_the_way_out(bits):
    with pytest.raises(ValueError, match=f"bits must be 1 to 16, got {bits}; leave"):
        check_bits(bits)


@pytest.mark.parametrize("bits", [8.0, "8", True, None])
def test_bits_that_are_not_whole_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits must be a whole number, got {bits!r}"):
        check_bits(bits)


def test_one_bit_below_the_smallest_is_told_what_else_there_is():
    check_bits(2, smallest=2)
    with pytest.raises(ValueError, match=r"2 to 16, got 1; a symmetric grid of 1 bit"):
        check_bits(1, smallest=2)
    with pytest.raises(ValueError, match="2 to 16, got 0; leave the tensor in float"):
        check_bits(0, smallest=2)


def test_finite_tensors_pass_however_large():
    check_finite(x=torch.tensor([0.0, -3e38]), y=torch.tensor(1.0))


def test_what_is_not_finite_is_counted_and_named():
    nan, inf = float("nan"), float("inf")
    with pytest.raises(ValueError, match="y holds 1 NaN and 2 infinite of 4 values"):
        check_finite(x=torch.ones(2), y=torch.tensor([nan, inf, -inf, 0.0]))


def test_an_empty_tensor_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"x is empty, shape \(0, 3\)"):
        check_finite(x=torch.zeros(0, 3))


def test_two_levels_are_the_fewest():
    check_levels(2)
    for bad in (1, -3, 2.0, True):
        with pytest.raises(ValueError, match=f"levels must be .* got {bad!r}; 8 bits"):
            check_levels(bad)


def test_infinity_alone_and_nan_alone_are_refused():
    for value, words in ((float("inf"), "0 NaN and 1"), (float("nan"), "1 NaN and 0")):
        with pytest.raises(ValueError, match=f"x holds {words} infinite of 1"):
            check_finite(x=torch.tensor([value]))
