"""Discretisation of the DARTS cell: two edges for each node, one operation on each.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.4.

    strength of edge e   s_e = max over k other than none of  w[e, k]
    operation of edge e  the k of this maximum
    node j keeps         the two edges with the largest s_e among those that end in j

The weights w come from the relaxation, and none takes part in it: on an edge where none
is likely, all others are weak, and so is the edge. That is the only thing none decides.

Edges with equal strengths: the earlier source is kept, and of equal candidates the
earlier, as the authors' code does.

What is not promised is that the network found is as good as the mixture that it is cut
from. What each node loses is 1 minus the share of what it keeps, and with 8 candidates
on 5 edges that is most of it, unless the weights have come near 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from effdl.nas.darts_space import (
    INPUTS,
    KEPT,
    OPERATIONS,
    DartsCell,
    Edge,
    Genotype,
)
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.darts_mixed_cell import EDGES
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.steps import Relaxation


def strongest_cell(weights: Tensor, names: Sequence[str] = OPERATIONS) -> DartsCell:
    """Return the cell that the weights of one kind of cell stand for.

    Args:
        weights: Of the edges of a searching cell, (14, K), 0 or larger.
        names: Their candidates.

    Raises:
        ValueError: If the shape is another, or a node has fewer than two edges with a
            weight above 0 on something other than none.

    Example:
        >>> weights = torch.zeros(14, 8)
        >>> weights[:, 3] = torch.linspace(0.1, 0.9, 14)
        >>> strongest_cell(weights).nodes[-1]
        (Edge(source=3, operation='skip_connect'), Edge(source=4, ...))
    """
    if weights.shape != (len(EDGES), len(names)):
        raise ValueError(
            f"weights must be ({len(EDGES)}, {len(names)}), edges and candidates, got "
            f"{tuple(weights.shape)}"
        )
    incoming: dict[int, list[tuple[float, Edge]]] = {}
    for (source, target), row in zip(EDGES, weights.tolist(), strict=True):
        allowed = [pair for pair in zip(row, names, strict=True) if pair[1] != "none"]
        strength, name = max(allowed, key=lambda pair: pair[0], default=(0.0, "none"))
        if strength > 0:
            incoming.setdefault(target, []).append((strength, Edge(source, name)))
    nodes = []
    for target in range(INPUTS, EDGES[-1][1] + 1):
        ranked = sorted(incoming.get(target, []), key=lambda pair: -pair[0])[:KEPT]
        if len(ranked) < KEPT:
            raise ValueError(
                f"weights leave state {target} fewer than {KEPT} edges with something "
                "other than none; leave more candidates active"
            )
        nodes.append(tuple(sorted(edge for _, edge in ranked)))
    return DartsCell(tuple(nodes))


def strongest_genotype(weights: Tensor, names: Sequence[str] = OPERATIONS) -> Genotype:
    """Return the genotype that the weights of both kinds of cells stand for.

    Args:
        weights: Those of a normal cell, then those of a reduction cell, (28, K).
        names: Their candidates.

    Example:
        >>> found = strongest_genotype(torch.full((28, 8), 1 / 8))
        >>> found.normal == found.reduce
        True
    """
    split = len(EDGES)
    return Genotype(
        normal=strongest_cell(weights[:split], names),
        reduce=strongest_cell(weights[split:], names),
    )


def found_genotype(
    architecture: Architecture, relax: Relaxation = softmax_weights
) -> Genotype:
    """Return the genotype of a search that has ended.

    Args:
        architecture: Of 28 edges with the same candidates.
        relax: Makes the weights, such as that of the search.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> from effdl.nas.gradient.darts_supernet import darts_architecture
        >>> search = darts_architecture()
        >>> search.logits.data = 9 * search.one_hot(edge_choices(DARTS_V2))
        >>> found_genotype(search) == DARTS_V2
        True
    """
    with torch.no_grad():
        weights = relax(architecture, 1.0)
    return strongest_genotype(weights, architecture.candidates[0])


def edge_choices(genotype: Genotype) -> tuple[str, ...]:
    """Return one candidate for each of the 28 edges: none where the genotype has none.

    Args:
        genotype: The two cells, of four nodes each.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> edge_choices(DARTS_V2)[:5]
        ('sep_conv_3x3', 'sep_conv_3x3', 'sep_conv_3x3', 'sep_conv_3x3', 'none')
    """
    graphs = (genotype.normal.graph(), genotype.reduce.graph())
    return tuple(graph.get(edge, "none") for graph in graphs for edge in EDGES)
