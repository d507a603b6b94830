"""Weights as bytes: sizes counted by hand, and back bit for bit."""

import pytest
import torch

from effdl.prune.huffman import entropy
from effdl.prune.run_lengths import run_lengths
from effdl.prune.weight_bytes import (
    Reader,
    pruned_bytes,
    raw,
    read_pruned,
    read_shared,
    shared_bytes,
)


def sparse(*shape, density=0.1):
    return torch.where(torch.rand(*shape) < density, torch.randn(*shape), 0)


def codes_of(*shape, density=0.1, most=7):
    return torch.where(
        torch.rand(*shape) < density, torch.randint(1, most + 1, shape), 0
    )


@pytest.mark.parametrize("shape", [(30, 40), (8, 4, 3, 3), (5,)])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_a_pruned_weight_comes_back_bit_for_bit(shape, bits):
    weight = sparse(*shape)
    reader = Reader(pruned_bytes(weight, bits))
    found = read_pruned(reader, torch.zeros(shape), bits)
    assert torch.equal(found.view(torch.int32), weight.view(torch.int32))
    assert reader.left == 0


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5])
def test_a_shared_weight_comes_back_bit_for_bit(coded, density):
    values, codes = torch.randn(7), codes_of(30, 40, density=density)
    reader = Reader(shared_bytes(values, codes, 3, coded=coded))
    found = read_shared(reader, torch.zeros(30, 40), 3, coded=coded)
    assert torch.equal(found, torch.cat([torch.zeros(1), values])[codes])
    assert reader.left == 0


def test_the_sizes_are_those_of_the_module_docstring():
    codes = codes_of(50, 50)
    runs, _ = run_lengths(codes != 0, 4)
    entries = len(runs)
    packed = -(-entries * 4 // 8)
    assert len(pruned_bytes(codes.float(), 4)) == 4 + packed + 4 * entries
    plain = shared_bytes(torch.randn(7), codes, 4, coded=False)
    assert len(plain) == 4 + 2 + 4 * 7 + 2 * packed


def test_coded_numbers_are_within_a_bit_of_their_entropy():
    codes = codes_of(200, 100, density=0.3)
    runs, is_weight = run_lengths(codes != 0, 5)
    entries = torch.zeros(len(runs), dtype=torch.long)
    entries[is_weight] = codes[codes != 0]
    bits = sum(entropy(n.bincount().tolist()) for n in (runs, entries)) * len(runs)
    tables = 4 + 2 + 4 * 7 + 2 * (32 + 4)
    found = 8 * (len(shared_bytes(torch.randn(7), codes, 5, coded=True)) - tables)
    assert bits <= found < bits + 2 * len(runs) + 16


def test_frequent_codes_make_it_smaller():
    common = torch.ones(64, 64, dtype=torch.long)
    values = torch.randn(7)
    sizes = [len(shared_bytes(values, common, 5, coded=c)) for c in (False, True)]
    assert sizes[1] < sizes[0] / 4


def test_the_reader_reads_in_turn():
    reader = Reader(b"\x05\x00\x00\x00" + raw(torch.tensor([[2.5, -1.0]])))
    assert reader.number("<I") == 5
    assert reader.tensor(torch.zeros(1, 2)).tolist() == [[2.5, -1.0]]
    assert reader.left == 0


def test_missing_bytes_are_told():
    data = pruned_bytes(torch.eye(4), 5)
    with pytest.raises(ValueError, match="end 1 bytes too early"):
        read_pruned(Reader(data[:-1]), torch.zeros(4, 4), 5)
