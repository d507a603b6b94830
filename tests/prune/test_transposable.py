"""Transposable masks: all masks of a block, greedy beside the best, both ways."""

from functools import cache
from itertools import product

import pytest
import torch

from effdl.prune.nm import is_nm, nm_mask
from effdl.prune.transposable import (
    block_patterns,
    greedy_transposable_mask,
    is_transposable,
    transposable_mask,
)


@cache
def all_masks(keep, group, *, exactly):
    """Return the 0/1 matrices whose rows and columns have N ones, or at most N."""
    fits = (lambda n: n == keep) if exactly else (lambda n: n <= keep)
    rows = [r for r in product((0, 1), repeat=group) if fits(sum(r))]
    every = product(rows, repeat=group)
    return torch.tensor([
        m for m in every if all(fits(sum(c)) for c in zip(*m, strict=True))
    ])


def best_sum(block, keep=2, group=4, *, exactly):
    masks = all_masks(keep, group, exactly=exactly)
    return (masks * block).sum(dim=(1, 2)).max().item()


def sum_of_blocks(values):
    """Return the sums of all 4 x 4 blocks of a square."""
    side = len(values) // 4
    return values.float().view(side, 4, side, 4).sum(dim=(1, 3))


def test_a_block_of_four_has_90_masks_with_two_in_every_row_and_column():
    patterns = block_patterns()
    every = (torch.arange(2**16)[:, None] >> torch.arange(16)) & 1
    every = every.view(-1, 4, 4)
    counted = every[((every.sum(1) == 2) & (every.sum(2) == 2)).all(dim=1)]
    assert len(patterns) == len(counted) == 90
    assert {tuple(p.flatten().int().tolist()) for p in patterns} == {
        tuple(m.flatten().tolist()) for m in counted
    }


def test_other_ratios_have_as_many_masks_as_is_known():
    """4! permutation matrices for 1:4, and their complements for 3:4; 2! and 3!."""
    counts = [len(block_patterns(*r)) for r in ((1, 4), (3, 4), (1, 2), (1, 3))]
    assert counts == [24, 24, 2, 6]


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (3, 4), (1, 2), (2, 3)])
def test_exact_is_the_best_of_all_and_greedy_has_at_least_half(keep, group):
    scores = torch.rand(2 * group, 2 * group) ** 3
    exact = transposable_mask(scores, keep, group)
    greedy = greedy_transposable_mask(scores, keep, group)
    for i, j in product((0, group), repeat=2):
        block = scores[i : i + group, j : j + group]
        best = best_sum(block, keep, group, exactly=True)
        bound = best_sum(block, keep, group, exactly=False)
        here = block[exact[i : i + group, j : j + group]].sum().item()
        there = block[greedy[i : i + group, j : j + group]].sum().item()
        assert here == pytest.approx(best, rel=1e-5)
        assert best <= bound * (1 + 1e-6)
        assert bound / 2 <= there <= bound * (1 + 1e-6)


def test_where_greedy_keeps_n_everywhere_it_has_no_more_than_exact():
    scores = torch.randn(80, 80).abs()
    masks = [find(scores) for find in (transposable_mask, greedy_transposable_mask)]
    sums = [sum_of_blocks(scores * m) for m in masks]
    full = sum_of_blocks(masks[1]) == 8
    assert (sums[1] <= sums[0] * (1 + 1e-6))[full].all()
    assert 0.1 < (~full).float().mean() < 0.25
    assert 0.0 < (sums[1] > sums[0] * (1 + 1e-6)).float().mean() < 0.08


def test_with_fewer_weights_greedy_may_have_the_larger_sum():
    """Seven nines are 63. With two in every row, two of the 0.1s come in for a 9."""
    scores = torch.tensor([
        [9.0, 9.0, 0.1, 0.1],
        [9.0, 0.1, 9.0, 0.1],
        [0.1, 9.0, 9.0, 0.1],
        [0.1, 0.1, 0.1, 9.0],
    ])
    greedy, exact = greedy_transposable_mask(scores), transposable_mask(scores)
    assert (greedy.sum(), exact.sum()) == (7, 8)
    assert scores[greedy].sum() == 63
    assert scores[exact].sum().item() == pytest.approx(6 * 9 + 0.2)


