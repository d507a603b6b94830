"""Structure decay: N:M itself changes, from easy to hard."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from effdl.prune.nm import is_nm
from effdl.prune.nm_moving import MovingMask, move_masks_
from effdl.prune.sr_ste import SrSte
from effdl.prune.structure_decay import (
    geometric_patterns,
    stepwise_patterns,
    tighten,
)


def test_the_patterns_are_those_of_the_authors():
    assert stepwise_patterns(1, 8) == [(7, 8), (4, 8), (2, 8), (1, 8)]
    assert stepwise_patterns(1, 16) == [(15, 16), (8, 16), (4, 16), (2, 16), (1, 16)]
    assert geometric_patterns(1, 8) == [(8, 64), (4, 32), (2, 16), (1, 8)]


def test_other_ends_are_reached_too():
    assert stepwise_patterns(3, 8) == [(7, 8), (4, 8), (3, 8)]
    assert stepwise_patterns(3, 4) == [(3, 4)]
    assert stepwise_patterns(1, 4) == [(3, 4), (2, 4), (1, 4)]
    assert stepwise_patterns(1, 2) == [(1, 2)]
    assert geometric_patterns(2, 4, times=1) == [(2, 4)]
    assert geometric_patterns(2, 4, times=2) == [(4, 8), (2, 4)]


@pytest.mark.parametrize(("keep", "group"), [(1, 8), (2, 4), (3, 8), (5, 16)])
def test_stepwise_falls_and_geometric_keeps_the_share(keep, group):
    kept = [n / m for n, m in stepwise_patterns(keep, group)]
    assert all(a > b for a, b in pairwise(kept))
    assert kept[-1] == keep / group
    assert {n / m for n, m in geometric_patterns(keep, group)} == {keep / group}


def test_the_first_holds_at_once_and_the_last_from_the_end_on():
    """Two steps before, six of it for three changes: one every two steps."""
    layer = nn.Linear(16, 2)
    move_masks_(layer, ["weight"], lambda w: SrSte(w, 1, 8, decay=0.0))
    after_step = tighten(layer, stepwise_patterns(1, 8), steps=6, start=2)
    seen = []
    for _ in range(10):
        seen.append(int(layer.weight.count_nonzero()) // 4)
        after_step()
    assert seen == [7, 7, 7, 7, 4, 4, 2, 2, 1, 1]
    assert is_nm(layer.weight.detach(), 1, 8)


def test_every_count_of_steps_ends_with_the_last_pattern():
    for steps in range(1, 40):
        layer = nn.Linear(8, 1)
        move_masks_(layer, ["weight"], MovingMask)
        after_step = tighten(layer, stepwise_patterns(1, 8), steps=steps)
        for _ in range(steps - 1):
            after_step()
        assert int(layer.weight.count_nonzero()) > 1
        after_step()
        assert int(layer.weight.count_nonzero()) == 1


def test_all_layers_change_together():
    net = nn.Sequential(nn.Linear(64, 8), nn.Linear(64, 8))
    move_masks_(net, ["0.weight", "1.weight"], lambda w: MovingMask(w, 1, 8))
    after_step = tighten(net, geometric_patterns(1, 8), steps=3)
    assert [net[i].parametrizations.weight[0].group for i in (0, 1)] == [64, 64]
    after_step()
    assert [net[i].parametrizations.weight[0].keep for i in (0, 1)] == [4, 4]
    assert all(int(layer.weight.count_nonzero()) == 64 for layer in net)


def test_what_is_gone_has_no_slope_under_a_plain_moving_mask():
    layer = nn.Linear(8, 1)
    move_masks_(layer, ["weight"], MovingMask)
    tighten(layer, [(4, 8), (1, 8)], steps=1)
    layer(torch.randn(5, 8)).square().sum().backward()
    assert layer.parametrizations.weight.original.grad.count_nonzero() == 4


@pytest.mark.parametrize(
    ("patterns", "message"),
    [([], "patterns is empty"), ([(4, 8), (8, 8)], "keep must be below group=8")],
)
def test_bad_patterns_are_refused(patterns, message):
    layer = nn.Linear(8, 1)
    move_masks_(layer, ["weight"], MovingMask)
    with pytest.raises(ValueError, match=message):
        tighten(layer, patterns, steps=4)


def test_bad_numbers_and_networks_are_refused():
    with pytest.raises(ValueError, match="model has no moving masks"):
        tighten(nn.Linear(8, 1), [(1, 8)], steps=4)
    with pytest.raises(ValueError, match="steps"):
        tighten(nn.Linear(8, 1), [(1, 8)], steps=0)
    with pytest.raises(ValueError, match="times must be a power of 2, got 6"):
        geometric_patterns(1, 8, times=6)
    with pytest.raises(ValueError, match="keep must be below group"):
        stepwise_patterns(8, 8)
