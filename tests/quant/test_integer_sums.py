"""Additions, means and new scales on integers, beside exact fractions."""

import math
from fractions import Fraction

import pytest
import torch

from effdl.quant.grid import Grid
from effdl.quant.integer_sums import (
    IntegerAddition,
    IntegerMean,
    IntegerRescale,
    extra_bits,
)


def grid(scale, zero=0, highest=255):
    return Grid(torch.tensor(scale), torch.tensor(zero), 0, highest)


def exact(q, source):
    return (q - int(source.zero_point)) * Fraction(source.scale.item())


def best(value, target):
    """The integer of a value, exactly; it may be half-way, either neighbour will do."""
    q = value / Fraction(target.scale.item()) + int(target.zero_point)
    return min(max(q, target.lowest), target.highest)


def test_an_addition_is_the_nearest_integer_to_the_exact_sum():
    q = torch.randint(0, 256, (2, 3000), dtype=torch.int32)
    for scales in ((0.02, 0.03, 0.04), (1.0, 0.01, 0.9), (0.011, 0.7, 0.5)):
        first, second = grid(scales[0], 100), grid(scales[1], 3)
        target = grid(scales[2], 60)
        found = IntegerAddition(first, second, target)(*q).tolist()
        sums = (exact(a, first) + exact(b, second) for a, b in q.T.tolist())
        far = max(abs(r - best(v, target)) for r, v in zip(found, sums, strict=True))
        assert far <= 0.5 + 2**-10


def test_by_hand():
    """0.5 * 3 + 1 * 2 = 3.5, in steps of 0.5: 7, and the zero point 10: 17."""
    add = IntegerAddition(grid(0.5, 1), grid(1.0), grid(0.5, 10))
    a, b = (torch.tensor([v], dtype=torch.int32) for v in (4, 2))
    assert add(a, b).tolist() == [17]
    mean = IntegerMean(grid(0.5, 9), grid(0.5, 9))
    q = torch.tensor([[[[9, 10], [10, 17]]]], dtype=torch.int32)
    assert mean(q).tolist() == [[[[12]]]]  # (0 + 1 + 1 + 8) / 4 = 2.5, half-way up


def test_an_addition_does_not_care_about_the_order():
    q = torch.randint(0, 256, (2, 500), dtype=torch.int32)
    first, second, target = grid(0.02, 5), grid(0.3, 77), grid(0.25, 40)
    there = IntegerAddition(first, second, target)(q[0], q[1])
    back = IntegerAddition(second, first, target)(q[1], q[0])
    assert torch.equal(there, back)


def test_inputs_of_16_bits_fit_too():
    wide = grid(0.001, 2**15, 2**16 - 1)
    q = torch.tensor([[1, 2**16 - 1], [2**16 - 1, 2**16 - 1]], dtype=torch.int32)
    target = grid(0.002, 2**15, 2**16 - 1)
    assert IntegerAddition(wide, wide, target)(*q).tolist() == [2**15, 2**16 - 1]
    assert extra_bits(2**16 - 1) == 14


def test_the_mean_is_the_nearest_integer_to_the_exact_mean():
    source, target = grid(0.03, 4), grid(0.0217, 9)
    q = torch.randint(0, 256, (20, 10, 3, 5), dtype=torch.int32)
    found = IntegerMean(source, target)(q)
    assert found.shape == (20, 10, 1, 1)
    pixels = q.flatten(2).flatten(0, 1).tolist()
    for r, row in zip(found.flatten().tolist(), pixels, strict=True):
        value = sum(exact(p, source) for p in row) / 15
        assert abs(r - best(value, target)) <= 0.5 + 2**-10


def test_a_new_scale_is_the_nearest_integer():
    source, target = grid(0.03, 4), grid(0.1713, 9)
    q = torch.arange(256, dtype=torch.int32)
    found = IntegerRescale(source, target)(q).tolist()
    for r, value in zip(found, q.tolist(), strict=True):
        assert abs(r - best(exact(value, source), target)) <= 0.5 + 2**-10


def test_the_same_grid_changes_nothing():
    same = grid(0.3, 40)
    q = torch.arange(256, dtype=torch.int32)
    assert torch.equal(IntegerRescale(same, same)(q), q)
    image = q.reshape(1, 256, 1, 1)
    assert torch.equal(IntegerMean(same, same)(image), image)


def test_a_relu_is_in_the_limits():
    source = grid(0.1, 50)
    q = torch.tensor([0, 50, 80, 200], dtype=torch.int32)
    assert IntegerRescale(source, source, math.inf)(q).tolist() == [50, 50, 80, 200]
    assert IntegerRescale(source, source, 6.0)(q).tolist() == [50, 50, 80, 110]
    zero = torch.full_like(q, 50)
    add = IntegerAddition(source, source, source, 6.0)
    assert add(q, zero).tolist() == [50, 50, 80, 110]
    mean = IntegerMean(source, source, 6.0)(q.reshape(1, 4, 1, 1))
    assert mean.flatten().tolist() == [50, 50, 80, 110]


def test_as_many_bits_are_added_as_stay_below_2_to_the_30():
    for span in (1, 255, 256, 1023, 1024, 2**16 - 1, 2**29, 2**30 - 1):
        bits = extra_bits(span)
        assert 0 <= bits <= 20
        assert span << bits < 2**30
        assert bits == 20 or span << (bits + 1) >= 2**30


def test_bad_input_is_refused():
    same = grid(0.1)
    good, floats = torch.ones(1, 1, 2, 2, dtype=torch.int32), torch.ones(1, 1, 2, 2)
    for layer in (IntegerRescale(same, same), IntegerMean(same, same)):
        with pytest.raises(ValueError, match=r"q must be int32, got torch.float32"):
            layer(floats)
    with pytest.raises(ValueError, match="q must be int32"):
        IntegerAddition(same, same, same)(good, floats)
    many = torch.zeros(1, 1, 2052, 2053, dtype=torch.int32)
    with pytest.raises(ValueError, match="4210752 pixels or fewer, got 4212756"):
        IntegerMean(same, same)(many)
    IntegerMean(same, same)(many[:, :, :, :2052])
