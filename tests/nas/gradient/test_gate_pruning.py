"""Shares, their price, and what is dropped first."""

import math

import pytest
import torch

from effdl.nas.cell_space import EDGES
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gate_pruning import (
    PACE,
    Pace,
    drop_weak_,
    gate_shares,
    gold_price,
    operations_left,
)
from effdl.nas.gradient.mixed_net import small_mixed_net

NODES = [target for _, target in EDGES]
NAMES = ("none", "skip_connect", "nor_conv_1x1")


def literal_price(gates, prices, there, nodes):
    """Add up, node by node and operation by operation."""
    total = 0.0
    for node in set(nodes):
        into = [
            (e, k)
            for e in range(len(nodes))
            for k in range(gates.shape[1])
            if nodes[e] == node and there[e, k]
        ]
        gate_sum = sum(gates[e, k] for e, k in into)
        for e, k in into:
            total += prices[e, k] * math.log(1 + len(into) * gates[e, k] / gate_sum)
    return total


def test_the_price_is_the_sum_written_out():
    gates, prices = torch.rand(6, 4), torch.rand(6, 4)
    there = torch.rand(6, 4) > 0.4
    found = gold_price(gates, prices, there, NODES)
    assert found.item() == pytest.approx(
        float(literal_price(gates, prices, there, NODES)), rel=1e-5
    )


def test_shares_of_a_node_sum_to_one():
    gates, there = torch.rand(6, 4), torch.rand(6, 4) > 0.3
    there[0, 0] = True
    shares = gate_shares(gates, there, NODES)
    assert (shares[~there] == 0).all()
    for node in set(NODES):
        into = [edge for edge, target in enumerate(NODES) if target == node]
        assert shares[into].sum().item() == pytest.approx(1)


def test_shares_by_hand():
    """Into node 1: 0.2 and 0.6. Into node 2: 0.5 alone, as 0.9 is not there."""
    gates = torch.tensor([[0.2, 0.6], [0.5, 0.9]])
    there = torch.tensor([[True, True], [True, False]])
    expected = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    torch.testing.assert_close(gate_shares(gates, there, [1, 2]), expected)


def test_a_node_without_operations_costs_nothing_and_gives_finite_gradients():
    gates = torch.rand(2, 2, requires_grad=True)
    there = torch.tensor([[True, True], [False, False]])
    price = gold_price(gates, torch.ones(2, 2), there, [1, 2])
    price.backward()
    assert gates.grad.isfinite().all()
    assert (gates.grad[1] == 0).all()


def test_few_are_cheaper_than_many():
    """Two equal gates cost 2 log 2 = 1.39, one of two log 3 = 1.10, one alone log 2."""

    def price(first, second, both=True):
        gates = torch.tensor([[first, second]])
        there = torch.tensor([[True, both]])
        return gold_price(gates, torch.ones(1, 2), there, [1]).item()

    assert price(0.5, 0.5) == pytest.approx(2 * math.log(2))
    assert price(0.5, 1e-7) == pytest.approx(math.log(3), abs=1e-4)
    assert price(0.5, 0.5, both=False) == pytest.approx(math.log(2))


def test_halving_all_gates_changes_neither_price_nor_network():
    """So a sum of gates is no measure of what is there. Here all edges are normed."""
    names = ("nor_conv_1x1", "nor_conv_3x3")
    net, x = small_mixed_net(names).double(), torch.randn(20, 1, 12, 12).double()
    gates = 0.5 + torch.rand(6, 2).double()
    there = torch.ones(6, 2, dtype=torch.bool)
    prices = torch.ones(6, 2).double()
    torch.testing.assert_close(
        gold_price(gates, prices, there, NODES),
        gold_price(gates / 2, prices, there, NODES),
    )
    other = gates.clone()
    other[:, 0] /= 2
    with torch.no_grad():
        same, half, uneven = (net(x, each) for each in (gates, gates / 2, other))
    assert (same - half).abs().max() < 1e-3
    assert (same - uneven).abs().max() > 1e-2


