"""Discretisation of DARTS: idempotent, the strongest pairs, and what it costs."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import nn

from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import OPERATIONS as CELL_OPERATIONS
from effdl.nas.darts_cell import node_values
from effdl.nas.darts_sampling import sample_genotype
from effdl.nas.darts_space import DARTS_V2, OPERATIONS, DartsCell, Genotype
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.darts_mixed_cell import EDGES
from effdl.nas.gradient.darts_supernet import darts_architecture
from effdl.nas.gradient.found_cell import found_cell, inherited_accuracy
from effdl.nas.gradient.genotype import (
    edge_choices,
    found_genotype,
    strongest_cell,
    strongest_genotype,
)
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import sigmoid_weights, softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.train import train_classifier

GENOTYPES = [
    DARTS_V2,
    *(sample_genotype(np.random.default_rng(seed)) for seed in range(5)),
]


def by_brute_force(weights):
    """Return the cell of all whose kept edges are strongest, node by node.

    Every pair of edges of a node is tried, with every pair of operations on them.
    """
    pairs, start = [], 0
    for node in range(4):
        rows = weights[start : start + 2 + node].tolist()
        _, i, j, a, b = max(
            (rows[i][a] + rows[j][b], i, j, a, b)
            for i, j in combinations(range(2 + node), 2)
            for a, b in product(range(1, 8), repeat=2)
        )
        pairs += [(OPERATIONS[a], i), (OPERATIONS[b], j)]
        start += 2 + node
    return DartsCell.from_pairs(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_the_two_strongest_edges_are_the_best_of_all_pairs(seed):
    """Largest sum of two different edges: the same as the two largest."""
    weights = torch.randn(14, 8, generator=torch.Generator().manual_seed(seed))
    weights = (2 * weights).softmax(1)
    assert strongest_cell(weights) == by_brute_force(weights)


@pytest.mark.parametrize("genotype", GENOTYPES, ids=range(6))
@pytest.mark.parametrize("t", [0.1, 3.0])
def test_logits_that_encode_a_genotype_give_it_back(genotype, t):
    architecture = darts_architecture()
    architecture.logits.data = t * architecture.one_hot(edge_choices(genotype))
    assert found_genotype(architecture) == genotype
    assert strongest_genotype(architecture.one_hot(edge_choices(genotype))) == genotype


def test_none_takes_part_in_the_softmax_and_is_never_kept():
    """Edge 4 has the largest logit but one, and loses by its none.

    Without none its strength would be 4 / (4 + 6) = 0.4, above all others. With it, it
    is 4 / (4 + 6 + 90) = 0.04, below 1.5 / 8.5.
    """
    odds = torch.ones(14, 8)
    odds[:, 4] = 1.5
    odds[4, 4], odds[4, 0] = 4, 90
    kept = strongest_cell(odds / odds.sum(1, keepdim=True)).nodes[1]
    assert [edge.source for edge in kept] == [0, 1]
    odds[4, 0] = 1
    kept = strongest_cell(odds / odds.sum(1, keepdim=True)).nodes[1]
    assert [edge.source for edge in kept] == [0, 2]


def test_equal_edges_and_candidates_go_to_the_earlier():
    cell = strongest_cell(torch.full((14, 8), 1 / 8))
    assert all(
        node == ((0, "max_pool_3x3"), (1, "max_pool_3x3")) for node in cell.nodes
    )


def test_each_kind_of_cell_has_its_half_of_the_rows():
    weights = torch.full((28, 8), 0.01)
    weights[:14, 3] = weights[14:, 1] = 0.9
    found = strongest_genotype(weights)
    assert set(found.normal.graph().values()) == {"skip_connect"}
    assert set(found.reduce.graph().values()) == {"max_pool_3x3"}


def test_choices_name_none_where_the_genotype_has_no_edge():
    for cell, part in zip(DARTS_V2, (slice(14), slice(14, 28)), strict=True):
        chosen = edge_choices(DARTS_V2)[part]
        assert {
            edge: name
            for edge, name in zip(EDGES, chosen, strict=True)
            if name != "none"
        } == cell.graph()


def test_dropped_candidates_are_not_chosen_and_names_may_differ():
    names = ("sep_conv_3x3", "none", "skip_connect")
    architecture = darts_architecture(names, spread=0)
    for edge in range(28):
        architecture.keep_(edge, ("none", "skip_connect"))
    found = found_genotype(architecture)
    assert set(found.normal.graph().values()) == {"skip_connect"}


def test_the_relaxation_decides_on_the_strength():
    """Under a sigmoid none has no say in how strong an edge is."""
    architecture = darts_architecture(spread=0)
    architecture.logits.data[:, 4] = 0.1
    architecture.logits.data[4, 4], architecture.logits.data[4, 0] = 0.2, 9.0
    soft = found_genotype(architecture, softmax_weights).normal.nodes[1]
    alone = found_genotype(architecture, sigmoid_weights).normal.nodes[1]
    assert [edge.source for edge in soft] == [0, 1]
    assert [edge.source for edge in alone] == [0, 2]


class ThreeNodes(nn.Module):
    """A cell of three nodes that hold two numbers each, then a classifier."""

    def __init__(self):
        super().__init__()
        self.edges = nn.ModuleList(
            MixedOperation({"skip": nn.Identity(), "linear": nn.Linear(2, 2)})
            for _ in range(3)
        )
        self.head = nn.Linear(2, 2)

    def forward(self, x, weights, runs=None):
        """Return two logits from the last node."""
        a, b, c = (
            lambda v, e=e: self.edges[e](v, weights[e], runs and runs[e])
            for e in range(3)
        )
        [*_, last] = node_values([x], [[(0, a)], [(0, b), (1, c)]])
        return self.head(torch.relu(last))


def test_four_stages_on_a_cell_of_three_nodes():
    """Figure 13: start, search, take out, train again.

    The classes are those of x_0 > x_1. A skip can carry what is needed.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 2, generator=generator)
    data = Split(x, (x[:, 0] > x[:, 1]).long())
    net, architecture = ThreeNodes(), Architecture([("skip", "linear")] * 3)
    start = softmax_weights(architecture).detach()
    assert (start - 0.5).abs().max() < 2e-3  # (1): uniform

    epochs = search(  # (2): w and alpha by turns
        net,
        architecture,
        Split(data.inputs[:200], data.targets[:200]).batches(40),
        Split(data.inputs[200:], data.targets[200:]).batches(40),
        epochs=8,
        rates=Rates(weights=0.1, architecture=0.05),
    )
    path = torch.stack([start, *(epoch.weights for epoch in epochs)])
    assert path.shape == (9, 3, 2)
    torch.testing.assert_close(path.sum(2), torch.ones(9, 3))
    assert (path[-1] - start).abs().max() > 0.1

    found = architecture.strongest()  # (3): the strongest
    assert found == tuple(("skip", "linear")[k] for k in path[-1].argmax(1))
    weights = architecture.one_hot(found)
    inherited = inherited_accuracy(net, weights, data)

    class Alone(ThreeNodes):
        def forward(self, x):
            return super().forward(x, weights)

    fresh = Alone()  # (4): again from the start
    train_classifier(fresh, data, epochs=8, batch_size=40, learning_rate=0.1)
    retrained = (fresh(x).argmax(1) == data.targets).float().mean()
    assert retrained >= inherited - 0.02
    assert retrained > 0.95


