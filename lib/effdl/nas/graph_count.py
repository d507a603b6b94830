"""How many different cells NAS-Bench-101 has, counted without comparing any two.

Paper: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search",
ICML 2019, https://arxiv.org/abs/1902.09635, which found 423,624 by hashing; the count
below is Burnside's, applied to matrices with vertices in order.

Write cells as in :mod:`effdl.nas.graph_hash`: upper-triangular matrices M, operations
at the V - 2 inner vertices. A graph can be written in e(M) orders of its inner vertices
that keep M upper-triangular. Orders that differ by a symmetry, a reordering that
changes neither matrix nor operations, give the same writing. So

    writings of a cell = e(M) / symmetries(M, operations)

and each writing counts for one part in so many of a cell. Summed over all operations,
the symmetries turn into those operations that a reordering g leaves alone: one of 3 for
every cycle of g.

    cells = sum over M of 1 / e(M) * sum over g with g(M) = M of 3^cycles(g)

All is exact. V = 2 to 7 give 1, 6, 84, 2,441, 62,010 and 359,082, together 423,624.
"""

import itertools
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from effdl.nas.graph_hash import MAX_EDGES, MAX_VERTICES, OPERATIONS

Bits = NDArray[np.bool_]
Order = tuple[int, ...]  # where vertex v goes


def count_cells(
    vertices: int, *, max_edges: int = MAX_EDGES, operations: int = len(OPERATIONS)
) -> int:
    """Return how many different cells use exactly so many vertices.

    Args:
        vertices: Input and output included, 2 to 7; 7 take a second.
        max_edges: The space has 9.
        operations: How many an inner vertex has to choose from.

    Raises:
        ValueError: If ``vertices`` is out of range, or one of the others below 1.

    Example:
        >>> sum(count_cells(vertices) for vertices in range(2, 7))
        64542
    """
    if not 2 <= vertices <= MAX_VERTICES:
        raise ValueError(f"vertices must be in 2..{MAX_VERTICES}, got {vertices}")
    if min(max_edges, operations) < 1:
        raise ValueError(
            f"max_edges and operations must be 1 or more, got {max_edges} and "
            f"{operations}"
        )
    edges = _graphs(vertices, max_edges)  # of each pair of vertices, in how many graphs
    graphs = len(edges[0, 1])
    orders, left_alone = np.zeros((2, graphs), dtype=np.int64)
    for inner in itertools.permutations(range(1, vertices - 1)):
        order = (0, *inner, vertices - 1)
        upper, same = _after(order, edges)
        orders += upper
        left_alone += np.where(same, operations ** _cycles(order), 0)
    total = sum(
        Fraction(int(left_alone[orders == number].sum()), int(number))
        for number in np.unique(orders)
    )
    return int(total)


def _graphs(vertices: int, max_edges: int) -> dict[tuple[int, int], Bits]:
    """Return which of the graphs have an edge, for each pair of vertices (i, j), i < j.

    The graphs are all with few enough edges, in which every vertex but the first reads
    one and every vertex but the last is read.
    """
    pairs = list(itertools.combinations(range(vertices), 2))
    numbers = np.arange(2 ** len(pairs), dtype=np.uint32)
    bits = {pair: (numbers >> k & 1).astype(bool) for k, pair in enumerate(pairs)}
    fits = sum(edge.astype(np.int8) for edge in bits.values()) <= max_edges
    for v in range(1, vertices):
        fits &= np.logical_or.reduce([bits[i, v] for i in range(v)])
        fits &= np.logical_or.reduce([bits[v - 1, j] for j in range(v, vertices)])
    return {pair: edge[fits] for pair, edge in bits.items()}


def _after(order: Order, edges: dict[tuple[int, int], Bits]) -> tuple[Bits, Bits]:
    """Return which graphs a reordering leaves upper-triangular, and which unchanged."""
    upper = np.ones_like(edges[0, 1])
    same = upper.copy()
    for (i, j), edge in edges.items():
        moved = (order[i], order[j])
        if moved in edges:
            same &= edge == edges[moved]
        else:
            upper &= ~edge
    return upper, same & upper


def _cycles(order: Order) -> int:
    """Return the cycles of a reordering, those of first and last vertex left out."""
    waiting, cycles = set(order[1:-1]), 0
    while waiting:
        vertex, cycles = waiting.pop(), cycles + 1
        while order[vertex] in waiting:
            vertex = order[vertex]
            waiting.remove(vertex)
    return cycles
