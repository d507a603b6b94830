"""Cells of DARTS listed, sampled, and changed in one place.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.1.

A search that is not differentiable needs three things of a space: to list it if it is
small, to draw from it, and to go from one member to one close by. Close by is, as in
evolution on the space of NASNet (Real et al., https://arxiv.org/abs/1802.01548), a cell
with another operation on one edge, or with another source of one edge:

    8 edges, 6 other operations each                                 48
    node k = 1..4, 2 edges, k - 1 states that it does not read        12
                                                                     60 neighbours

so a genotype of two cells has 120. Every cell can be reached from every other one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from effdl.checks import check_positive
from effdl.nas.darts_space import CANDIDATES, INPUTS, KEPT, DartsCell, Edge, Genotype


def enumerate_darts_cells(nodes: int) -> Iterator[DartsCell]:
    """Yield every cell; there are 49, 7,203 and 2.1 million with 1, 2 and 3 nodes.

    Args:
        nodes: Intermediate nodes, at least 1.

    Example:
        >>> sum(1 for _ in enumerate_darts_cells(1))
        49
    """
    check_positive(nodes=nodes)
    for_state = [
        [
            (Edge(a, first), Edge(b, second))
            for a, b in itertools.combinations(range(state), KEPT)
            for first, second in itertools.product(CANDIDATES, repeat=KEPT)
        ]
        for state in range(INPUTS, INPUTS + nodes)
    ]
    yield from map(DartsCell, itertools.product(*for_state))


def sample_darts_cell(random: np.random.Generator, *, nodes: int = 4) -> DartsCell:
    """Return a cell drawn uniformly.

    Args:
        random: Advanced by the call.
        nodes: Intermediate nodes, at least 1.

    Example:
        >>> sample_darts_cell(np.random.default_rng(0)).states
        6
    """
    check_positive(nodes=nodes)
    drawn = []
    for state in range(INPUTS, INPUTS + nodes):
        sources = sorted(random.choice(state, KEPT, replace=False).tolist())
        chosen = [CANDIDATES[n] for n in random.integers(len(CANDIDATES), size=KEPT)]
        drawn.append(tuple(map(Edge, sources, chosen)))
    return DartsCell(tuple(drawn))


def sample_genotype(random: np.random.Generator, *, nodes: int = 4) -> Genotype:
    """Return two cells, each drawn uniformly.

    Args:
        random: Advanced by the call.
        nodes: Intermediate nodes of each.

    Example:
        >>> sample_genotype(np.random.default_rng(0), nodes=1).normal.states
        3
    """
    normal, reduce = (sample_darts_cell(random, nodes=nodes) for _ in range(2))
    return Genotype(normal, reduce)


def darts_neighbours(cell: DartsCell) -> list[DartsCell]:
    """Return the cells that differ in one operation, or in one source.

    Args:
        cell: Any cell.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> len(set(darts_neighbours(DARTS_V2.normal)))
        60
    """
    near = []
    for node, place in itertools.product(range(len(cell.nodes)), range(KEPT)):
        old, other = cell.nodes[node][place], cell.nodes[node][1 - place]
        changed = [Edge(old.source, o) for o in CANDIDATES if o != old.operation]
        changed += [
            Edge(source, old.operation)
            for source in range(INPUTS + node)
            if source not in (old.source, other.source)
        ]
        for edge in changed:
            read = tuple(sorted((edge, other)))
            near.append(DartsCell((*cell.nodes[:node], read, *cell.nodes[node + 1 :])))
    return near


def mutate_genotype(genotype: Genotype, random: np.random.Generator) -> Genotype:
    """Return the genotype with one operation or one source changed in one cell.

    Args:
        genotype: Left as it is.
        random: Advanced by the call; picks the cell, then one of its neighbours.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> mutated = mutate_genotype(DARTS_V2, np.random.default_rng(0))
        >>> (mutated.normal == DARTS_V2.normal) + (mutated.reduce == DARTS_V2.reduce)
        1
    """
    kind = Genotype._fields[int(random.integers(2))]
    near = darts_neighbours(getattr(genotype, kind))
    return genotype._replace(**{kind: near[int(random.integers(len(near)))]})
