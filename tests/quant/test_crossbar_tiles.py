"""Tiles of a weight: how many crossbars it takes, and pruning them whole."""

import pytest
import torch

from effdl.quant.crossbar_tiles import (
    crossbars_needed,
    outputs_of,
    tile_sizes,
    without_smallest_tiles,
)
from effdl.quant.in_memory import Crossbar

SMALL = Crossbar(rows=4, columns=16)  # 16 / (2 * 4) = 2 outputs


def test_sizes_are_sums_over_tiles():
    weight = torch.randn(5, 10)
    found = tile_sizes(weight, SMALL)
    assert found.shape == (3, 3)
    for i in range(3):
        for j in range(3):
            tile = weight[2 * i : 2 * i + 2, 4 * j : 4 * j + 4]
            torch.testing.assert_close(found[i, j], tile.abs().sum())


def test_columns_hold_two_sides_of_all_slices():
    assert outputs_of(Crossbar()) == 128 // (2 * 4)
    assert outputs_of(Crossbar(cell_bits=1)) == 128 // (2 * 8)
    assert outputs_of(SMALL) == 2


def test_scattered_zeros_save_nothing_and_whole_tiles_do():
    scattered, aligned = torch.ones(4, 8), torch.ones(4, 8)
    scattered[:, ::2] = 0
    aligned[:, :4] = 0
    assert scattered.sum() == aligned.sum()
    assert crossbars_needed(torch.ones(4, 8), SMALL) == 4
    assert crossbars_needed(scattered, SMALL) == 4
    assert crossbars_needed(aligned, SMALL) == 2


def test_the_smallest_tiles_go_whole_and_the_others_stay():
    """Four tiles with the sums 8, 80, 8 * 3 and 8 * 2: 80 and 24 stay."""
    weight = torch.ones(4, 8)
    weight[:2, 4:], weight[2:, :4], weight[2:, 4:] = 10, 3, -2
    left = without_smallest_tiles(weight, SMALL, 2)
    expected = torch.zeros(4, 8)
    expected[:2, 4:], expected[2:, :4] = 10, 3
    assert torch.equal(left, expected)
    assert weight[0, 0] == 1


def test_keeping_all_or_nothing_and_tiles_at_the_border():
    weight = torch.randn(5, 10)
    assert torch.equal(without_smallest_tiles(weight, SMALL, 9), weight)
    assert not without_smallest_tiles(weight, SMALL, 0).any()
    for keep in range(10):
        left = without_smallest_tiles(weight, SMALL, keep)
        assert crossbars_needed(left, SMALL) == keep


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tile_sizes(torch.ones(2, 2, 3, 3), SMALL), r"use flatten\(1\)"),
        (lambda: tile_sizes(torch.ones(0, 2), SMALL), "not empty"),
        (lambda: outputs_of(Crossbar(columns=4)), "columns must be 8 or more"),
        (lambda: without_smallest_tiles(torch.ones(2, 4), SMALL, 2), "0 to 1 tiles"),
        (lambda: without_smallest_tiles(torch.ones(2, 4), SMALL, -1), "got -1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
