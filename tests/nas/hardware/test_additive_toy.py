"""The toy without networks: its exact answers against trying everything."""

import itertools

import pytest
import torch

from effdl.nas.choice_front import best_within
from effdl.nas.hardware.additive_toy import (
    AdditiveToy,
    best_for_multiplier,
    exact_front,
    seeded_toy,
    switches,
)
from effdl.nas.hardware.expected_cost import CostTable

TABLE = CostTable(
    2.0, torch.tensor([[1.0, 2.0, 5.0], [0.0, 3.0, 1.0], [2.0, 2.0, 4.0]])
)


def every(toy):
    edges, candidates = toy.utilities.shape
    return itertools.product(range(candidates), repeat=edges)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_for_a_multiplier_is_the_best_of_all(seed):
    toy = seeded_toy(TABLE, seed, noise=1.0)
    for multiplier in (0.0, 0.05, 0.2, 1.0):
        found = best_for_multiplier(toy, multiplier)
        best = max(toy.utility(a) - multiplier * TABLE.of(a) for a in every(toy))
        assert toy.utility(found) - multiplier * TABLE.of(found) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_the_front_has_the_best_utility_for_every_cost(seed):
    toy = seeded_toy(TABLE, seed, noise=1.0)
    front = exact_front(toy, tick=0.5)
    for budget in range(6, 24):
        affordable = [a for a in every(toy) if (TABLE.of(a) - 2.0) / 0.5 <= budget]
        best = max(map(toy.utility, affordable))
        assert best_within(front, budget).value == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_architecture_changes_at_the_switches_and_nowhere_else(seed):
    toy = seeded_toy(TABLE, seed, noise=1.0)
    prices = sorted(set(switches(toy)))
    edges = [0.0, *prices, prices[-1] * 2]
    for low, high in itertools.pairwise(edges):
        inside = [low + (high - low) * t for t in (1e-3, 0.5, 1 - 1e-3)]
        assert len({best_for_multiplier(toy, m) for m in inside}) == 1
    for price in prices:
        before, after = (best_for_multiplier(toy, price * f) for f in (0.999, 1.001))
        assert before != after
        assert TABLE.of(after) < TABLE.of(before)


def test_no_multiplier_finds_what_is_below_the_hull_by_hand():
    """Costs 0, 1, 2 and utilities 0, 0.4, 1: the middle one loses to both."""
    costs = CostTable(0.0, torch.tensor([[0.0, 1.0, 2.0]]))
    toy = AdditiveToy(torch.tensor([[0.0, 0.4, 1.0]]), costs)
    assert switches(toy) == [0.5]
    found = {best_for_multiplier(toy, m / 100) for m in range(100)}
    assert found == {(2,), (0,)}
    assert [p.choices for p in exact_front(toy, tick=1.0)] == [(0,), (1,), (2,)]


def test_utilities_by_hand():
    """Spans 4, 3 and 2 of 9; the middle candidate of edge 0 has t = 1/4: 7/16."""
    toy = seeded_toy(TABLE, 0, gain=2.0, noise=0.0)
    wanted = [
        [0, 2 * 4 / 9 * 7 / 16, 2 * 4 / 9],
        [0, 2 * 3 / 9, 2 * 3 / 9 * 5 / 9],
        [0, 0, 2 * 2 / 9],
    ]
    torch.testing.assert_close(toy.utilities, torch.tensor(wanted))
    assert toy.utility((2, 1, 2)) == pytest.approx(2.0)
    assert toy.table is TABLE


def test_the_noise_is_the_seeds_and_shrinks_with_the_number_of_edges():
    one, same, other = (seeded_toy(TABLE, seed) for seed in (0, 0, 1))
    assert torch.equal(one.utilities, same.utilities)
    assert not torch.equal(one.utilities, other.utilities)
    wide = CostTable(0.0, torch.rand(100, 50))
    loud, quiet = (seeded_toy(wide, 0, noise=n, gain=2.0).utilities for n in (3.0, 0))
    assert (loud - quiet).std().item() == pytest.approx(2 * 3 / 100, rel=0.05)
    assert (loud - quiet).mean().item() == pytest.approx(0, abs=0.003)


def test_the_space_has_a_number_for_every_candidate():
    space = seeded_toy(TABLE, 0).space(spread=0)
    assert space.candidates == (("0", "1", "2"),) * 3
    assert not space.logits.any()
    assert 0.05 < seeded_toy(TABLE, 0).space(spread=0.5).logits.std() < 2


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="there is no trade-off"):
        seeded_toy(CostTable(1.0, torch.ones(2, 2)), 0)
    for tick in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"tick must be above 0, got {tick}"):
            exact_front(seeded_toy(TABLE, 0), tick=tick)
