"""How many architectures a search space holds, in closed form.

Papers: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055; Zoph et al., "Learning Transferable Architectures for
Scalable Image Recognition" (NASNet), CVPR 2018, https://arxiv.org/abs/1707.07012; Tan
et al., "MnasNet", CVPR 2019, https://arxiv.org/abs/1807.11626, section 4.1.

Whatever is chosen independently multiplies. A space is made smaller by choosing less
often: once for several layers, or once for a cell that is repeated everywhere.

    every one of L layers chooses among K operations          K^L
    B blocks of layers, the layers of one block alike         K^B
    one cell with E edges, repeated                           K^E

In a cell of DARTS node k = 1..n reads two of the k + 1 states before it, each through
one of K operations (7: none does not survive):

    prod over k of  C(k + 1, 2) K^2                           1,037,664,180 for n = 4

In a cell of NASNet block b = 1..B reads any two of b + 1 states, the same twice if it
likes, through one of 13 operations each, and adds or concatenates:

    prod over b of  (b + 1)^2 13^2 2

A whole space has a normal and a reduction cell, so both products are squared. These are
numbers of descriptions. Several may describe the same network, see
:mod:`effdl.nas.cell_classes`, so the number of networks is smaller.

When not to trust a size: it says how long an exhaustive search takes and nothing about
how good the networks are, or how different.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from effdl.checks import check_divides, check_positive


class Sizes(NamedTuple):
    """How many networks there are if layers, blocks or one cell can be chosen.

    Attributes:
        per_layer: Every layer by itself.
        per_block: The layers of a block alike.
        per_cell: One cell for the whole network.
    """

    per_layer: int
    per_block: int
    per_cell: int


def independent_choices(candidates: Iterable[int]) -> int:
    """Return in how many ways one candidate can be chosen at every place.

    Args:
        candidates: How many there are at each place, at least 1.

    Example:
        >>> independent_choices([3, 3, 2])
        18
        >>> f"{independent_choices([9] * 22):.3g}"  # the 22 layers of FBNet
        '9.85e+20'
    """
    numbers = list(candidates)
    for number in numbers:
        check_positive(candidates=number)
    return math.prod(numbers)


def granularities(operations: int, *, layers: int, blocks: int, edges: int) -> Sizes:
    """Return the sizes of three spaces on the same network, from fine to coarse.

    Args:
        operations: Candidates K at each place.
        layers: Layers L of the network.
        blocks: Blocks B that the layers form, of equally many layers.
        edges: Edges E of the cell that would be repeated instead.

    Example:
        >>> granularities(5, layers=18, blocks=3, edges=6)
        Sizes(per_layer=3814697265625, per_block=125, per_cell=15625)
    """
    check_positive(operations=operations, layers=layers, blocks=blocks, edges=edges)
    check_divides("blocks", blocks, layers=layers)
    return Sizes(operations**layers, operations**blocks, operations**edges)


def darts_cells(*, nodes: int = 4, operations: int = 7) -> int:
    """Return the number of cells of DARTS, two edges kept for each node.

    Args:
        nodes: Intermediate nodes n; two inputs come before them.
        operations: Operations that an edge may keep.

    Example:
        >>> darts_cells()
        1037664180
        >>> f"{darts_cells() ** 2:.3g}"  # normal and reduction cell
        '1.08e+18'
    """
    check_positive(nodes=nodes, operations=operations)
    return math.prod(math.comb(k + 1, 2) * operations**2 for k in range(1, nodes + 1))


def darts_edges(nodes: int = 4) -> int:
    """Return the edges of a cell of DARTS before any is dropped.

    Args:
        nodes: Intermediate nodes n.

    Example:
        >>> darts_edges()  # 2 + 3 + 4 + 5
        14
    """
    check_positive(nodes=nodes)
    return sum(k + 1 for k in range(1, nodes + 1))


def nasnet_cells(
    *, blocks: int = 5, operations: int = 13, combinations: int = 2
) -> int:
    """Return the number of descriptions of one cell of NASNet.

    Args:
        blocks: Blocks B.
        operations: Candidates for each of a block's two operations.
        combinations: Ways to combine their results: add, concatenate.

    Example:
        >>> nasnet_cells(blocks=1, operations=2)  # 2^2 inputs, 2^2 operations, 2 ways
        32
        >>> f"{nasnet_cells() ** 2:.3g}"
        '5.23e+36'
    """
    check_positive(blocks=blocks, operations=operations, combinations=combinations)
    return math.prod(
        (b + 1) ** 2 * operations**2 * combinations for b in range(1, blocks + 1)
    )


def elastic_networks(
    *, units: int = 5, depths: tuple[int, ...] = (2, 3, 4), candidates: int = 9
) -> int:
    """Return the sub-networks of Once-for-All: depth, and a choice for each layer.

    Args:
        units: Parts of the network whose depth can be chosen.
        depths: How many layers a unit may have.
        candidates: Choices for a layer: three widths times three kernels.

    Example:
        >>> f"{elastic_networks():.3g}"  # (9^2 + 9^3 + 9^4)^5
        '2.18e+19'
    """
    check_positive(units=units, candidates=candidates)
    for depth in depths:
        check_positive(depths=depth)
    return sum(candidates**depth for depth in depths) ** units
