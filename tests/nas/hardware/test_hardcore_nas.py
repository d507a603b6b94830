"""HardCoRe-NAS: feasible at every step, linear in each block, and a real search."""

import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.search import search
from effdl.nas.hardware.budget_programme import sparsest, within_budget
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.frank_wolfe import step_size
from effdl.nas.hardware.hardcore_nas import (
    FrankWolfeStep,
    bilinear_cost,
    depth_table,
    operation_table,
    probabilities,
)
from effdl.nas.hardware.pixel1_table import load_pixel1
from effdl.seed import seeded
from public_data import skip_unless_pixel1

TABLE = CostTable(1.0, torch.tensor([[0.0, 1.0, 3.0], [0.5, 1.5, 4.0]]))
NAMES = ("a", "b", "c")


def space():
    return Architecture([NAMES] * 2)


def random_simplex(*shape):
    return torch.rand(shape).softmax(dim=-1)


def test_the_bilinear_cost_is_the_mean_over_all_depths():
    """Three stages of two layers: a stage of depth d runs its first d layers."""
    table = CostTable(2.0, torch.rand(6, 4))
    operations, depths = random_simplex(6, 4), random_simplex(3, 2)
    total = table.base
    for stage in range(3):
        for depth in (1, 2):
            for layer in range(depth):
                row = 2 * stage + layer
                cost = sum(
                    float(operations[row, k]) * float(table.extra[row, k])
                    for k in range(4)
                )
                total += float(depths[stage, depth - 1]) * cost
    assert bilinear_cost(operations, depths, table).item() == pytest.approx(total)


def test_each_block_alone_is_linear_with_a_table_of_its_own():
    table = CostTable(2.0, torch.rand(6, 4))
    operations, depths = random_simplex(6, 4), random_simplex(3, 2)
    whole = bilinear_cost(operations, depths, table)
    fixed = operation_table(depths, table)
    torch.testing.assert_close(expected_cost(operations, fixed), whole)
    fixed = depth_table(operations.reshape(3, 2, 4), table)
    torch.testing.assert_close(expected_cost(depths, fixed), whole)


def test_alternating_programmes_of_the_two_blocks_never_leave_the_budget():
    """22 layers of the Pixel 1 as 11 stages of two; T = 70 ms, random gradients."""
    skip_unless_pixel1()
    table, target = load_pixel1(), 0.07
    operations, depths = torch.zeros(22, 4), torch.zeros(11, 2)
    operations[:, 0], depths[:, 0] = 1.0, 1.0  # the cheapest
    for k in range(60):
        gamma = step_size(k, blocks=2)
        if k % 2:
            fixed = operation_table(depths, table)
            corner = within_budget(torch.randn(22, 4), fixed, target)
            operations = operations.lerp(corner, gamma)
        else:
            fixed = depth_table(operations.reshape(11, 2, 4), table)
            depths = depths.lerp(
                within_budget(torch.randn(11, 2), fixed, target), gamma
            )
        assert bilinear_cost(operations, depths, table) <= target * (1 + 1e-5)
    assert bilinear_cost(operations, depths, table) > 0.8 * target


@pytest.mark.parametrize("target", [1.5, 2.0, 3.0, 4.3, 8.0])
def test_the_start_is_feasible_and_as_equal_as_that_allows(target):
    """Equal weights cost 1 + 4/3 + 2 = 4.33."""
    here = space()
    it = FrankWolfeStep(TABLE, target, here)
    cost = expected_cost(probabilities(here), TABLE).item()
    assert cost == pytest.approx(min(target, 1 + 4 / 3 + 2))
    assert it.history == [pytest.approx(cost / target)]
    torch.testing.assert_close(probabilities(here).sum(dim=1), torch.ones(2))
    assert (probabilities(here)[:, 1] == probabilities(here)[:, 2]).all()


