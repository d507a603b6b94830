"""FairDARTS: every candidate has a gate of its own, and gates are pushed to 0 or 1.

Paper: Chu et al., "Fair DARTS: Eliminating Unfair Advantages in Differentiable
Architecture Search", ECCV 2020, https://arxiv.org/abs/1911.12126.

    mixed(x) = sum over k of  s_k o_k(x)            s_k = sigmoid(alpha_k)
    L_01     = - mean over all gates of  (s - 1/2)^2          from 0 down to -1/4
    alpha minimises  L_val + strength L_01                    strength = 10

Under a softmax, what one candidate wins the others lose, and a skip connection that
helps the gradient wins at their cost. Gates do not compete. They need not end near 0 or
1, either, so that cutting at a threshold would change the network: hence L_01, which is
the square form of the authors' program. At s = 1/2 it has no slope: it decides for the
side on which a gate already is.

What is kept: of every node the ``most`` edges with the strongest gates, and of these
the edges whose strongest gate reaches the threshold, each with that one operation. That
is what the authors' program calls sparse, with its threshold of 0.85. Nothing may be
left: then the threshold is too high for the search. In a cell that keeps all its edges,
an edge without an open gate becomes none.

The relaxation is :func:`~effdl.nas.gradient.relaxations.sigmoid_weights`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.nas.cell_space import EDGES, Cell
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Objective, Searching


def zero_one_loss(gates: Tensor, active: Tensor | None = None) -> Tensor:
    """Return minus the mean squared distance of gates from 1/2, a scalar.

    Args:
        gates: Between 0 and 1, any shape.
        active: Which of them count, bool, of the same shape; None: all.

    Example:
        >>> zero_one_loss(torch.tensor([0.5, 1.0]))
        tensor(-0.1250)
    """
    counted = gates if active is None else gates[active]
    return -(counted - 0.5).square().mean()


def zero_one_objective(strength: float = 10.0) -> Objective:
    """Return the objective that adds the zero-one loss of all active candidates.

    Args:
        strength: Its factor, at least 0.

    Raises:
        ValueError: If it is negative.

    Example:
        >>> zero_one_objective(0)(torch.tensor(2.0), torch.ones(1, 2), None)
        tensor(2.)
    """
    if not strength >= 0:
        raise ValueError(f"strength must be 0 or larger, got {strength}")

    def objective(loss: Tensor, gates: Tensor, searching: Searching) -> Tensor:
        if strength == 0:
            return loss
        active = searching.architecture.active
        return loss + strength * zero_one_loss(gates, active)

    return objective


def open_gates(
    architecture: Architecture,
    targets: Sequence[int],
    *,
    threshold: float = 0.85,
    most: int = 2,
    never: Sequence[str] = ("none",),
) -> tuple[str | None, ...]:
    """Return the operation that each edge keeps, or None if it keeps nothing.

    Args:
        architecture: Its gates are the sigmoids of its logits.
        targets: The node that each edge leads to.
        threshold: Lowest gate that is kept, above 0 and below 1.
        most: Edges that a node keeps at most.
        never: Names that are not chosen.

    Raises:
        ValueError: If the threshold is out of range, or there is not one target for
            each edge.

    Example:
        >>> found = Architecture([("skip", "conv")] * 3)
        >>> _ = found.logits.data.copy_(torch.tensor([[2.0, 1], [0, 3], [4, 4.5]]))
        >>> open_gates(found, [2, 2, 2])
        (None, 'conv', 'conv')
    """
    check_positive(most=most)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
    if len(targets) != len(architecture.candidates):
        raise ValueError(
            f"targets must have {len(architecture.candidates)} numbers, one node for "
            f"each edge, got {len(targets)}"
        )
    with torch.no_grad():
        gates = architecture.masked_logits().sigmoid()
    names = architecture.strongest(never=never)
    heights = [
        float(row[candidates.index(name)])
        for row, candidates, name in zip(
            gates, architecture.candidates, names, strict=True
        )
    ]
    kept: list[str | None] = [None] * len(names)
    for node in set(targets):
        edges = [edge for edge, target in enumerate(targets) if target == node]
        edges.sort(key=lambda edge: -heights[edge])
        for edge in edges[:most]:
            if heights[edge] >= threshold and names[edge] not in never:
                kept[edge] = names[edge]
    return tuple(kept)


def gated_cell(
    architecture: Architecture, *, threshold: float = 0.85, most: int = 3
) -> Cell:
    """Return the four-node cell of the open gates, with none where no gate is open.

    It may be disconnected. The benchmark's table does not hold such cells.

    Args:
        architecture: Of six edges, with candidates of the cell's space.
        threshold: Lowest gate that is kept.
        most: Edges that a node keeps at most; 3 is no limit here.

    Example:
        >>> found = Architecture([("skip_connect", "nor_conv_3x3")] * 6, spread=0)
        >>> gated_cell(found).count("none")
        6
    """
    targets = [target for _, target in EDGES]
    kept = open_gates(architecture, targets, threshold=threshold, most=most)
    return Cell(tuple(name or "none" for name in kept))
