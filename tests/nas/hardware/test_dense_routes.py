"""Routes: the recursions give what a list of all routes gives."""

import itertools

import pytest
import torch

from effdl.nas.hardware.dense_routes import (
    all_routes,
    chained_cost,
    likeliest_route,
    route_probability,
    route_targets,
)

SPACES = [(5, 3), (5, 4), (7, 2), (2, 1), (4, 1)]


def random_weights(targets, seed=0):
    """Return rows that sum to 1 over the targets that there are, else 0."""
    torch.manual_seed(seed)
    weights = torch.zeros(len(targets), max(map(len, targets)), dtype=torch.float64)
    for row, reached in zip(weights, targets, strict=True):
        row[: len(reached)] = torch.randn(len(reached)).double().softmax(dim=0)
    return weights


def routes_by_subsets(blocks, reach):
    """Return every route: any set of inner blocks without a jump beyond the reach."""
    inner = range(1, blocks - 1)
    found = []
    for size in range(blocks - 1):
        for chosen in itertools.combinations(inner, size):
            route = (0, *chosen, blocks - 1)
            if all(b - a <= reach for a, b in itertools.pairwise(route)):
                found.append(route)
    return found


@pytest.mark.parametrize(("blocks", "reach"), SPACES)
def test_all_routes_are_the_subsets_of_blocks_without_too_long_a_jump(blocks, reach):
    routes = list(all_routes(route_targets(blocks, reach)))
    assert len(routes) == len(set(routes))
    assert set(routes) == set(routes_by_subsets(blocks, reach))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("blocks", "reach"), SPACES)
def test_the_chained_cost_is_the_mean_over_all_routes(blocks, reach, seed):
    """The oracle, by brute force: probability times what the blocks and jumps cost."""
    targets = route_targets(blocks, reach)
    weights = random_weights(targets, seed)
    own = torch.rand(blocks, dtype=torch.float64)
    entry = torch.rand(weights.shape, dtype=torch.float64)
    wanted = total = 0.0
    for route in routes_by_subsets(blocks, reach):
        probability, cost = 1.0, own[0]
        for a, b in itertools.pairwise(route):
            column = b - a - 1
            probability = probability * weights[a, column]
            cost = cost + entry[a, column] + own[b]
        wanted, total = wanted + probability * cost, total + probability
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(chained_cost(weights, targets, own, entry), wanted)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("blocks", "reach"), SPACES)
def test_the_likeliest_route_is_the_best_of_all(blocks, reach, seed):
    targets = route_targets(blocks, reach)
    weights = random_weights(targets, seed)
    best = max(
        routes_by_subsets(blocks, reach),
        key=lambda route: torch.stack([
            weights[a, b - a - 1] for a, b in itertools.pairwise(route)
        ]).prod(),
    )
    assert likeliest_route(weights, targets) == best


def test_the_cost_by_hand():
    """Blocks 1, 10, 100; to block 1 with .25 at entry 2, past it at entry 4; then 8.

    1 + .25 (2 + 10 + 8 + 100) + .75 (4 + 100) = 1 + 30 + 78 = 109.
    """
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    own, entry = torch.tensor([1.0, 10, 100]), torch.tensor([[2.0, 4], [8, 0]])
    assert chained_cost(weights, route_targets(3, 2), own, entry) == 109


def test_the_best_route_need_not_take_the_best_transition_anywhere():
    """Step by step: .6 * .5 = .3 by way of block 1. Past it: .4 * 1 = .4."""
    weights = torch.tensor([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    targets = route_targets(4, 3)
    assert likeliest_route(weights, targets) == (0, 2, 3)
    assert route_probability(weights, targets, (0, 2, 3)) == pytest.approx(0.4)
    assert route_probability(weights, targets, (0, 1, 3)) == pytest.approx(0.3)


@pytest.mark.parametrize("blocks", [4, 7, 10])
def test_of_equal_transitions_the_route_with_the_fewest_blocks_wins(blocks):
    targets = route_targets(blocks, 3)
    route = likeliest_route(torch.full((blocks - 1, 3), 1 / 3), targets)
    assert len(route) == (blocks - 1) // 3 + 1


def test_the_probability_of_a_mixture_with_one_route_is_one():
    targets = route_targets(4, 2)
    weights = torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert likeliest_route(weights, targets) == (0, 2, 3)
    own, entry = torch.tensor([1.0, 2, 4, 8]), torch.ones(3, 2)
    assert chained_cost(weights, targets, own, entry) == 1 + 1 + 4 + 1 + 8


def test_the_slope_of_the_cost_is_the_probability_of_the_block():
    """Own cost of a block counts as often as a route passes it."""
    targets = route_targets(5, 3)
    weights, own = random_weights(targets), torch.rand(5, dtype=torch.float64)
    own.requires_grad_()
    chained_cost(weights, targets, own, torch.zeros_like(weights)).backward()
    passed = torch.zeros(5, dtype=torch.float64)
    for route in all_routes(targets):
        passed[list(route)] += route_probability(weights, targets, route)
    torch.testing.assert_close(own.grad, passed)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="blocks must be at least 2"):
        route_targets(1, 1)
    with pytest.raises(ValueError, match="reach must be at least 1, got 0"):
        route_targets(4, 0)
    targets, free = route_targets(4, 2), torch.zeros(3, 2)
    for wrong in (torch.ones(2, 2), torch.ones(3, 1), torch.ones(3)):
        with pytest.raises(ValueError, match=r"weights must be \(3, 2\)"):
            likeliest_route(wrong, targets)
    with pytest.raises(ValueError, match=r"own must be \(4,\) and entry \(3, 2\)"):
        chained_cost(free, targets, torch.ones(3), free)
    with pytest.raises(ValueError, match=r"own must be \(4,\) and entry \(3, 2\)"):
        chained_cost(free, targets, torch.ones(4), torch.ones(3, 1))
