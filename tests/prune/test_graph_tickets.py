"""Gates on edges and weights of a small graph network."""

import pytest
import torch
import torch.nn.functional as F
from torch.optim import Adam

from effdl.prune.graph_tickets import (
    GatedGraphNet,
    block_graph,
    gate_penalty,
    normalised,
    prune_and_rewind_,
)
from effdl.train import fit


def labels(count=60, blocks=3):
    """Return labels, as many of each."""
    return torch.arange(count) % blocks


def graph(count=60, inside=0.3, across=0.05):
    """Return a graph of three blocks."""
    return block_graph(labels(count), inside=inside, across=across)


def set_gates(net, name, values):
    """Set gates in place."""
    with torch.no_grad():
        net.gates[name].copy_(values)


def test_with_all_gates_1_it_is_the_plain_network():
    adjacency, x = graph(), torch.randn(60, 5)
    net = GatedGraphNet(adjacency, (5, 7, 3))
    looped = adjacency + torch.eye(60)
    inverse_root = torch.diag(looped.sum(1) ** -0.5)
    send = inverse_root @ looped @ inverse_root
    hidden = (send @ x @ net.first.weight.T).relu()
    torch.testing.assert_close(net(x), send @ hidden @ net.second.weight.T)
    assert torch.equal(net.adjacency(), adjacency)


def test_the_normalised_matrix_by_hand():
    """A path of three: degrees with loops 2, 3, 2."""
    path = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    edge = 6**-0.5
    wanted = torch.tensor([[1 / 2, edge, 0], [edge, 1 / 3, edge], [0, edge, 1 / 2]])
    torch.testing.assert_close(normalised(path), wanted)


@pytest.mark.parametrize("kind", ["whole", "some gone", "any gates"])
def test_eigenvalues_lie_between_minus_1_and_1(kind):
    net = GatedGraphNet(graph(), (5, 7, 3))
    if kind == "some gone":
        net.left["edges"] = torch.rand(net.edges.shape[1]) < 0.5
    if kind == "any gates":
        set_gates(net, "edges", torch.randn(net.edges.shape[1]))
    matrix = normalised(net.adjacency())
    values = torch.linalg.eigvalsh(matrix.detach().double())
    assert values.min() > -1
    assert values.max() <= 1 + 1e-6
    if kind == "whole":
        assert values.max() == pytest.approx(1, abs=1e-6)


def test_the_graph_has_the_edges_that_were_asked_for():
    sides = labels(300)
    adjacency = block_graph(sides, inside=0.2, across=0.05)
    assert torch.equal(adjacency, adjacency.T)
    assert not adjacency.diagonal().any()
    same = sides[:, None] == sides
    others = ~torch.eye(300, dtype=torch.bool)
    assert adjacency[same & others].mean().item() == pytest.approx(0.2, abs=0.02)
    assert adjacency[~same].mean().item() == pytest.approx(0.05, abs=0.01)
    assert adjacency.unique().tolist() == [0, 1]


def test_an_edge_that_is_gone_carries_nothing_either_way():
    """Two nodes: with the edge each sees the mean of both, without it itself."""
    net = GatedGraphNet(1 - torch.eye(2), (1, 1, 1))
    with torch.no_grad():
        net.first.weight.fill_(1)
        net.second.weight.fill_(1)
    x = torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(net(x), torch.full((2, 1), 2.0))
    net.left["edges"][:] = False
    torch.testing.assert_close(net(x), x)


def test_a_gate_weighs_its_edge_and_a_negative_one_is_none():
    net = GatedGraphNet(1 - torch.eye(3), (1, 1, 1))
    assert net.edges.T.tolist() == [[0, 1], [0, 2], [1, 2]]
    set_gates(net, "edges", torch.tensor([0.5, -2.0, 1.0]))
    wanted = [[0, 0.5, 0], [0.5, 0, 1], [0, 1, 0]]
    assert net.adjacency().tolist() == wanted


def test_a_gate_weighs_its_weight():
    net = GatedGraphNet(graph(), (5, 7, 3))
    x = torch.randn(60, 5)
    set_gates(net, "first", torch.rand(7, 5))
    set_gates(net, "second", torch.rand(3, 7))
    net.left["second"][0] = False
    plain = GatedGraphNet(net.adjacency().detach(), (5, 7, 3))
    with torch.no_grad():
        plain.first.weight.copy_(net.first.weight * net.gates["first"])
        plain.second.weight.copy_(net.second.weight * net.gates["second"])
        plain.second.weight[0] = 0
    torch.testing.assert_close(net(x), plain(x))


