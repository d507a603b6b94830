"""The search space of DARTS: which edges a cell keeps, and what is on them.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, sections 2.1 and 2.4.

A cell is a graph of states. States 0 and 1 are the outputs of the two cells before it,
states 2 to 5 are nodes. While it searches, DARTS has an edge from every state to every
later node, 2 + 3 + 4 + 5 = 14 in all, with a mixture of eight operations on each. At
the end every node keeps two of its edges, and every edge that is kept one operation
other than none. That is what is called a genotype, one cell for each kind:

    Genotype(normal=DartsCell, reduce=DartsCell)

    per cell   prod over k = 1..4 of  C(k + 1, 2) 7^2 = 1,037,664,180
    both       1.08e18

The operators stand on edges. NASNet has them on nodes (:mod:`effdl.nas.nasnet_space`),
and the two descriptions can be turned into one another.

What differs from the authors' lists: the two edges of a node are sorted by source, so
that equal cells are equal. A list in any order is read by ``DartsCell.from_pairs``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from effdl.checks import check_positive

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CANDIDATES = OPERATIONS[1:]  # none is searched with, but never kept
INPUTS = 2
KEPT = 2  # edges for each node


class Edge(NamedTuple):
    """An edge that a node keeps: the state it reads, and through what."""

    source: int
    operation: str


@dataclass(frozen=True)
class DartsCell:
    """What every node of a cell reads.

    Raises ``ValueError`` if there is no node, a node has not two edges from different
    earlier states in ascending order, or an operation is unknown or none.

    Attributes:
        nodes: The two edges of each node; node n is the state n + 2.

    Example:
        >>> DartsCell(((Edge(0, "skip_connect"), Edge(1, "sep_conv_3x3")),)).states
        3
    """

    nodes: tuple[tuple[Edge, ...], ...]

    def __post_init__(self) -> None:
        check_positive(nodes=len(self.nodes))
        for state, edges in enumerate(self.nodes, start=INPUTS):
            sources = [edge.source for edge in edges]
            if len(edges) != KEPT or sources != sorted(set(sources)):
                raise ValueError(
                    f"state {state} must read {KEPT} different states in ascending "
                    f"order, got {sources}; DartsCell.from_pairs sorts them"
                )
            for edge in edges:
                if not 0 <= edge.source < state:
                    raise ValueError(
                        f"state {state} can read states 0 to {state - 1}, "
                        f"got {edge.source}"
                    )
                if edge.operation not in CANDIDATES:
                    raise ValueError(
                        f"unknown operation {edge.operation!r} on an edge of state "
                        f"{state}; choose from {list(CANDIDATES)}"
                    )

    @classmethod
    def from_pairs(cls, pairs: Sequence[tuple[str, int]]) -> DartsCell:
        """Return the cell of a list as the authors write it: (operation, source).

        Args:
            pairs: Two for each node, in any order inside a node.

        Raises:
            ValueError: If the number of pairs is odd.

        Example:
            >>> DartsCell.from_pairs([("skip_connect", 1), ("max_pool_3x3", 0)]).nodes
            ((Edge(source=0, operation='max_pool_3x3'), Edge(source=1, ...)),)
        """
        if len(pairs) % KEPT:
            raise ValueError(f"pairs must be {KEPT} for each node, got {len(pairs)}")
        edges = [Edge(source, operation) for operation, source in pairs]
        firsts, seconds = edges[::KEPT], edges[1::KEPT]
        return cls(tuple(map(tuple, map(sorted, zip(firsts, seconds, strict=True)))))

    @classmethod
    def from_graph(cls, graph: Mapping[tuple[int, int], str]) -> DartsCell:
        """Return the cell of a graph, the inverse of :meth:`graph`.

        Args:
            graph: The operation on every edge, by (source, target).

        Raises:
            ValueError: If an edge ends in an input.

        Example:
            >>> cell = DARTS_V2.normal
            >>> DartsCell.from_graph(cell.graph()) == cell
            True
        """
        targets = [target for _, target in graph] or [INPUTS]
        if min(targets) < INPUTS:
            raise ValueError(f"no edge may end in state {min(targets)}, an input")
        last = max(targets)
        nodes: list[list[Edge]] = [[] for _ in range(INPUTS, last + 1)]
        for source, target in sorted(graph):
            nodes[target - INPUTS].append(Edge(source, graph[source, target]))
        return cls(tuple(map(tuple, nodes)))

    def graph(self) -> dict[tuple[int, int], str]:
        """Return the operation on every edge, by (source, target).

        Example:
            >>> DARTS_V2.reduce.graph()[2, 4]
            'skip_connect'
        """
        return {
            (edge.source, state): edge.operation
            for state, edges in enumerate(self.nodes, start=INPUTS)
            for edge in edges
        }

    @property
    def states(self) -> int:
        """Inputs and nodes together: the number of the state after the last."""
        return INPUTS + len(self.nodes)


class Genotype(NamedTuple):
    """The two cells of a network: one that keeps the resolution, one that halves it."""

    normal: DartsCell
    reduce: DartsCell


DARTS_V2 = Genotype(  # found by the second-order search on CIFAR-10
    normal=DartsCell.from_pairs([
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("skip_connect", 0),
        ("dil_conv_3x3", 2),
    ]),
    reduce=DartsCell.from_pairs([
        ("max_pool_3x3", 0),
        ("max_pool_3x3", 1),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
        ("max_pool_3x3", 0),
        ("skip_connect", 2),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
    ]),
)
