"""Dropout on skips: where it is, what it does, and how its rate falls."""

import math

import pytest
import torch
from torch import nn

from effdl.nas.darts_operations import Zero, darts_operation
from effdl.nas.darts_space import OPERATIONS
from effdl.nas.gradient.darts_supernet import small_darts_supernet
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.skip_dropout import (
    dropout_rate,
    edge_with_dropout,
    set_dropout_,
)


def edges_of(stride):
    """Return an edge without dropout and one with it, sharing their modules."""
    modules = {name: darts_operation(name, 4, stride) for name in OPERATIONS}
    return MixedOperation(modules), edge_with_dropout(modules)


@pytest.mark.parametrize("stride", [1, 2])
def test_at_rate_0_an_edge_is_what_it_was(stride):
    plain, dropping = edges_of(stride)
    x, weights = torch.randn(2, 4, 6, 6), torch.rand(8)
    assert torch.equal(dropping(x, weights), plain(x, weights))
    assert list(dropping.candidates) == list(OPERATIONS)


def test_only_the_skip_without_stride_has_it():
    for stride, expected in ((1, ["skip_connect"]), (2, [])):
        candidates = edges_of(stride)[1].candidates
        found = [name for name, m in candidates.items() if isinstance(m, nn.Dropout)]
        assert found == expected


def test_a_skip_loses_its_share_and_keeps_its_mean():
    edge = edge_with_dropout({"none": Zero(), "skip_connect": nn.Identity()})
    set_dropout_(edge, 0.25)
    y = edge(torch.ones(1, 4, 100, 100), torch.tensor([0.5, 0.5]))
    assert y.unique().tolist() == pytest.approx([0.0, 0.5 / 0.75])
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert y.mean().item() == pytest.approx(0.5, abs=0.01)
    edge.eval()
    assert (edge(torch.ones(1, 4, 2, 2), torch.tensor([0.5, 0.5])) == 0.5).all()


def test_a_rate_is_set_on_every_edge_of_a_supernet():
    """3 cells of 14 edges, but for 8 with stride 2 in each of two reductions."""
    net = small_darts_supernet(make_edge=edge_with_dropout)
    set_dropout_(net, 0.4)
    rates = [m.p for m in net.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.4] * (3 * 14 - 2 * 8)


def test_the_rate_falls_in_a_line_and_then_from_the_start_exponentially():
    """Rate 0.7 in 25 epochs, 10 of them for the weights alone, as the authors do."""
    rates = [dropout_rate(0.7, n, 25, warm_up=10) for n in range(25)]
    assert rates[0] == pytest.approx(0.7 * 24 / 25)
    assert rates[9] == pytest.approx(0.7 * 15 / 25)
    assert rates[10] == 0.7
    assert rates[24] == pytest.approx(0.7 * math.exp(-0.2 * 14))
    for part in (rates[:10], rates[10:]):
        assert part == sorted(part, reverse=True)
    assert dropout_rate(0.4, 0, 5) == 0.4
    assert dropout_rate(0.0, 3, 5) == 0.0


def test_what_cannot_be_is_named():
    net = nn.Sequential(nn.Dropout())
    for rate in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="rate must be from 0 to below 1, got"):
            set_dropout_(net, rate)
    with pytest.raises(ValueError, match="supernet has no dropout; make its edges by"):
        set_dropout_(nn.Identity(), 0.1)