def test_discretisation_costs_accuracy_unless_logits_are_saturated():
    """On the four-node cell; the gap is mixture minus the cell with its weights."""
    digits = small_digits(n_train=600, n_validation=300, n_test=10)
    net, architecture = small_mixed_net(), Architecture([CELL_OPERATIONS] * 6)
    parts = [split.batches(50, seed=0) for split in digits[:2]]
    search(net, architecture, *parts, epochs=3, rates=Rates(weights=0.1))
    chosen = found_cell(architecture).operations
    discrete = inherited_accuracy(net, architecture.one_hot(chosen), digits.validation)
    mixture = inherited_accuracy(net, softmax_weights(architecture), digits.validation)
    assert mixture > discrete + 0.02

    architecture.logits.data = 60 * architecture.one_hot(chosen)
    saturated = inherited_accuracy(
        net, softmax_weights(architecture), digits.validation
    )
    assert saturated == discrete


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"weights must be \(14, 8\), edges and cand"):
        strongest_cell(torch.zeros(28, 8))
    with pytest.raises(ValueError, match="state 2 fewer than 2 edges with something"):
        strongest_cell(torch.eye(8)[:1].expand(14, 8))
    weights = torch.full((14, 8), 0.1)
    weights[6:9, 1:] = 0  # one edge is left
    with pytest.raises(ValueError, match="state 4 fewer than 2 edges"):
        strongest_cell(weights)


def test_a_genotype_is_a_pair_of_cells():
    assert isinstance(strongest_genotype(torch.full((28, 8), 0.1)), Genotype)
