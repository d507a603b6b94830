"""N:M masks: counts, the best mask of a group, and which weights are a group."""

from itertools import combinations, pairwise

import pytest
import torch

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.nm import (
    check_nm,
    from_groups,
    is_nm,
    nm_mask,
    nm_masks,
    to_groups,
)
from effdl.prune.pruned import count_kept

RATIOS = [(2, 4), (1, 4), (3, 4), (1, 2), (4, 8), (2, 6)]


@pytest.mark.parametrize(("keep", "group"), RATIOS)
def test_every_group_of_consecutive_inputs_keeps_exactly_n(keep, group):
    scores = torch.rand(5, 3 * group, 3, 3)
    mask = nm_mask(scores, keep, group)
    for out in range(5):
        for start in range(0, 3 * group, group):
            kept = mask[out, start : start + group].sum(dim=0)
            assert (kept == keep).all()
    assert mask.sum() == scores.numel() * keep / group


@pytest.mark.parametrize(("keep", "group"), RATIOS)
def test_it_is_the_best_of_all_masks_of_a_group_by_brute_force(keep, group):
    """Of C(M, N) masks, 6 for 2:4, none leaves a smaller squared error."""
    weight = torch.randn(7, 2 * group)
    error = (weight - weight * nm_mask(weight.abs(), keep, group)).square().sum()
    least = 0.0
    for row in weight.view(-1, group).tolist():
        errors = [
            sum(w * w for i, w in enumerate(row) if i not in kept)
            for kept in combinations(range(group), keep)
        ]
        least += min(errors)
    assert error.item() == pytest.approx(least, rel=1e-5)


def test_a_group_of_four_by_hand():
    """3 1 4 2 keeps 3 and 4; the sign does not count, by magnitude."""
    weight = torch.tensor([[3.0, 1.0, 4.0, 2.0, 0.5, -9.0, 0.0, -1.0]])
    expected = [[True, False, True, False, False, True, False, True]]
    assert nm_mask(weight.abs()).tolist() == expected


def test_of_equal_scores_the_first_stays():
    assert nm_mask(torch.ones(1, 8)).tolist() == [[True, True, False, False] * 2]


def test_a_2_4_row_1010_removes_no_two_neighbours():
    scores = torch.tensor([[2.0, 1.0, 2.0, 1.0] * 4])
    mask = nm_mask(scores)[0].tolist()
    assert not any(not a and not b for a, b in pairwise(mask))


def test_groups_of_a_convolution_lie_along_its_inputs():
    weight = torch.randn(2, 8, 3, 3)
    groups = to_groups(weight)
    rows = [
        weight[out, start : start + 4, y, x]
        for out in range(2)
        for y in range(3)
        for x in range(3)
        for start in (0, 4)
    ]
    assert torch.equal(groups, torch.stack(rows))
    assert torch.equal(from_groups(groups, weight.shape), weight)
    assert from_groups(groups, weight.shape).is_contiguous()


def test_a_kernel_pixel_is_masked_as_the_linear_layer_of_its_own():
    scores = torch.rand(6, 8, 3, 3)
    mask = nm_mask(scores, 1, 4)
    for y in range(3):
        for x in range(3):
            assert torch.equal(mask[..., y, x], nm_mask(scores[..., y, x], 1, 4))


def test_no_weight_that_goes_is_larger_than_one_of_its_group_that_stays():
    scores = torch.rand(16, 32)
    groups, kept = to_groups(scores), to_groups(nm_mask(scores))
    gone = groups.masked_fill(kept, -1).max(dim=1).values
    stays = groups.masked_fill(~kept, 2).min(dim=1).values
    assert (gone <= stays).all()


def test_the_mask_does_not_depend_on_the_scale_of_a_row_and_is_idempotent():
    weight = torch.randn(6, 16)
    mask = nm_mask(weight.abs())
    assert torch.equal(nm_mask((weight * torch.rand(6, 1) * 9).abs()), mask)
    assert torch.equal(nm_mask((weight * mask).abs()), mask)


def test_layers_whose_inputs_m_does_not_divide_stay_whole():
    scores = magnitude_scores(plain_net(8))
    masks = nm_masks(scores)
    assert list(masks) == list(scores)
    for name, mask in masks.items():
        divided = scores[name].shape[1] % 4 == 0
        assert mask.float().mean() == (0.5 if divided else 1.0)
        assert divided == (name != "0.0.weight")


def test_masks_of_a_network_are_those_of_its_layers_and_hold_half_of_it():
    net = plain_mlp()
    scores = magnitude_scores(net)
    masks = nm_masks(scores)
    assert all(torch.equal(masks[n], nm_mask(scores[n])) for n in scores)
    assert count_kept(masks).kept == 36_100
    prune_(net, masks)
    assert all(is_nm(mask) for mask in masks_of(net).values())
    quarter = nm_masks(scores, 1, 4)
    assert count_kept(quarter).kept == 18_050


def test_fewer_than_n_pass_the_check_and_more_do_not():
    assert is_nm(torch.zeros(2, 8))
    assert is_nm(torch.tensor([[0.0, -1.0, 2.0, 0.0]]))
    assert not is_nm(torch.tensor([[True, True, True, False]]))
    assert not is_nm(torch.tensor([[-1.0, -2.0, 0.0, -3.0]]))
    assert is_nm(torch.tensor([[True, True, True, False]]), 3, 4)
    assert not is_nm(torch.tensor([[False, True, False, True]]), 1, 4)
    # half of it, but in the wrong places
    assert not is_nm(torch.tensor([[True] * 4 + [False] * 4]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_nm(4, 4), "keep must be below group=4, got 4"),
        (lambda: check_nm(0, 4), "keep must be at least 1, got 0"),
        (lambda: nm_mask(torch.rand(2, 8), 4, 2), "keep must be below group=2, got 4"),
        (lambda: nm_mask(torch.rand(2, 6)), "group=4 must divide inputs, got 6"),
        (lambda: nm_mask(torch.rand(8)), r"weight must be \(out, in\) or"),
        (lambda: nm_mask(torch.full((1, 4), float("nan"))), "scores has nan"),
        (lambda: nm_masks({"w": torch.rand(2, 6)}), "divides the inputs of no layer"),
        (lambda: nm_masks({}), "divides the inputs of no layer"),
        (lambda: is_nm(torch.rand(2, 6)), "group=4 must divide inputs, got 6"),
        (lambda: is_nm(torch.rand(2, 8), 4, 4), "keep must be below group=4"),
        (lambda: to_groups(torch.rand(2, 8), 0), "group must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
