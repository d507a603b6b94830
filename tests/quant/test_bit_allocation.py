"""The programme against brute force."""

import itertools

import numpy as np
import pytest

from effdl.quant.bit_allocation import allocate, allocations


def tables(seed, layers=5, candidates=3):
    random = np.random.default_rng(seed)
    omegas = random.integers(0, 1000, (layers, candidates)) / 8  # exact sums
    costs = np.sort(random.integers(1, 40, (layers, candidates)), axis=1) * 16
    return omegas.tolist(), costs.tolist()


def brute_force(omegas, costs, budget):
    """Return the least sum of sensitivities within a budget, over all members."""
    best = np.inf
    for choices in itertools.product(range(len(costs[0])), repeat=len(costs)):
        cost = sum(row[k] for row, k in zip(costs, choices, strict=True))
        if cost <= budget:
            omega = sum(row[k] for row, k in zip(omegas, choices, strict=True))
            best = min(best, omega)
    return best


@pytest.mark.parametrize("seed", range(4))
def test_the_programme_finds_what_brute_force_finds(seed):
    omegas, costs = tables(seed)
    least, most = sum(map(min, costs)), sum(map(max, costs))
    for budget in np.linspace(least, most, 7).tolist():
        found = allocate(omegas, costs, budget)
        assert found.sensitivity == brute_force(omegas, costs, budget)
        assert found.cost <= budget


def test_sums_are_those_of_the_choices():
    omegas, costs = tables(9)
    for found in allocations(omegas, costs):
        pairs = list(enumerate(found.choices))
        assert found.cost == sum(costs[layer][k] for layer, k in pairs)
        assert found.sensitivity == sum(omegas[layer][k] for layer, k in pairs)


def test_the_front_is_every_member_that_none_beats():
    omegas, costs = tables(3, layers=3)
    points = {
        (
            sum(r[k] for r, k in zip(costs, c, strict=True)),
            sum(r[k] for r, k in zip(omegas, c, strict=True)),
        )
        for c in itertools.product(range(3), repeat=3)
    }
    unbeaten = {
        (cost, omega)
        for cost, omega in points
        if not any(
            c <= cost and o <= omega and (c, o) != (cost, omega) for c, o in points
        )
    }
    found = allocations(omegas, costs)
    assert {(f.cost, f.sensitivity) for f in found} == unbeaten
    assert [f.cost for f in found] == sorted(f.cost for f in found)


def test_by_hand():
    """Layer a: 20 bits harm 9, 40 harm 1. Layer b: 2 harm 4, 4 harm 0.

    Within 43: (40, 2) harms 1 + 4 = 5, (20, 4) harms 9. Within 41: only (20, .) fits.
    """
    omegas, costs = [[9.0, 1.0], [4.0, 0.0]], [[20, 40], [2, 4]]
    assert allocate(omegas, costs, 43) == ((1, 0), 42, 5.0)
    assert allocate(omegas, costs, 41) == ((0, 1), 24, 9.0)
    assert allocate(omegas, costs, 44).cost == 44


def test_a_common_factor_of_the_costs_changes_no_choice():
    omegas, costs = tables(5)
    large = [[10**9 * cost for cost in row] for row in costs]
    small = allocations(omegas, costs)
    assert [a.choices for a in allocations(omegas, large)] == [a.choices for a in small]
    assert allocations(omegas, large)[0].cost == 10**9 * small[0].cost


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"sensitivities\[1\] must be finite"):
        allocations([[1.0], [float("nan")]], [[1], [1]])
    with pytest.raises(ValueError, match="budget must be at least 3, the cost"):
        allocate([[1.0], [1.0]], [[1], [2]], 2)
    with pytest.raises(ValueError, match="must have the same candidates"):
        allocations([[1.0]], [[1, 2]])
