"""Bits of a compressed network: against counting weight by weight."""

import pytest
import torch

from effdl.prune.stored_bits import stored_bits


@pytest.mark.parametrize("bits", [1, 4, 32])
def test_every_weight_is_counted_once(bits):
    dense, sparse = torch.rand(3, 4) + 1, torch.eye(5)
    by_hand = 12 * bits  # dense needs no mask
    for value in sparse.flatten().tolist():
        by_hand += 1 + (bits if value else 0)
    assert stored_bits({"a": dense, "b": sparse}, bits) == by_hand


def test_a_table_is_paid_by_every_tensor():
    weights = {"a": torch.ones(100), "b": torch.ones(100)}
    assert stored_bits(weights, 4, table=15) == 2 * (400 + 15 * 32)


def test_pruning_and_fewer_bits_multiply_but_for_the_mask():
    """A tenth of 1,000 weights at an eighth of the bits: 32,000 becomes 400 + 1,000."""
    weight = torch.zeros(1000)
    weight[:100] = 1
    assert stored_bits({"w": torch.ones(1000)}) == 32_000
    assert stored_bits({"w": weight}) == 4_200
    assert stored_bits({"w": torch.ones(1000)}, 4) == 4_000
    assert stored_bits({"w": weight}, 4) == 1_400


@pytest.mark.parametrize(("bits", "table"), [(0, 0), (33, 0), (8, -1)])
def test_numbers_out_of_range_are_told(bits, table):
    with pytest.raises(ValueError, match=f"got {bits} and {table}"):
        stored_bits({"w": torch.ones(2)}, bits, table=table)