def test_operations_are_the_active_candidates_but_none():
    found = Architecture([NAMES, ("skip_connect", "none"), ("skip_connect",)])
    found.keep_(0, ["none", "nor_conv_1x1"])
    expected = [[False, False, True], [True, False, False], [True, False, False]]
    assert operations_left(found).tolist() == expected
    assert found.active[0, 0]  # as it was


def test_all_below_the_low_share_go_and_as_many_weak_ones_as_are_enough():
    """Shares 0.002 and 0.005 go always; of 0.02, 0.03 and 0.04 one or two."""
    names = ("none", "a", "b", "c", "d", "e", "f")
    gates = torch.tensor([[0.9, 0.002, 0.03, 0.005, 0.02, 0.04, 0.903]])
    for enough, left in ((1, "bef"), (2, "ef"), (4, "f")):
        found = Architecture([names])
        pace = Pace(low=0.01, high=0.05, enough=enough)
        dropped = drop_weak_(found, gates, [1], pace=pace)
        assert found.left(0) == ("none", *left)
        assert dropped == 6 - len(left)


def test_shares_are_counted_anew_after_each_drop():
    """0.02 of 0.11 is 18 percent; without 0.01, 20 percent: no longer below."""
    gates = torch.tensor([[0.0, 0.01, 0.02, 0.08]])
    found = Architecture([("none", "a", "b", "c")])
    assert drop_weak_(found, gates, [1], pace=Pace(high=0.19)) == 1
    assert found.left(0) == ("none", "b", "c")


def test_the_weakest_is_looked_for_on_all_edges():
    gates = torch.tensor([[0.0, 0.5, 0.03], [0.0, 0.4, 0.02], [0.0, 0.9, 0.04]])
    found = Architecture([("none", "a", "b")] * 3)
    assert drop_weak_(found, gates, [1, 1, 2], pace=Pace(enough=1)) == 1
    assert [found.left(edge) for edge in range(3)] == [
        ("none", "a", "b"),
        ("none", "a"),
        ("none", "a", "b"),
    ]


def test_an_edge_that_loses_its_last_operation_becomes_none():
    gates = torch.tensor([[0.5, 1e-4], [0.5, 0.7]])
    found = Architecture([("none", "a")] * 2)
    assert drop_weak_(found, gates, [1, 1], pace=PACE) == 1
    assert found.left(0) == ("none",)
    assert found.strongest() == ("none", "a")


def test_without_none_the_strongest_of_an_edge_stays():
    gates = torch.tensor([[2e-4, 1e-4], [0.5, 0.7]])
    found = Architecture([("a", "b")] * 2)
    assert drop_weak_(found, gates, [1, 1], pace=PACE) == 1
    assert found.left(0) == ("a",)
    assert found.left(1) == ("a", "b")


def test_a_node_keeps_its_last_operation_however_small_its_gate():
    found = Architecture([("none", "a", "b")])
    gates = torch.tensor([[0.9, 1e-9, 1e-6]])
    assert drop_weak_(found, gates, [1], pace=PACE) == 1
    assert found.left(0) == ("none", "b")
    assert drop_weak_(found, gates, [1], pace=PACE) == 0


def test_the_share_at_the_threshold_stays():
    found = Architecture([("none", "a", "b")])
    gates = torch.tensor([[0.0, 0.25, 0.75]])
    assert drop_weak_(found, gates, [1], pace=Pace(high=0.25)) == 0
    assert drop_weak_(found, gates, [1], pace=Pace(high=0.26)) == 1


def test_the_default_pace_is_that_of_the_reimplementation():
    assert Pace(0.01, 0.05, 4, 1e-5, 2.0) == PACE == Pace()


@pytest.mark.parametrize(
    "wrong",
    [{"low": 0.1}, {"low": -1}, {"high": 1}, {"start": -1e-3}, {"factor": 1}],
    ids=str,
)
def test_an_impossible_pace_is_named(wrong):
    with pytest.raises(ValueError, match="pace needs 0 <= low <= high < 1, start"):
        Pace(**wrong)