def test_a_move_by_hand():
    """Scale 0.5 at k = 0 and 1: halves, then 0.5 * 2/3 of the way to the corner."""
    here = space()
    it = FrankWolfeStep(TABLE, 8.0, here, scale=0.5, momentum=0.0)
    start = probabilities(here).detach().clone()
    towards = torch.tensor([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
    corner = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    it.move_(here, towards)
    torch.testing.assert_close(probabilities(here), start.lerp(corner, 0.5))
    before = probabilities(here).detach().clone()
    it.move_(here, towards)
    torch.testing.assert_close(probabilities(here), before.lerp(corner, 1 / 3))
    assert len(it.history) == 3
    cost = expected_cost(probabilities(here), TABLE).item()
    assert it.history[-1] == pytest.approx(cost / 8.0)


def test_momentum_averages_the_gradients():
    """0.9 of (0, -1, 0) and 0.1 of (0, 0, -8): b still has the least, by 0.1."""
    here, there = space(), space()
    first, second = torch.zeros(2, 3), torch.zeros(2, 3)
    first[:, 1], second[:, 2] = -1.0, -8.0
    slow = FrankWolfeStep(TABLE, 8.0, here, momentum=0.9)
    fast = FrankWolfeStep(TABLE, 8.0, there, momentum=0.0)
    for it, where in ((slow, here), (fast, there)):
        it.move_(where, first)
        it.move_(where, second)
    assert (probabilities(here)[:, 1] > 0.4).all()
    assert (probabilities(there)[:, 2] > probabilities(here)[:, 2]).all()


def test_no_step_leaves_the_budget_whatever_the_gradient():
    here = space()
    it = FrankWolfeStep(TABLE, 2.4, here, scale=1.0, momentum=0.0)
    for _ in range(100):
        it.move_(here, torch.randn(2, 3))
        assert probabilities(here).min() >= 0
        torch.testing.assert_close(probabilities(here).sum(dim=1), torch.ones(2))
    assert max(it.history) <= 1 + 1e-6
    kept = sparsest(probabilities(here).detach(), TABLE, 2.4)
    assert expected_cost(kept, TABLE) <= 2.4


def test_inactive_candidates_have_and_keep_the_weight_zero():
    here = space()
    here.keep_(0, ["b", "c"])
    assert here.logits[0, 0] != 0 == probabilities(here)[0, 0]
    it = FrankWolfeStep(TABLE, 4.0, here)
    for _ in range(5):
        it.move_(here, torch.tensor([[-9.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
    assert probabilities(here)[0, 0] == 0
    torch.testing.assert_close(probabilities(here).sum(dim=1), torch.ones(2))
    with pytest.raises(ValueError, match=r"target must be within 2\.5"):
        FrankWolfeStep(TABLE, 2.0, here)


def test_a_real_search_stays_inside_and_every_active_candidate_runs():
    names = ("skip_connect", "nor_conv_1x1")
    table = CostTable(1.0, torch.tensor([[0.0, 1.0]] * 6))
    digits = small_digits(n_train=100, n_validation=100)
    with seeded(0):
        net, here = small_mixed_net(names), Architecture([names] * 6)
        it = FrankWolfeStep(table, 2.5, here, scale=1.0)  # 1: weights of exactly 0
        parts = [split.batches(50) for split in digits[:2]]
        before = [p.clone() for p in net.parameters()]
        done = search(
            net, here, *parts, epochs=2, method=Method(probabilities, step=it)
        )
    assert len(it.history) == 5
    assert max(it.history) <= 1 + 1e-6
    assert not all(map(torch.equal, net.parameters(), before))
    assert expected_cost(done[-1].weights, table) <= 2.5 + 1e-5
    assert 0 < done[-1].loss < 5


@pytest.mark.parametrize(
    "options", [{"scale": 0.0}, {"scale": 1.1}, {"momentum": 1.0}, {"momentum": -0.1}]
)
def test_what_cannot_be_is_named(options):
    with pytest.raises(ValueError, match="scale must be above 0 and at most 1, and"):
        FrankWolfeStep(TABLE, 2.0, space(), **options)
    for target in (0.5, 9.0):
        with pytest.raises(ValueError, match=r"target must be within 1.5 and 8.*got"):
            FrankWolfeStep(TABLE, target, space())
