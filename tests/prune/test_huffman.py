"""Huffman codes: against all code lengths there are, Shannon's bounds, and back."""

import itertools

import pytest
import torch

from effdl.prune.huffman import (
    canonical_codes,
    code_lengths,
    entropy,
    huffman_decode,
    huffman_encode,
)


def total_bits(counts, lengths):
    return sum(n * length for n, length in zip(counts, lengths, strict=True))


@pytest.mark.parametrize("counts", [[1, 1, 1, 1], [9, 5, 3, 1, 1], [1, 2, 4, 8, 16]])
def test_no_prefix_code_is_shorter(counts):
    """By Kraft: lengths are of a prefix code if the sum of 2^-length is at most 1."""
    every = itertools.product(range(1, len(counts) + 1), repeat=len(counts))
    best = min(
        total_bits(counts, lengths)
        for lengths in every
        if sum(2.0**-length for length in lengths) <= 1
    )
    assert total_bits(counts, code_lengths(counts)) == best


def test_five_symbols_by_hand():
    """Counts 8 3 1 1 1: 1+1, then 1+2, then 3+3, then 6+8. Lengths 1 2 4 4 3."""
    lengths = code_lengths([8, 3, 1, 1, 1])
    assert sorted(lengths) == [1, 2, 3, 4, 4]
    assert lengths[:2] == [1, 2]
    assert total_bits([8, 3, 1, 1, 1], lengths) == 8 + 6 + 3 + 8


def test_canonical_codes_by_hand():
    assert canonical_codes([2, 1, 0, 3, 3]) == {1: "0", 0: "10", 3: "110", 4: "111"}


def test_no_code_begins_another_and_all_are_used_up():
    counts = torch.randint(0, 50, (40,)).tolist()
    codes = canonical_codes(code_lengths(counts))
    assert set(codes) == {symbol for symbol, n in enumerate(counts) if n}
    for one, other in itertools.permutations(codes.values(), 2):
        assert not other.startswith(one)
    assert sum(2.0 ** -len(code) for code in codes.values()) == 1


@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
def test_the_mean_length_is_within_a_bit_of_the_entropy(spread):
    counts = (1000 * (torch.randn(30) * spread).softmax(dim=0)).long().tolist()
    mean = total_bits(counts, code_lengths(counts)) / sum(counts)
    assert entropy(counts) <= mean < entropy(counts) + 1


def test_powers_of_two_reach_the_entropy():
    counts = [8, 4, 2, 1, 1]
    mean = total_bits(counts, code_lengths(counts)) / 16
    assert mean == entropy(counts) == 1.875


@pytest.mark.parametrize("symbols", [1, 2, 3, 32])
def test_what_is_encoded_comes_back(symbols):
    numbers = (torch.rand(999) ** 3 * symbols).long()
    lengths = code_lengths(numbers.bincount(minlength=symbols).tolist())
    packed = huffman_encode(numbers, lengths)
    assert torch.equal(huffman_decode(packed, lengths, 999), numbers)
    bits = total_bits(numbers.bincount(minlength=symbols).tolist(), lengths)
    assert len(packed) == -(-bits // 8)


def test_one_symbol_alone_takes_one_bit():
    assert code_lengths([0, 7, 0]) == [0, 1, 0]


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="no symbol that occurs"):
        code_lengths([0, 0])
    with pytest.raises(ValueError, match="symbols has 2, which lengths gives no code"):
        huffman_encode(torch.tensor([0, 2]), [1, 1, 0])
    packed = huffman_encode(torch.tensor([0, 1, 1]), [1, 1])
    with pytest.raises(ValueError, match="ends after 8 of 9 symbols"):
        huffman_decode(packed, [1, 1], 9)
