"""The cell of DARTS while it searches: a mixture on each of its 14 edges.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, sections 2.1 and 2.2; equation 7 of the survey with
the sum over the edges that its print leaves out:

    x_j = sum over i < j of  sum over k of  w_ijk o_k(x_i)

It is equation 1, which :func:`~effdl.nas.darts_cell.node_values` computes, with a
mixture for every operation. The inputs, the output and the strides are those of a
discrete cell (:mod:`effdl.nas.darts_cell`).

As in the authors' search, and unlike in the network that is trained after it, a batch
norm follows each pooling. Every other candidate that computes ends in a batch norm, and
without one a pooling would weigh more or less than its weight says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from effdl.checks import check_divides, check_positive
from effdl.nas.darts_cell import node_values
from effdl.nas.darts_operations import darts_operation, preprocess
from effdl.nas.darts_space import INPUTS, OPERATIONS
from effdl.nas.gradient.mixed import MixedOperation, Runs
from effdl.nas.gradient.mixed_net import MakeEdge

NODES = 4


def graph_edges(nodes: int = NODES) -> tuple[tuple[int, int], ...]:
    """Return all edges (source, target) of a cell that searches, target by target.

    Args:
        nodes: Nodes n; states 0 and 1 are the inputs.

    Example:
        >>> graph_edges(2)
        ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    """
    check_positive(nodes=nodes)
    return tuple(
        (source, target)
        for target in range(INPUTS, INPUTS + nodes)
        for source in range(target)
    )


EDGES = graph_edges()  # 2 + 3 + 4 + 5 = 14


class DartsMixedCell(nn.Module):
    """A cell that searches; shapes as of :class:`~effdl.nas.darts_cell.DartsBlock`.

    Args:
        in_channels: Channels of the outputs of the two cells before it.
        channels: Channels C of every node.
        reduction: Whether this cell halves the resolution.
        after_reduction: Whether the cell before did.
        names: Candidates of every edge.
        make_edge: Makes an edge from its candidates by name.
        parts: Candidates are built for C / parts channels, for edges that send only so
            many through the mixture. Divides C.

    Example:
        >>> cell = DartsMixedCell((4, 8), 6, reduction=True)
        >>> uniform = torch.full((14, 8), 1 / 8)
        >>> cell(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8, 8), uniform).shape
        torch.Size([2, 24, 4, 4])
    """

    def __init__(
        self,
        in_channels: tuple[int, int],
        channels: int,
        *,
        reduction: bool = False,
        after_reduction: bool = False,
        names: Sequence[str] = OPERATIONS,
        make_edge: MakeEdge = MixedOperation,
        parts: int = 1,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, parts=parts, names=len(names))
        check_divides("parts", parts, channels=channels)
        self.reduction = reduction
        self.first = preprocess(in_channels[0], channels, halve=after_reduction)
        self.second = preprocess(in_channels[1], channels, halve=False)
        self.edges = nn.ModuleList(
            make_edge({
                name: _candidate(
                    name, channels // parts, 2 if reduction and source < INPUTS else 1
                )
                for name in names
            })
            for source, _ in EDGES
        )

    def forward(
        self,
        before_last: Tensor,
        last: Tensor,
        weights: Tensor,
        runs: Runs | None = None,
    ) -> Tensor:
        """Return all nodes side by side.

        Args:
            before_last: Output of the cell before the last one.
            last: Output of the last cell.
            weights: Of this kind of cell, (14, K).
            runs: Which candidates run on each edge; None: those not weighted 0.
        """
        rows = weights.unbind()
        nodes: list[list[tuple[int, partial[Tensor]]]] = [[] for _ in range(NODES)]
        for edge, (source, target) in enumerate(EDGES):
            chosen = None if runs is None else runs[edge]
            sends = partial(self.edges[edge], weights=rows[edge], runs=chosen)
            nodes[target - INPUTS].append((source, sends))
        inputs = self.first(before_last), self.second(last)
        return torch.cat(node_values(inputs, nodes)[INPUTS:], dim=1)


def _candidate(name: str, channels: int, stride: int) -> nn.Module:
    operation = darts_operation(name, channels, stride)
    if name.endswith("pool_3x3"):
        return nn.Sequential(operation, nn.BatchNorm2d(channels))
    return operation
