"""Ternary codes in bytes: round trips, 16 against 20 times, and the entropy."""

import math
from itertools import product

import pytest
import torch

from effdl.quant.trits import (
    entropy,
    pack_pairs,
    pack_trits,
    pair_bytes,
    trit_bytes,
    unpack_pairs,
    unpack_trits,
)


def test_every_byte_of_five_trits_is_another_one_and_comes_back():
    """3^5 = 243 of the 256 values are used, 0 to 242."""
    every = torch.tensor(list(product((-1, 0, 1), repeat=5)))
    packed = pack_trits(every)
    assert sorted(packed.tolist()) == list(range(243))
    assert torch.equal(unpack_trits(packed, every.numel()).view_as(every), every)


def test_by_hand():
    """1, 0, -1, -1: 10 11 11 ... as pairs 01, 00, 11, 11, the first one lowest.

    0b11110001 is 241. As trits 2 + 3 * 1 + 0 + 0 + 81 * 1 (a zero fills up) is 86.
    """
    codes = torch.tensor([1, 0, -1, -1])
    assert pack_pairs(codes).tolist() == [241]
    assert pack_trits(codes).tolist() == [86]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 99, 1000])
def test_round_trips_of_any_length(count):
    codes = torch.randint(-1, 2, (count,))
    pairs, trits = pack_pairs(codes), pack_trits(codes)
    assert pairs.dtype == trits.dtype == torch.uint8
    assert torch.equal(unpack_pairs(pairs, count), codes)
    assert torch.equal(unpack_trits(trits, count), codes)
    assert len(pairs) == pair_bytes(count) == math.ceil(count / 4)
    assert len(trits) == trit_bytes(count) == math.ceil(count / 5)


def test_floats_of_any_shape_are_taken():
    codes = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert unpack_pairs(pack_pairs(codes), 4).tolist() == [1, 0, -1, 1]
    assert unpack_trits(pack_trits(codes), 4).tolist() == [1, 0, -1, 1]


def test_16_times_with_pairs_and_20_times_with_trits():
    n = 10_000
    assert 4 * n / pair_bytes(n) == 16
    assert 4 * n / trit_bytes(n) == 20
    assert 32 / math.log2(3) == pytest.approx(20.19, abs=0.005)


def test_two_scales_of_a_layer_make_it_less_than_16_times():
    for n in (72, 1152, 10**6):
        assert 4 * n / (pair_bytes(n) + 8) < 16


def test_the_entropy_literally_and_its_largest_value():
    codes = torch.tensor([1] * 2 + [-1] * 1 + [0] * 5)
    shares = [2 / 8, 1 / 8, 5 / 8]
    expected = -sum(share * math.log2(share) for share in shares)
    assert entropy(codes) == pytest.approx(expected)
    assert entropy(torch.tensor([1, 0, -1])) == pytest.approx(math.log2(3))
    assert entropy(torch.zeros(9)) == 0
    assert entropy(torch.tensor([1, -1])) == 1


def test_bad_input_is_refused():
    for function in (pack_pairs, pack_trits, entropy):
        for bad in (
            torch.tensor([0, 2]),
            torch.tensor([0.5]),
            torch.tensor([math.nan]),
        ):
            with pytest.raises(ValueError, match="codes must be -1, 0 and"):
                function(bad)
    with pytest.raises(ValueError, match="codes is empty"):
        entropy(torch.zeros(0))
    with pytest.raises(ValueError, match="the code 10, which stands for no value"):
        unpack_pairs(torch.tensor([2], dtype=torch.uint8), 1)
    with pytest.raises(ValueError, match="packed must be 0 to 242, got 243"):
        unpack_trits(torch.tensor([243], dtype=torch.uint8), 5)
    with pytest.raises(ValueError, match="has 1 bytes, 6 trits need 2"):
        unpack_trits(torch.tensor([1], dtype=torch.uint8), 6)
    with pytest.raises(ValueError, match="has 1 bytes, 5 numbers of 2 bits need 2"):
        unpack_pairs(torch.tensor([1], dtype=torch.uint8), 5)
