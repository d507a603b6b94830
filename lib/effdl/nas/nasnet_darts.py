"""Operators on nodes, operators on edges: NASNet and DARTS turned into one another.

Papers: Zoph et al., "Learning Transferable Architectures for Scalable Image
Recognition", CVPR 2018, https://arxiv.org/abs/1707.07012; Liu et al., "DARTS:
Differentiable Architecture Search", ICLR 2019, https://arxiv.org/abs/1806.09055. The
survey's Fig. 7 shows the two side by side.

    a block of NASNet      h_s -> [operator] -+
                                              +--> h            operators are nodes
                           h_t -> [operator] -+

    a node of DARTS        x_s --operator--> x_j                operators are edges
                           x_t --operator-->

Both compute o(h_s) + o'(h_t). So a block that adds what it makes of two different
states is a node with two kept edges. What has no counterpart is concatenating, reading
one state twice, and the operations that only one of the spaces has.

The outputs of the cells differ: DARTS concatenates all nodes, NASNet only its loose
ends. The values of the nodes agree, the outputs need not.

What differs: names are translated, not layers. NASNet's convolutions differ from those
of DARTS in details such as the order of their layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from effdl.nas.darts_space import INPUTS, DartsCell, Edge
from effdl.nas.nasnet_space import Block, NasnetCell

FROM_DARTS = {  # what both spaces have
    "skip_connect": "identity",
    "avg_pool_3x3": "avg_pool_3x3",
    "max_pool_3x3": "max_pool_3x3",
    "sep_conv_3x3": "sep_conv_3x3",
    "sep_conv_5x5": "sep_conv_5x5",
    "dil_conv_3x3": "dil_conv_3x3",
}


def blocks_from_darts(cell: DartsCell) -> NasnetCell:
    """Return the blocks that compute what the nodes of a DARTS cell do.

    Args:
        cell: Without dil_conv_5x5, which NASNet does not have.

    Raises:
        ValueError: If the cell has it.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> blocks_from_darts(DARTS_V2.normal).blocks[2].operations
        ('identity', 'sep_conv_3x3')
    """
    blocks = []
    for first, second in cell.nodes:
        for edge in (first, second):
            if edge.operation not in FROM_DARTS:
                raise ValueError(
                    f"NASNet has no {edge.operation!r}; choose from {list(FROM_DARTS)}"
                )
        names = (FROM_DARTS[first.operation], FROM_DARTS[second.operation])
        blocks.append(Block((first.source, second.source), names))
    return NasnetCell(tuple(blocks))


def darts_from_blocks(cell: NasnetCell) -> DartsCell:
    """Return the DARTS cell whose nodes compute what the blocks do.

    Args:
        cell: Its blocks add, read two different states, and use what DARTS has.

    Raises:
        ValueError: If a block does not.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> darts_from_blocks(blocks_from_darts(DARTS_V2.normal)) == DARTS_V2.normal
        True
    """
    to_darts = {theirs: ours for ours, theirs in FROM_DARTS.items()}
    nodes = []
    for state, block in enumerate(cell.blocks, start=INPUTS):
        missing = [name for name in block.operations if name not in to_darts]
        same = block.sources[0] == block.sources[1]
        if block.combination != "add" or same or missing:
            raise ValueError(
                f"state {state} is no node of DARTS: {block}; a node adds, reads two "
                f"different states, and has only {list(to_darts)}"
            )
        pairs = zip(block.sources, block.operations, strict=True)
        nodes.append(tuple(sorted(Edge(s, to_darts[name]) for s, name in pairs)))
    return DartsCell(tuple(nodes))


def block_values(
    cell: NasnetCell,
    inputs: tuple[Tensor, Tensor],
    operators: Sequence[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]],
) -> list[Tensor]:
    """Return all states: both inputs, then what every block makes.

    Args:
        cell: Which states the blocks read, and how they combine.
        inputs: States 0 and 1, (N, C, H, W).
        operators: The two functions of each block.

    Example:
        >>> cell = NasnetCell((Block((0, 1), ("identity", "identity"), "concat"),))
        >>> ones = torch.ones(1, 4, 2, 2)
        >>> block_values(cell, (ones, ones), [(torch.neg, torch.neg)])[2].shape
        torch.Size([1, 8, 2, 2])
    """
    states = list(inputs)
    for block, pair in zip(cell.blocks, operators, strict=True):
        first, second = (
            operator(states[source])
            for source, operator in zip(block.sources, pair, strict=True)
        )
        added = block.combination == "add"
        states.append(first + second if added else torch.cat((first, second), dim=1))
    return states