def test_greedy_by_hand_where_it_has_little_more_than_half():
    """3 is taken, and 2 + 2 are refused for it: 3 of 4. At 1 of 2, 2 - e: a half."""
    mask = greedy_transposable_mask(torch.tensor([[3.0, 2.0], [2.0, 0.0]]), 1, 2)
    assert mask.tolist() == [[True, False], [False, True]]
    scores = torch.tensor([[1.001, 1.0], [1.0, 0.0]])
    kept = scores[greedy_transposable_mask(scores, 1, 2)].sum()
    best = scores[transposable_mask(scores, 1, 2)].sum()
    assert 0.5 <= kept / best < 0.51


@pytest.mark.parametrize("find", [transposable_mask, greedy_transposable_mask])
@pytest.mark.parametrize("shape", [(8, 12), (4, 8, 3, 3)])
def test_the_mask_and_its_transpose_pass_the_2_4_check(find, shape):
    mask = find(torch.rand(shape))
    assert mask.shape == shape
    assert mask.dtype == torch.bool
    assert is_nm(mask)
    assert is_nm(mask.transpose(0, 1))
    assert is_transposable(mask)


def test_the_mask_of_the_transpose_is_the_transpose_of_the_mask():
    scores = torch.rand(12, 8)
    for find in (transposable_mask, greedy_transposable_mask):
        assert torch.equal(find(scores.T), find(scores).T)


@pytest.mark.parametrize("find", [transposable_mask, greedy_transposable_mask])
def test_a_convolution_is_masked_pixel_by_pixel(find):
    scores = torch.rand(8, 4, 3, 3)
    mask = find(scores)
    for y, x in product(range(3), repeat=2):
        assert torch.equal(mask[..., y, x], find(scores[..., y, x]))


def test_it_keeps_no_more_than_2_4_and_no_less_than_greedy():
    scores = torch.rand(32, 64)
    free = scores[nm_mask(scores)].sum()
    exact = scores[transposable_mask(scores)].sum()
    greedy = scores[greedy_transposable_mask(scores)].sum()
    assert free > exact > greedy > 0.9 * exact


def test_sums_that_float32_cannot_tell_apart_are_told():
    scores = torch.full((4, 4), 2.0**24)
    scores[0, 3] = scores[3, 0] = 2.0**24 + 2
    assert transposable_mask(scores)[0, 3]
    assert transposable_mask(scores)[3, 0]


def test_greedy_serves_larger_groups():
    mask = greedy_transposable_mask(torch.rand(16, 24), 4, 8)
    assert is_transposable(mask, 4, 8)
    assert mask.float().mean() > 0.45


def test_a_2_4_mask_need_not_be_transposable():
    assert not is_transposable(torch.tensor([[True, True, False, False]] * 4))
    assert not is_transposable(torch.tensor([[True, True, False, False]] * 4).T)
    assert is_transposable(torch.eye(8), 1, 8)
    assert not is_transposable(torch.ones(2, 2), 1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: block_patterns(4, 8), "group must be at most 4, got 8"),
        (lambda: block_patterns(4, 4), "keep must be below group=4, got 4"),
        (lambda: transposable_mask(torch.rand(6, 8)), "must divide outputs, got 6"),
        (lambda: transposable_mask(torch.rand(8, 6)), "must divide inputs, got 6"),
        (
            lambda: greedy_transposable_mask(-torch.ones(4, 4)),
            "scores must be 0 or larger, got -1.0",
        ),
        (
            lambda: greedy_transposable_mask(torch.full((4, 4), float("nan"))),
            "scores must be 0 or larger, got nan",
        ),
        (lambda: transposable_mask(torch.full((4, 4), float("nan"))), "nan or inf"),
        (
            lambda: greedy_transposable_mask(torch.rand(4, 4), 4, 4),
            "keep must be below group=4",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
