"""A discrete DARTS cell: equation 1 on the edges that were kept.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.1; equation 1 of the survey.

A cell reads the outputs of the two cells before it, each brought to C channels by a
pointwise convolution. Every node is the sum of what it reads:

    x_j = sum over i < j of o_ij(x_i)        of the edges that were kept      (eq. 1)

and the cell's output is all n nodes side by side, n C channels. In a *normal* cell
every operation has stride 1. In a *reduction* cell each operation that reads one of the
two inputs has stride 2, so the nodes have half the resolution: there is no single
convolution at its start that does so.

Before a search has ended, all edges are there, with a mixture on each. Equation 1 is
the same for both: :func:`node_values` takes any operations.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from effdl.nas.darts_operations import darts_operation, preprocess
from effdl.nas.darts_space import INPUTS, DartsCell


def node_values(
    inputs: Sequence[Tensor],
    nodes: Iterable[Iterable[tuple[int, Callable[[Tensor], Tensor]]]],
) -> list[Tensor]:
    """Return all states: the inputs, then every node's sum (equation 1).

    Args:
        inputs: The first states, of one shape.
        nodes: What each node reads, as pairs of a state's number and an operation on
            it; at least one pair each.

    Raises:
        ValueError: If a node reads nothing, or a state that is not there yet.

    Example:
        >>> same = lambda x: x
        >>> x = torch.ones(1)
        >>> nodes = [[(i, same) for i in range(k + 2)] for k in range(4)]
        >>> [int(value) for value in node_values([x, x], nodes)[2:]]
        [2, 4, 8, 16]
    """
    states = list(inputs)
    for incoming in map(list, nodes):
        sources = [source for source, _ in incoming]
        if not sources or not 0 <= min(sources) <= max(sources) < len(states):
            raise ValueError(
                f"state {len(states)} must read some of the states before it, "
                f"got {sources}"
            )
        sent = [operation(states[source]) for source, operation in incoming]
        states.append(sum(sent[1:], sent[0]))
    return states


class DartsBlock(nn.Module):
    """A discrete cell, from the outputs of the two cells before it.

    Maps (N, c_0, H_0, W_0) and (N, c_1, H, W) to (N, n C, H', W') for n nodes: H' = H
    in a normal cell, H' = ceil(H / 2) in a reduction cell.

    Args:
        cell: What every node reads.
        in_channels: c_0 and c_1.
        channels: Channels C of every node.
        reduction: Whether this cell halves the resolution.
        after_reduction: Whether the cell before did: then H_0 = 2 H.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> block = DartsBlock(DARTS_V2.reduce, (4, 8), 6, reduction=True)
        >>> block(torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8, 8)).shape
        torch.Size([1, 24, 4, 4])
    """

    def __init__(
        self,
        cell: DartsCell,
        in_channels: tuple[int, int],
        channels: int,
        *,
        reduction: bool = False,
        after_reduction: bool = False,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.first = preprocess(in_channels[0], channels, halve=after_reduction)
        self.second = preprocess(in_channels[1], channels, halve=False)
        self.edges = nn.ModuleDict()  # by "source-target"
        for (source, target), name in cell.graph().items():
            stride = 2 if reduction and source < INPUTS else 1
            self.edges[f"{source}-{target}"] = darts_operation(name, channels, stride)

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Return all nodes side by side."""
        nodes = [
            [(edge.source, self.edges[f"{edge.source}-{state}"]) for edge in edges]
            for state, edges in enumerate(self.cell.nodes, start=INPUTS)
        ]
        inputs = self.first(before_last), self.second(last)
        return torch.cat(node_values(inputs, nodes)[INPUTS:], dim=1)
