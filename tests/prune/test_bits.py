"""Packed numbers: against integers written in base 2, and back."""

import pytest
import torch

from effdl.prune.bits import pack_bits, packed_bytes, unpack_bits


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 11])
def test_the_bytes_are_one_large_number_in_base_2(bits):
    numbers = torch.randint(2**bits, (13,))
    whole = sum(n << (bits * place) for place, n in enumerate(numbers.tolist()))
    packed = bytes(pack_bits(numbers, bits).tolist())
    assert int.from_bytes(packed, "little") == whole
    assert len(packed) == packed_bytes(13, bits) == -(-13 * bits // 8)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 100])
def test_they_come_back(count):
    numbers = torch.randint(32, (count,))
    assert torch.equal(unpack_bits(pack_bits(numbers, 5), 5, count), numbers)


@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_number_out_of_range_is_named(wrong):
    with pytest.raises(ValueError, match=rf"from 0 to 3, got .*{wrong}.*bits=2"):
        pack_bits(torch.tensor([1, wrong]), 2)


def test_missing_bytes_are_told():
    packed = pack_bits(torch.ones(8, dtype=torch.long), 3)
    assert unpack_bits(packed, 3, 8).tolist() == [1] * 8
    with pytest.raises(ValueError, match="2 bytes, 8 numbers of 3 bits need 3"):
        unpack_bits(packed[:2], 3, 8)
