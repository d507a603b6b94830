"""Mask decay: from dense to N:M without an edge, in both directions."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from effdl.prune.gradient_flow import (
    FadingMask,
    exponential_factor,
    fade,
    linear_factor,
)
from effdl.prune.masks import masks_of, prune_
from effdl.prune.nm import is_nm, nm_mask
from effdl.prune.nm_moving import MovingMask, hold_still_, move_masks_


def test_the_weight_is_the_mask_plus_a_share_of_the_rest():
    weight = torch.randn(3, 8, requires_grad=True)
    m, g = nm_mask(weight.detach().abs()).float(), torch.randn(3, 8)
    value = FadingMask(weight, factor=0.3)(weight)
    torch.testing.assert_close(value, weight * (m + 0.3 * (1 - m)))
    (slope,) = torch.autograd.grad((value * g).sum(), weight)
    torch.testing.assert_close(slope, g * (m + 0.3 * (1 - m)))


def trained(attach, steps=4):
    """Return the weights of a small network after some steps of Adam."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    attach(net)
    adam = torch.optim.Adam(net.parameters(), 0.05)
    for _ in range(steps):
        adam.zero_grad()
        net(torch.randn(16, 8)).square().mean().backward()
        adam.step()
    return [layer.weight.detach() for layer in (net[0], net[2])]


NAMES = ("0.weight", "2.weight")


def test_with_factor_1_training_is_dense():
    dense = trained(lambda net: None)
    fading = trained(lambda net: move_masks_(net, NAMES, FadingMask))
    for a, b in zip(dense, fading, strict=True):
        assert torch.equal(a, b)


def test_with_factor_0_training_is_that_of_the_hard_mask():
    hard = trained(lambda net: move_masks_(net, NAMES, MovingMask))
    fading = trained(
        lambda net: move_masks_(net, NAMES, lambda w: FadingMask(w, factor=0.0))
    )
    for a, b in zip(hard, fading, strict=True):
        assert torch.equal(a, b)
        assert is_nm(b)


def test_both_decays_fall_from_1_and_never_rise():
    for factor in (linear_factor, exponential_factor):
        values = [factor(t / 20) for t in range(21)]
        assert values[0] == 1
        assert all(a > b for a, b in pairwise(values))
    assert linear_factor(1.0) == 0
    assert linear_factor(0.25, rate=2.0) == 0.5
    assert linear_factor(0.75, rate=2.0) == 0
    assert exponential_factor(0.5, rate=3.0) == pytest.approx(math.exp(-1.5))


def test_fading_begins_at_the_start_and_ends_hard():
    """Five steps before it, four of it: .75, .5, .25 and from then on 0."""
    layer = nn.Linear(8, 2)
    move_masks_(layer, ["weight"], FadingMask)
    after_step, seen = fade(layer, linear_factor, steps=4, start=5), []
    for _ in range(11):
        after_step()
        seen.append(layer.parametrizations.weight[0].factor)
    assert seen == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0]
    assert int(layer.weight.count_nonzero()) == 8


def test_an_exponential_is_cut_at_the_end():
    layer = nn.Linear(8, 2)
    move_masks_(layer, ["weight"], FadingMask)
    after_step = fade(layer, exponential_factor, steps=2)
    after_step()
    assert layer.parametrizations.weight[0].factor == pytest.approx(math.exp(-2.5))
    after_step()
    assert layer.parametrizations.weight[0].factor == 0
    assert is_nm(layer.weight.detach())


def test_held_still_it_is_hard_at_once():
    layer = nn.Linear(8, 2)
    move_masks_(layer, ["weight"], FadingMask)
    hold_still_(layer)
    assert int(layer.weight.count_nonzero()) == 8
    assert int(masks_of(layer)["weight"].sum()) == 8


@pytest.mark.parametrize("factor", [-0.1, 1.1, float("nan")])
def test_a_factor_out_of_range_is_refused(factor):
    with pytest.raises(ValueError, match="factor must be from 0 to 1, got"):
        FadingMask(torch.ones(2, 4), factor=factor)


def test_a_network_without_fading_masks_is_refused():
    layer = nn.Linear(4, 2)
    prune_(layer, {"weight": torch.ones(2, 4) > 0})
    with pytest.raises(ValueError, match="model has no fading masks"):
        fade(layer, linear_factor, steps=3)
    with pytest.raises(ValueError, match="steps"):
        fade(layer, linear_factor, steps=0)
