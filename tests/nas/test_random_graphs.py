"""Random graphs: exact edge counts, networkx, and what every one of them must be."""

import numpy as np
import pytest

from effdl.nas.random_graphs import (
    Graph,
    barabasi_albert,
    erdos_renyi,
    watts_strogatz,
)

PAPER = {  # the settings of the paper, N = 32
    "ER": lambda random: erdos_renyi(32, 0.2, random),
    "BA": lambda random: barabasi_albert(32, 5, random),
    "WS": lambda random: watts_strogatz(32, 4, 0.75, random),
}


def many(build, count=200):
    """Return graphs from one generator."""
    random = np.random.default_rng(0)
    return [build(random) for _ in range(count)]


def degrees(graph):
    """Return the number of edges at every node."""
    return np.bincount(np.ravel(graph.edges).astype(int), minlength=graph.nodes)


def test_sources_sinks_and_predecessors_by_hand():
    graph = Graph(5, ((0, 2), (1, 2), (2, 3)))
    assert graph.sources == (0, 1, 4)
    assert graph.sinks == (3, 4)  # 4 is joined to nothing
    assert [graph.before(node) for node in range(5)] == [(), (), (0, 1), (2,), ()]


def test_a_ring_without_moved_edges_by_hand():
    """Six nodes, each joined to its two neighbours; then to its four nearest."""
    ring = watts_strogatz(6, 2, 0.0, np.random.default_rng(0))
    assert ring.edges == ((0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (4, 5))
    wider = watts_strogatz(6, 4, 0.0, np.random.default_rng(0))
    assert set(wider.edges) - set(ring.edges) == {
        *((0, 2), (1, 3), (2, 4), (3, 5), (0, 4), (1, 5))
    }


def test_the_smallest_grown_graph_by_hand():
    """Node 2 is joined to both first nodes: nothing else is there."""
    graph = barabasi_albert(3, 2, np.random.default_rng(0))
    assert graph.edges == ((0, 2), (1, 2))


@pytest.mark.parametrize(("nodes", "k"), [(32, 4), (7, 6), (12, 2)])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_a_small_world_has_nk_over_2_edges_like_that_of_networkx(nodes, k, p):
    networkx = pytest.importorskip("networkx")
    theirs = networkx.watts_strogatz_graph(nodes, k, p, seed=0).number_of_edges()
    for graph in many(lambda random: watts_strogatz(nodes, k, p, random), 5):
        assert len(graph.edges) == theirs == nodes * k // 2


@pytest.mark.parametrize(("nodes", "m"), [(32, 5), (10, 1), (6, 5)])
def test_a_grown_graph_has_m_times_n_minus_m_edges_like_that_of_networkx(nodes, m):
    networkx = pytest.importorskip("networkx")
    star = networkx.empty_graph(m)  # begins with m nodes and no edge, as the paper does
    star.add_edges_from((old, m) for old in range(m))
    theirs = networkx.barabasi_albert_graph(nodes, m, seed=0, initial_graph=star)
    for graph in many(lambda random: barabasi_albert(nodes, m, random), 5):
        assert len(graph.edges) == theirs.number_of_edges() == m * (nodes - m)


def test_independent_edges_have_the_mean_of_the_formula():
    counts = [len(graph.edges) for graph in many(PAPER["ER"])]
    error = np.std(counts, ddof=1) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - 0.2 * 32 * 31 / 2) < 3 * error
    assert np.std(counts) == pytest.approx(np.sqrt(0.2 * 0.8 * 32 * 31 / 2), rel=0.2)


def test_the_limits_of_independent_edges():
    random = np.random.default_rng(0)
    assert erdos_renyi(8, 0.0, random).edges == ()
    assert len(erdos_renyi(8, 1.0, random).edges) == 8 * 7 // 2


def test_degrees_spread_as_in_the_graphs_of_networkx():
    """Mean over 200 graphs of the largest degree, theirs and ours, within 3 errors."""
    networkx = pytest.importorskip("networkx")
    star = networkx.star_graph(5)
    theirs = {
        "BA": lambda s: networkx.barabasi_albert_graph(32, 5, s, initial_graph=star),
        "WS": lambda s: networkx.watts_strogatz_graph(32, 4, 0.75, s),
    }
    for name, build in theirs.items():
        ours = [degrees(graph).max() for graph in many(PAPER[name])]
        other = [max(d for _, d in build(seed).degree) for seed in range(200)]
        error = np.sqrt((np.var(ours) + np.var(other)) / 200)
        assert abs(np.mean(ours) - np.mean(other)) < 3 * error


def test_who_has_edges_gets_more():
    """Node 5 begins with 5 edges. Drawn uniformly it would end with 13.7 of them."""
    found = np.mean([degrees(graph) for graph in many(PAPER["BA"], 50)], axis=0)
    uniform = 5 + sum(5 / new for new in range(6, 32))
    assert found[5] == found.max() > uniform + 2
    assert found[31] == 5


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_moved_edges_leave_the_ring(p):
    """An edge stays near with probability 1 - p, or if chance moves it there again."""
    share = np.mean([
        min(high - low, 40 + low - high) <= 2
        for graph in many(lambda random: watts_strogatz(40, 4, p, random), 50)
        for low, high in graph.edges
    ])
    assert share == pytest.approx(1 - p, abs=0.1)
    assert share >= 1 - p - 0.02


@pytest.mark.parametrize("name", PAPER)
def test_every_edge_leads_upwards_so_there_is_no_cycle(name):
    networkx = pytest.importorskip("networkx")
    for graph in many(PAPER[name], 5):
        directed = networkx.DiGraph(graph.edges)
        assert networkx.is_directed_acyclic_graph(directed)
        assert all(0 <= low < high < 32 for low, high in graph.edges)
        assert 0 in graph.sources
        assert 31 in graph.sinks


@pytest.mark.parametrize("name", PAPER)
def test_a_graph_depends_on_its_generator_only(name):
    first, again, other = (PAPER[name](np.random.default_rng(s)) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda r: erdos_renyi(0, 0.5, r), "nodes must be at least 1, got 0"),
        (lambda r: erdos_renyi(3, 1.5, r), "p must be in 0 to 1, got 1.5"),
        (lambda r: barabasi_albert(5, 5, r), "nodes must be more than m=5, got 5"),
        (lambda r: barabasi_albert(5, 0, r), "m must be at least 1, got 0"),
        (lambda r: watts_strogatz(9, 3, 0.1, r), "k must be even and below nodes=9"),
        (lambda r: watts_strogatz(4, 4, 0.1, r), "below nodes=4, got 4"),
        (lambda r: watts_strogatz(9, 4, -0.1, r), "p must be in 0 to 1, got -0.1"),
        (lambda _: Graph(0, ()), "nodes must be at least 1, got 0"),
        (lambda _: Graph(2, ((1, 0),)), r"got \(1, 0\); sort its ends"),
        (lambda _: Graph(2, ((1, 1),)), r"got \(1, 1\); sort its ends"),
        (lambda _: Graph(2, ((0, 2),)), "higher of 2 nodes"),
        (lambda _: Graph(3, ((1, 2), (0, 1))), "edges must be sorted and differ"),
        (lambda _: Graph(3, ((0, 1), (0, 1))), "edges must be sorted and differ"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(np.random.default_rng(0))
