"""Genotypes of DARTS: what they say, and that nothing else passes."""

import numpy as np
import pytest

from effdl.nas.darts_sampling import sample_darts_cell
from effdl.nas.darts_space import (
    CANDIDATES,
    DARTS_V2,
    OPERATIONS,
    DartsCell,
    Edge,
    Genotype,
)

SKIP, POOL = "skip_connect", "max_pool_3x3"


def test_a_graph_is_read_off_the_nodes_by_hand():
    cell = DartsCell((
        (Edge(0, SKIP), Edge(1, POOL)),
        (Edge(0, POOL), Edge(2, "sep_conv_5x5")),
    ))
    assert cell.graph() == {
        (0, 2): SKIP,
        (1, 2): POOL,
        (0, 3): POOL,
        (2, 3): "sep_conv_5x5",
    }
    assert cell.states == 4


def test_pairs_in_any_order_are_one_cell():
    first = DartsCell.from_pairs([(SKIP, 0), (POOL, 1), ("sep_conv_3x3", 2), (SKIP, 0)])
    second = DartsCell.from_pairs([
        (POOL, 1),
        (SKIP, 0),
        (SKIP, 0),
        ("sep_conv_3x3", 2),
    ])
    assert first == second
    assert first.nodes[1] == (Edge(0, SKIP), Edge(2, "sep_conv_3x3"))
    assert hash(first) == hash(second)


def test_a_thousand_cells_survive_becoming_graphs():
    random = np.random.default_rng(0)
    for number in range(1_000):
        cell = sample_darts_cell(random, nodes=1 + number % 4)
        assert DartsCell.from_graph(cell.graph()) == cell


def test_graphs_are_acyclic_and_every_node_reads_two_states():
    random = np.random.default_rng(0)
    for _ in range(100):
        graph = sample_darts_cell(random).graph()
        assert len(graph) == 8
        assert all(source < target for source, target in graph)
        targets = [target for _, target in graph]
        assert sorted(targets) == [2, 2, 3, 3, 4, 4, 5, 5]


def test_an_unordered_graph_gives_the_same_cell():
    graph = DARTS_V2.reduce.graph()
    backwards = dict(reversed(graph.items()))
    assert DartsCell.from_graph(backwards) == DARTS_V2.reduce


def test_none_is_searched_with_but_never_kept():
    assert len(OPERATIONS) == 8
    assert set(OPERATIONS) - set(CANDIDATES) == {"none"}
    assert len(CANDIDATES) == 7


def test_the_published_cells():
    """Second order, CIFAR-10: convolutions in the one cell, poolings in the other."""
    normal, reduce = DARTS_V2
    assert normal.nodes == (
        (Edge(0, "sep_conv_3x3"), Edge(1, "sep_conv_3x3")),
        (Edge(0, "sep_conv_3x3"), Edge(1, "sep_conv_3x3")),
        (Edge(0, SKIP), Edge(1, "sep_conv_3x3")),
        (Edge(0, SKIP), Edge(2, "dil_conv_3x3")),
    )
    assert reduce.nodes == (
        (Edge(0, POOL), Edge(1, POOL)),
        (Edge(1, POOL), Edge(2, SKIP)),
        (Edge(0, POOL), Edge(2, SKIP)),
        (Edge(1, POOL), Edge(2, SKIP)),
    )
    assert Genotype(normal=normal, reduce=reduce) == DARTS_V2


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "nodes must be at least 1, got 0"),
        (((Edge(0, SKIP),),), r"state 2 must read 2 different states .* got \[0\]"),
        (((Edge(0, SKIP), Edge(0, POOL)),), r"must read 2 different .* got \[0, 0\]"),
        (((Edge(1, SKIP), Edge(0, POOL)),), r"ascending order, got \[1, 0\]; DartsCe"),
        (((Edge(0, SKIP), Edge(2, POOL)),), "state 2 can read states 0 to 1, got 2"),
        (((Edge(-1, SKIP), Edge(1, POOL)),), "state 2 can read states 0 to 1, got -1"),
        (((Edge(0, "none"), Edge(1, POOL)),), "unknown operation 'none' on an edge of"),
        (((Edge(0, SKIP), Edge(1, "conv")),), "'conv' on an edge of state 2; choose f"),
    ],
)
def test_what_is_no_cell_is_refused(nodes, message):
    with pytest.raises(ValueError, match=message):
        DartsCell(nodes)


def test_an_odd_list_is_refused():
    with pytest.raises(ValueError, match="pairs must be 2 for each node, got 3"):
        DartsCell.from_pairs([(SKIP, 0), (POOL, 1), (SKIP, 0)])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({}, r"state 2 must read 2 different states in ascending order, got \[\]"),
        ({(0, 2): SKIP, (1, 2): SKIP, (0, 4): SKIP, (1, 4): SKIP}, "state 3 must read"),
        ({(0, 2): SKIP, (1, 2): SKIP, (0, 1): SKIP}, "no edge may end in state 1"),
    ],
)
def test_a_graph_with_gaps_is_refused(graph, message):
    with pytest.raises(ValueError, match=message):
        DartsCell.from_graph(graph)
