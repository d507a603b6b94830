"""The programme within a budget, against SciPy's solver and against trying all."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from effdl.nas.hardware.budget_programme import hull_moves, sparsest, within_budget
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.pixel1_table import load_pixel1
from public_data import skip_unless_pixel1


def solved(gradient, table, target):
    """Return the least <g, s> that SciPy finds."""
    edges, candidates = table.extra.shape
    rows = np.kron(np.eye(edges), np.ones(candidates))
    answer = linprog(
        gradient.double().flatten().numpy(),
        A_ub=table.extra.double().flatten().numpy()[None],
        b_ub=[target - table.base],
        A_eq=rows,
        b_eq=np.ones(edges),
        bounds=(0, 1),
    )
    assert answer.status == 0
    return answer.fun


def check(gradient, table, target):
    point = within_budget(gradient, table, target)
    assert point.min() >= 0
    torch.testing.assert_close(point.sum(dim=1), torch.ones(len(point)))
    assert expected_cost(point, table) <= target * (1 + 1e-6)
    assert ((point > 0) & (point < 1)).any(dim=1).sum() <= 1  # one edge is not one-hot
    wanted = solved(gradient, table, target)
    assert float((gradient * point).sum()) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_random_programmes_are_solved_as_scipy_does(seed):
    random = np.random.default_rng(seed)
    extra = torch.from_numpy(random.integers(0, 6, (5, 4))).float()  # with ties
    table = CostTable(1.0, extra)
    gradient = torch.from_numpy(random.normal(size=(5, 4))).float()
    low = 1 + float(extra.min(dim=1).values.sum())
    high = 1 + float(extra.max(dim=1).values.sum())
    for share in (0.0, 0.1, 0.4, 0.7, 1.0):
        check(gradient, table, low + share * (high - low))


@pytest.mark.parametrize("target", [0.057, 0.07, 0.09, 0.12])
def test_on_the_pixel_table_too(target):
    skip_unless_pixel1()
    check(torch.randn(22, 4), load_pixel1(), target)


def test_two_edges_by_hand():
    """Saving 3 of 8: edge 0 loses 1 for 4, edge 1 loses 3 for 4: 3/4 of edge 0."""
    table = CostTable(0.0, torch.tensor([[0.0, 4.0], [0.0, 4.0]]))
    gradient = torch.tensor([[0.0, -1.0], [0.0, -3.0]])
    found = within_budget(gradient, table, 5.0)
    assert found.tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert within_budget(gradient, table, 8.0).tolist() == [[0, 1], [0, 1]]
    assert within_budget(gradient, table, 0.0).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("seed", [75, 372])
def test_a_move_in_part_is_the_last_one(seed):
    """What rounding leaves of the excess, 1e-17, must not start another move."""
    random = np.random.default_rng(seed)
    costs = torch.from_numpy(random.random((1, 5)))
    gradient = torch.from_numpy(random.normal(size=(1, 5)))
    target = 0.3 + float(costs.min() + (costs.max() - costs.min()) * random.random())
    found = within_budget(gradient, CostTable(0.3, costs), target)
    assert found.sum().item() == pytest.approx(1)


def test_candidates_on_one_line_are_left_in_order():
    worth = torch.tensor([[0.54, 1.03, 0.96, 0.61]], dtype=torch.float64)
    costs = torch.tensor([[0.2, 0.9, 0.8, 0.3]], dtype=torch.float64)
    found = within_budget(-worth, CostTable(0.0, costs), 0.48)
    assert found.tolist() == [pytest.approx([0, 0.3, 0, 0.7])]


def test_moves_go_down_the_hull_only_and_in_order_of_price():
    """Costs 0, 1, 2, 4; utility 0.4 at cost 1 is below the hull of 0, 1 and 1.5."""
    utilities = torch.tensor([[0.0, 0.4, 1.0, 1.5], [0.0, -9.0, 0.1, 0.0]])
    costs = torch.tensor([[0.0, 1.0, 2.0, 4.0]] * 2)
    best, moves = hull_moves(utilities, costs)
    assert best == [3, 2]
    assert [(m.edge, m.left, m.taken) for m in moves] == [
        *((1, 2, 0), (0, 3, 2), (0, 2, 0))
    ]
    assert [m.price for m in moves] == pytest.approx([0.05, 0.25, 0.5])


def test_of_equal_utilities_the_cheaper_is_taken_at_once():
    best, moves = hull_moves(torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 3.0]]))
    assert (best, moves) == ([1], [])


def test_what_may_not_be_chosen_is_not():
    table = CostTable(0.0, torch.tensor([[0.0, 1.0, 2.0]]))
    gradient = torch.tensor([[torch.inf, 0.0, -1.0]])
    assert within_budget(gradient, table, 1.5).tolist() == [[0.0, 0.5, 0.5]]
    with pytest.raises(ValueError, match="at least 1,"):
        within_budget(gradient, table, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_sparsest_is_one_architecture_within_the_budget_and_hardly_improved(seed):
    """One edge is rounded down, so it lacks at most what that edge was worth."""
    random = np.random.default_rng(seed)
    table = CostTable(0.5, torch.from_numpy(random.uniform(0, 4, (4, 3))).float())
    weights = torch.from_numpy(random.dirichlet(np.ones(3), 4)).float()
    target = float(expected_cost(weights, table))
    found = sparsest(weights, table, target)
    assert found.sum(dim=1).tolist() == [1.0] * 4
    assert set(found.flatten().tolist()) == {0.0, 1.0}
    assert expected_cost(found, table) <= target + 1e-5
    worth = float((found * weights).sum())
    best = max(
        sum(float(weights[e, k]) for e, k in enumerate(chosen))
        for chosen in itertools.product(range(3), repeat=4)
        if table.of(chosen) <= target + 1e-6
    )
    assert best - 1 <= worth <= best + 1e-6


def test_too_small_a_budget_is_named():
    table = CostTable(1.0, torch.tensor([[1.0, 2.0], [0.5, 3.0]]))
    for call in (within_budget, sparsest):
        with pytest.raises(ValueError, match=r"target must be at least 2.5.*got 2.4"):
            call(torch.zeros(2, 2), table, 2.4)
