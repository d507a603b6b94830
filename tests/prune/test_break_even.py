"""Masks of blocks, and the sparsity from which on a format is faster."""

from itertools import pairwise, product

import pytest
import torch

from effdl.prune.break_even import block_mask, break_even
from effdl.prune.thresholds import keep_largest


def test_the_blocks_with_the_largest_sums_stay():
    scores = torch.rand(8, 12)
    mask = block_mask(scores, 0.75, block=(2, 3))
    places = list(product(range(0, 8, 2), range(0, 12, 3)))
    parts = {(i, j): (slice(i, i + 2), slice(j, j + 3)) for i, j in places}
    sums = {place: scores[part].sum().item() for place, part in parts.items()}
    best = sorted(places, key=lambda place: -sums[place])[:4]
    for place, part in parts.items():
        assert mask[part].unique().tolist() == [place in best]


def test_mask_by_hand():
    """Sums of the 2 x 2 blocks are 4 and 8: the second stays."""
    scores = torch.tensor([[1.0, 1, 0, 3], [1, 1, 5, 0]])
    assert block_mask(scores, 0.5, block=(2, 2)).int().tolist() == [[0, 0, 1, 1]] * 2


def test_blocks_of_one_are_single_weights_and_blocks_of_a_row_are_rows():
    scores = torch.rand(6, 10)
    assert torch.equal(block_mask(scores, 0.7, block=(1, 1)), keep_largest(scores, 0.7))
    rows = block_mask(scores, 0.5, block=(1, 10))
    assert rows.all(dim=1).sum() == 3 == rows.any(dim=1).sum()


def test_coarser_blocks_keep_less_of_the_score_at_the_same_sparsity():
    scores = torch.rand(16, 16)
    kept = [
        scores[block_mask(scores, 0.75, block=block)].sum()
        for block in ((1, 1), (2, 2), (4, 4), (8, 8))
    ]
    assert all(finer > coarser for finer, coarser in pairwise(kept))


def test_break_even_is_where_the_line_between_two_points_crosses():
    """3 at .5 and 1 at .9: two at .7; 2 at .6 exactly is .6."""
    assert break_even([0.5, 0.9], [3.0, 1.0], 2.0) == pytest.approx(0.7)
    assert break_even([0.5, 0.9], [3.0, 1.0], 1.5) == pytest.approx(0.8)
    assert break_even([0.5, 0.6, 0.9], [3.0, 2.0, 1.0], 2.0) == pytest.approx(0.6)


def test_a_format_that_is_always_faster_breaks_even_at_the_first_sparsity():
    assert break_even([0.5, 0.9], [2.0, 1.0], 2.0) == 0.5
    assert break_even([0.5], [1.0], 2.0) == 0.5
    assert break_even([0.5], [2.0], 2.0) == 0.5


def test_a_format_that_is_slower_at_last_never_does():
    assert break_even([0.5, 0.9], [1.0, 2.1], 2.0) is None


def test_of_several_crossings_the_last_counts():
    found = break_even([0.5, 0.6, 0.7, 0.8], [1.0, 3.0, 3.0, 1.0], 2.0)
    assert found == pytest.approx(0.75)


def test_times_that_follow_a_line_give_its_crossing_whatever_the_points():
    for points in ([0.5, 0.95], [0.5, 0.6, 0.7, 0.8, 0.95]):
        times = [10 * (1 - s) for s in points]
        assert break_even(points, times, 2.0) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("sparsities", "seconds"),
    [([0.5, 0.9], [1.0]), ([0.9, 0.5], [1.0, 2.0]), ([], []), ([0.5, 0.5], [1.0, 1.0])],
)
def test_points_that_do_not_rise_or_match_are_refused(sparsities, seconds):
    with pytest.raises(ValueError, match=f"rise, one for each of {len(seconds)} times"):
        break_even(sparsities, seconds, 1.0)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ((3, 1), "block height=3 must divide rows, got 4"),
        ((2, 5), "block width=5 must divide columns, got 6"),
        ((0, 1), "block_height must be at least 1"),
        ((1, 0), "block_width must be at least 1"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(block, message):
    with pytest.raises(ValueError, match=message):
        block_mask(torch.rand(4, 6), 0.5, block=block)
