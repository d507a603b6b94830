"""Random graphs for randomly wired networks, after three classic recipes.

Paper: Xie et al., "Exploring Randomly Wired Neural Networks for Image Recognition",
ICCV 2019, https://arxiv.org/abs/1904.01569, section 3.

    Erdos-Renyi      every pair is joined with probability p     p N (N - 1) / 2 edges
    Barabasi-Albert  a new node is joined to m earlier ones,     m (N - m)
                     rather to those that have many edges
    Watts-Strogatz   a ring, each node joined to its k nearest,  N k / 2
                     in which an edge moves with probability p

The first number is a mean, the others are exact. For a network an edge is directed from
the lower node to the higher, so there is no cycle. The paper draws N = 32 nodes, with
p = 0.2, with m = 5, and with k = 4 and p = 0.75.
"""

from dataclasses import dataclass

import numpy as np

from effdl.checks import check_positive

Edge = tuple[int, int]


@dataclass(frozen=True)
class Graph:
    """Nodes 0 to n - 1 and edges from lower to higher ones, so without a cycle.

    Raises ``ValueError`` if an edge is doubled, or does not lead upwards.

    Attributes:
        nodes: How many there are.
        edges: Pairs (from, to) in ascending order.

    Example:
        >>> graph = Graph(3, ((0, 2), (1, 2)))
        >>> graph.sources, graph.sinks
        ((0, 1), (2,))
    """

    nodes: int
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        check_positive(nodes=self.nodes)
        for low, high in self.edges:
            if not 0 <= low < high < self.nodes:
                raise ValueError(
                    f"edges must lead from a lower to a higher of {self.nodes} nodes, "
                    f"got {(low, high)}; sort its ends"
                )
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges must be sorted and differ, got {self.edges}")

    def before(self, node: int) -> tuple[int, ...]:
        """Return the nodes whose edges lead to this one."""
        return tuple(low for low, high in self.edges if high == node)

    @property
    def sources(self) -> tuple[int, ...]:
        """The nodes that no edge leads to."""
        return tuple(sorted({*range(self.nodes)} - {high for _, high in self.edges}))

    @property
    def sinks(self) -> tuple[int, ...]:
        """The nodes that no edge leaves."""
        return tuple(sorted({*range(self.nodes)} - {low for low, _ in self.edges}))


def erdos_renyi(nodes: int, p: float, random: np.random.Generator) -> Graph:
    """Return a graph in which every pair is joined with the same probability.

    Args:
        nodes: N, at least 1.
        p: From 0 to 1.
        random: Advanced by the call.

    Raises:
        ValueError: If ``p`` is out of range.

    Example:
        >>> len(erdos_renyi(32, 1.0, np.random.default_rng(0)).edges)
        496
    """
    check_positive(nodes=nodes)
    if not 0 <= p <= 1:
        raise ValueError(f"p must be in 0 to 1, got {p}")
    pairs = [(i, j) for i in range(nodes) for j in range(i + 1, nodes)]
    joined = random.random(len(pairs)) < p
    return Graph(nodes, tuple(e for e, kept in zip(pairs, joined, strict=True) if kept))


def barabasi_albert(nodes: int, m: int, random: np.random.Generator) -> Graph:
    """Return a graph that grew: who has many edges gets more.

    Begins with m nodes and no edge. The next node is joined to all of them, and every
    later one to m nodes, drawn in proportion to the edges that they have.

    Args:
        nodes: N, more than ``m``.
        m: Edges of a new node, at least 1.
        random: Advanced by the call.

    Raises:
        ValueError: If there are not more nodes than edges of a new one.

    Example:
        >>> len(barabasi_albert(32, 5, np.random.default_rng(0)).edges)
        135
    """
    check_positive(nodes=nodes, m=m)
    if nodes <= m:
        raise ValueError(f"nodes must be more than m={m}, got {nodes}")
    edges = [(old, m) for old in range(m)]
    for new in range(m + 1, nodes):
        degrees = np.bincount(np.ravel(edges), minlength=new)
        chosen = random.choice(new, m, replace=False, p=degrees / degrees.sum())
        edges += [(int(old), new) for old in chosen]
    return Graph(nodes, tuple(sorted(edges)))


def watts_strogatz(nodes: int, k: int, p: float, random: np.random.Generator) -> Graph:
    """Return a ring of near neighbours in which some edges were moved: a small world.

    Goes round once for the nearest neighbours, once for the next, and so on. An edge
    that moves keeps its first end and gets another second one, drawn uniformly from the
    nodes that it is not joined to.

    Args:
        nodes: N, more than ``k``.
        k: Neighbours of a node at the start, half of them on each side; even.
        p: Probability that an edge moves, from 0 to 1.
        random: Advanced by the call.

    Raises:
        ValueError: If ``k`` is odd or not below ``nodes``, or ``p`` is out of range.

    Example:
        >>> len(watts_strogatz(32, 4, 0.75, np.random.default_rng(0)).edges)
        64
    """
    check_positive(nodes=nodes, k=k)
    if k % 2 or k >= nodes:
        raise ValueError(f"k must be even and below nodes={nodes}, got {k}")
    if not 0 <= p <= 1:
        raise ValueError(f"p must be in 0 to 1, got {p}")
    steps = [(v, step) for step in range(1, k // 2 + 1) for v in range(nodes)]
    joined = {frozenset((v, (v + step) % nodes)) for v, step in steps}
    for v, step in steps:
        free = [w for w in range(nodes) if w != v and frozenset((v, w)) not in joined]
        if free and random.random() < p:
            joined.remove(frozenset((v, (v + step) % nodes)))
            joined.add(frozenset((v, free[int(random.integers(len(free)))])))
    return Graph(nodes, tuple(sorted((min(e), max(e)) for e in joined)))
