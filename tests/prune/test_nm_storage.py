"""N:M weights stored: what comes back, and how many bytes it took."""

import math
from itertools import combinations

import pytest
import torch

from effdl.prune.nm import nm_mask
from effdl.prune.nm_storage import (
    bytes_share,
    compress_nm,
    decompress_nm,
    index_bits,
    pattern_bits,
)


def masked(shape, keep=2, group=4, dtype=torch.float32):
    weight = torch.randn(shape)
    return (weight * nm_mask(weight.abs(), keep, group)).to(dtype)


def read_bits(packed, bits, count):
    """Return the numbers in a byte stream, lowest bit first, by string arithmetic."""
    stream = "".join(f"{byte:08b}"[::-1] for byte in packed.tolist())
    pieces = [stream[i * bits : (i + 1) * bits][::-1] for i in range(count)]
    return [int(piece, 2) for piece in pieces]


def test_the_stored_places_are_those_of_the_values_in_their_groups():
    weight = masked((3, 16))
    packed = compress_nm(weight)
    expected_values, expected_places = [], []
    for row in weight.view(-1, 4).tolist():
        expected_places += [i for i, w in enumerate(row) if w != 0]
        expected_values += [w for w in row if w != 0]
    assert packed.values.flatten().tolist() == expected_values
    assert read_bits(packed.indices, 2, 24) == expected_places


def test_a_group_by_hand():
    """0 5 0 7: values 5 and 7 at 1 and 3; 1 + 3 * 4 = 13."""
    packed = compress_nm(torch.tensor([[0.0, 5.0, 0.0, 7.0]]))
    assert packed.values.tolist() == [[5.0, 7.0]]
    assert packed.indices.tolist() == [13]


@pytest.mark.parametrize(
    ("shape", "keep", "group"),
    [
        ((3, 16), 2, 4),
        ((5, 8, 3, 3), 2, 4),
        ((2, 24), 1, 4),
        ((2, 24), 4, 8),
        ((3, 6), 1, 2),
        ((1, 6), 2, 6),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_decompressing_what_was_compressed_gives_weight_times_mask(
    shape, keep, group, dtype
):
    weight = torch.randn(shape).to(dtype)
    mask = nm_mask(weight.abs(), keep, group)
    packed = compress_nm(weight * mask, keep, group)
    back = decompress_nm(packed)
    assert torch.equal(back, weight * mask)
    assert back.dtype == dtype
    bits = weight.numel() * keep // group * index_bits(group)
    assert packed.indices.nbytes == math.ceil(bits / 8)
    assert packed.values.nbytes == weight.nbytes * keep // group


def test_every_pattern_of_a_group_comes_back_with_fewer_values_too():
    rows = [
        [float(i + 1) if i in kept else 0.0 for i in range(4)]
        for size in (0, 1, 2)
        for kept in combinations(range(4), size)
    ]
    assert len(rows) == 1 + 4 + 6
    weight = torch.tensor(rows)
    packed = compress_nm(weight)
    assert torch.equal(decompress_nm(packed), weight)
    assert packed.values.shape == (11, 2)


def test_at_16_bits_2_4_takes_9_sixteenths_and_at_8_bits_5_eighths():
    """(2 * 16 + 4) / 64 and (2 * 8 + 4) / 32."""
    half = masked((64, 64), dtype=torch.float16)
    assert compress_nm(half).bytes / half.nbytes == 0.5625 == bytes_share(16)
    small = (masked((64, 64)) * 100).clamp(-127, 127).to(torch.int8)
    assert compress_nm(small).bytes / small.nbytes == 0.625 == bytes_share(8)
    assert compress_nm(half.float()).bytes / half.float().nbytes == bytes_share(32)
    assert bytes_share(16, 1, 4) == 18 / 64
    assert bytes_share(8, 4, 8) == pytest.approx((4 * 8 + 12) / 64)


def test_six_patterns_need_2_585_bits_and_are_stored_in_4():
    assert len(list(combinations(range(4), 2))) == 6
    assert pattern_bits(2, 4) == pytest.approx(math.log2(6))
    assert 2 * index_bits(4) == 4 > pattern_bits(2, 4)
    assert pattern_bits(4, 8) == pytest.approx(math.log2(70))
    assert [index_bits(m) for m in (2, 3, 4, 5, 8, 16)] == [1, 2, 2, 3, 3, 4]


def test_pytorchs_own_compression_has_the_same_values_and_as_many_bytes():
    weight = masked((64, 128), dtype=torch.float16)
    conversions = pytest.importorskip("torch.sparse._semi_structured_conversions")
    values, meta = conversions.sparse_semi_structured_from_dense_cutlass(weight)
    packed = compress_nm(weight)
    assert torch.equal(values.reshape(-1, 2), packed.values)
    assert meta.nbytes == packed.indices.nbytes
    theirs = conversions.sparse_semi_structured_to_dense_cutlass(values, meta)
    assert torch.equal(theirs, decompress_nm(packed))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there, it is not refused")
def test_pytorchs_sparse_product_is_refused_without_a_gpu():
    weight = masked((64, 128), dtype=torch.float16)
    with pytest.raises(RuntimeError, match=r"(?i)cuda"):
        torch.sparse.to_sparse_semi_structured(weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compress_nm(torch.ones(1, 4)), "more than keep=2 values"),
        (lambda: compress_nm(torch.eye(4), 1, 3), "group=3 must divide inputs"),
        (lambda: pattern_bits(4, 4), "keep must be below group=4"),
        (lambda: bytes_share(0), "bits must be at least 1, got 0"),
        (lambda: bytes_share(16, 4, 2), "keep must be below group=2"),
        (lambda: index_bits(0), "group must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
