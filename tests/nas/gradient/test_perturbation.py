"""Selection by removal: what it scores, what it keeps, and how often it looks."""

import numpy as np
import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.nas.darts_operations import Zero
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.found_cell import inherited_accuracy
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.perturbation import (
    edges_that_matter,
    removal_accuracies,
    select_by_perturbation_,
)
from effdl.nas.gradient.relaxations import softmax_weights

ROUND = Split(torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5))


class Scaled(nn.Module):
    """Multiplies by a number: at 0 an operation with zero weights."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)))

    def forward(self, x):
        """Return the input times the number."""
        return self.factor * x


class Parallel(nn.Module):
    """Logits are the sum of what some edges make of the input."""

    def __init__(self, *edges):
        super().__init__()
        self.edges = nn.ModuleList(map(MixedOperation, edges))

    def forward(self, x, weights):
        """Return what the edges send, added up."""
        return sum(edge(x, row) for edge, row in zip(self.edges, weights, strict=True))


def with_logits(candidates, logits):
    """Return an architecture with given logits."""
    found = Architecture(candidates)
    with torch.no_grad():
        found.logits.copy_(torch.as_tensor(logits))
    return found


def select(net, found, split=ROUND, seed=0, **options):
    """Select with an order of the edges that the seed decides on."""
    random = np.random.default_rng(seed)
    return select_by_perturbation_(net, found, split, random, **options)


def dead_and_useful():
    """One edge where the operation with the large alpha has zero weights."""
    net = Parallel({"dead": Scaled(0), "useful": Scaled(1), "harmful": Scaled(-0.5)})
    return net, with_logits([("dead", "useful", "harmful")], [[4.0, 1.0, 0.0]])


def test_magnitude_keeps_an_operation_with_zero_weights_and_perturbation_does_not():
    net, found = dead_and_useful()
    assert found.strongest() == ("dead",)
    selection = select(net, found)
    assert selection.operations == ("useful",)
    assert found.left(0) == ("useful",)


def test_what_is_left_without_each_candidate_by_hand():
    """Logits are a multiple of the one-hot input: right if positive.

    Without the useful operation only the harmful one is left: all wrong.
    """
    net, found = dead_and_useful()
    left = removal_accuracies(net, found, 0, ROUND)
    assert left == {"dead": 1.0, "useful": 0.0, "harmful": 1.0}


def test_the_other_weights_are_not_scaled_up():
    """Softmax weights 1/3 each: without b, a/3 + c/3 and nothing else is run."""
    seen = []

    def net(x, weights):
        seen.append(weights)
        return x

    class Watched(nn.Module):
        def forward(self, x, weights):
            return net(x, weights)

    found = with_logits([("a", "b", "c")] * 2, torch.zeros(2, 3))
    removal_accuracies(Watched(), found, 1, ROUND)
    third = torch.full((2, 3), 1 / 3)
    for place, weights in enumerate(seen):
        expected = third.clone()
        expected[1, place] = 0
        torch.testing.assert_close(weights, expected)


def test_every_candidate_of_every_edge_is_scored_once():
    names = [("a", "b", "c"), ("a",), ("a", "b", "none"), ("none", "a")]
    net = Parallel(*({n: Scaled(1) for n in edge} for edge in names))
    logits = torch.zeros(4, 3)
    assert select(net, with_logits(names, logits)).evaluations == 3 + 0 + 2 + 0
    every = select(net, with_logits(names, logits), never=())
    assert every.evaluations == 3 + 0 + 3 + 2  # where there is a choice


def test_of_removals_that_cost_the_same_the_larger_weight_is_kept():
    net = Parallel({name: Scaled(1) for name in "abc"})
    found = with_logits([tuple("abc")], [[0.0, 2.0, 1.0]])
    assert select(net, found).operations == ("b",)


def test_none_is_kept_only_where_it_is_allowed_or_alone():
    names = [("none", "a"), ("none", "b")]
    net = Parallel(
        *({n: Zero() if n == "none" else Scaled(-1) for n in e} for e in names)
    )
    logits = torch.tensor([[5.0, 0.0]] * 2)
    assert select(net, with_logits(names, logits)).operations == ("a", "b")
    free = select(net, with_logits(names, logits), never=()).operations
    assert free == ("none", "none")  # ties of 0 accuracy: the larger weight
    alone = with_logits(names, logits)
    alone.keep_(0, ("none",))
    assert select(net, alone).operations == ("none", "b")


def test_an_edge_is_tuned_for_and_the_next_is_judged_by_what_tuning_left():
    """After the first edge the two operations of the second change places."""
    net = Parallel({"x": Scaled(0)}, {"a": Scaled(1), "b": Scaled(-0.1)})
    net.edges[0] = MixedOperation({"x": Scaled(0), "y": Scaled(0)})
    names = [("x", "y"), ("a", "b")]
    tuned = []

    def tune():
        tuned.append([found.left(edge) for edge in range(2)])
        a, b = net.edges[1].candidates.values()
        with torch.no_grad():
            a.factor.fill_(-0.1)
            b.factor.fill_(1.0)

    for seed in range(8):
        found = with_logits(names, torch.zeros(2, 2))
        with torch.no_grad():
            net.edges[1].candidates["a"].factor.fill_(1.0)
            net.edges[1].candidates["b"].factor.fill_(-0.1)
        tuned.clear()
        second = select(net, found, seed=seed, tune=tune).operations[1]
        assert len(tuned) == 1  # not after the last edge
        first_done = len(tuned[0][0]) == 1
        assert second == ("b" if first_done else "a")
        if not first_done:
            assert tuned[0][1] == ("a",)


def test_the_order_of_the_edges_is_drawn():
    orders = set()
    for seed in range(20):
        names = [("a", "b")] * 3
        found = with_logits(names, torch.zeros(3, 2))
        net = Parallel(*({n: Scaled(1) for n in edge} for edge in names))
        order = []

        def tune(found=found, order=order):
            [new] = [e for e in range(3) if len(found.left(e)) == 1 and e not in order]
            order.append(new)

        select(net, found, seed=seed, tune=tune)
        orders.add(tuple(order))
    assert len(orders) == 6


def test_what_is_kept_has_the_weight_1_in_the_supernet():
    names = ("none", "skip_connect", "nor_conv_1x1")
    found, net = Architecture([names] * 6, spread=1.0), small_mixed_net(names)
    part = Split(torch.randn(20, 1, 12, 12), torch.arange(20) % 10)
    selection = select(net, found, part)
    assert torch.equal(softmax_weights(found), found.one_hot(selection.operations))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert selection.evaluations == 12
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_node_keeps_the_edges_whose_removal_hurts_most():
    """Factors 3, -1 and -1 into node 2: without the first all is wrong."""
    names = [("none", "op")] * 4
    factors = (-1.0, 3.0, -1.0, 0.5)
    net = Parallel(*({"none": Zero(), "op": Scaled(f)} for f in factors))
    found = with_logits(names, torch.zeros(4, 2))
    for edge in range(4):
        found.keep_(edge, ("op",))
    kept = edges_that_matter(net, found, [2, 2, 2, 3], ROUND, most=1)
    assert kept == [1, 3]
    assert edges_that_matter(net, found, [2, 2, 2, 3], ROUND) == [0, 1, 3]
    without = found.one_hot(["op", "none", "op", "op"])
    assert inherited_accuracy(net, without, ROUND) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: edges_that_matter(None, Architecture([("a",)]), [1, 2], ROUND),
            "targets must have 1 numbers",
        ),
        (
            lambda: edges_that_matter(None, Architecture([("a",)]), [1], ROUND),
            "edge 0 has no none",
        ),
        (
            lambda: edges_that_matter(
                None, Architecture([("none",)]), [1], ROUND, most=0
            ),
            "most must be at least 1, got 0",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