def test_the_penalty_counts_what_is_left():
    net = GatedGraphNet(1 - torch.eye(3), (2, 2, 1))
    set_gates(net, "edges", torch.tensor([0.5, -2.0, 1.0]))
    net.left["edges"][2] = False
    net.left["second"][0, 0] = False
    penalty = gate_penalty(net, edges=0.1, weights=10)
    assert penalty.item() == pytest.approx(0.1 * 2.5 + 10 * (4 + 1))


def test_the_smallest_gates_of_those_left_go_and_all_begins_again():
    """10 edges: a fifth is 2, then a fifth of 8, rounded, again 2."""
    net = GatedGraphNet(1 - torch.eye(5), (4, 3, 2))
    first = net.weights()
    set_gates(net, "edges", torch.arange(10.0) - 3.2)  # sizes 3.2, 2.2, 1.2, .2, .8 ...
    with torch.no_grad():
        net.first.weight.add_(1)
        net.second.weight.add_(1)
    both = torch.rand(18)
    set_gates(net, "first", both[:12].view(3, 4))
    set_gates(net, "second", both[12:].view(2, 3))
    prune_and_rewind_(net, first, edges=0.2, weights=0.5)
    assert (~net.left["edges"]).nonzero().flatten().tolist() == [3, 4]
    kept = torch.cat([net.left[n].flatten() for n in ("first", "second")])
    assert torch.equal(kept, both >= both.sort().values[9])
    assert all((gate == 1).all() for gate in net.gates.values())
    assert torch.equal(net.first.weight, first[0])
    assert torch.equal(net.second.weight, first[1])
    set_gates(net, "edges", torch.arange(10.0, 0, -1))
    prune_and_rewind_(net, first, edges=0.2, weights=0.0)
    assert (~net.left["edges"]).nonzero().flatten().tolist() == [3, 4, 8, 9]
    assert int(sum(net.left[n].sum() for n in ("first", "second"))) == 9


def test_a_round_takes_five_per_cent_of_the_edges_and_twenty_of_the_weights():
    net = GatedGraphNet(graph(), (10, 8, 3))
    edges = net.edges.shape[1]
    prune_and_rewind_(net, net.weights())
    assert int(net.left["edges"].sum()) == edges - round(0.05 * edges)
    weights = sum(int(net.left[n].sum()) for n in ("first", "second"))
    assert weights == 104 - round(0.2 * 104)


def test_edges_across_blocks_go_first():
    """Features say little, edges inside a block much: those across it blur."""
    sides = labels(120)
    adjacency = block_graph(sides, inside=0.2, across=0.06)
    x = F.one_hot(sides, 3) + 1.0 * torch.randn(120, 3)
    net = GatedGraphNet(adjacency, (3, 8, 3))
    first = net.weights()
    across = sides[net.edges[0]] != sides[net.edges[1]]
    share = across.float().mean()
    adam = Adam(net.parameters(), 0.01)

    def loss_of(x, y):
        return F.cross_entropy(net(x), y) + gate_penalty(net, edges=1e-4, weights=1e-4)

    fit(net, loss_of, [(x, sides)], adam, epochs=100)
    prune_and_rewind_(net, first, edges=0.2)
    gone = ~net.left["edges"]
    assert across[gone].float().mean() > share + 0.15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: block_graph(labels(), inside=1.5, across=0.1), "got 1.5 and 0.1"),
        (lambda: block_graph(labels(), inside=0.5, across=-0.1), "inside and across"),
        (lambda: GatedGraphNet(torch.eye(3), (2, 2, 2)), "0 on its diagonal"),
        (lambda: GatedGraphNet(torch.ones(3, 3).triu(1), (2, 2, 2)), "symmetric"),
        (lambda: GatedGraphNet(2 - 2 * torch.eye(3), (2, 2, 2)), "of 0 and 1"),
        (
            lambda: prune_and_rewind_(
                GatedGraphNet(graph(), (2, 2, 2)), (None, None), edges=1.0
            ),
            "sparsity must be at least 0 and below 1, got 1.0",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
