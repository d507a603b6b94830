"""Discretisation: from logits to one cell.

Papers: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.4; for a cell that keeps all six edges,
Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326.

    o_e = argmax over k other than none of  alpha[e, k]

None is searched with and never chosen: a mixture can be made small by a weight on none
without saying which of the others is best. What is thrown away counted, too: the
accuracy falls from the mixture to the cell with the same weights, and the cell is
trained again.
"""

import torch
from torch import nn

from effdl.data.digits import Split
from effdl.measure.probe import evaluating
from effdl.nas.cell_space import EDGES, Cell
from effdl.nas.gradient.architecture import Architecture


def found_cell(architecture: Architecture) -> Cell:
    """Return the four-node cell with the strongest operation on each of its six edges.

    Args:
        architecture: Of six edges, with candidates of the cell's space.

    Raises:
        ValueError: If there is another number of edges.

    Example:
        >>> found = Architecture([("none", "skip_connect")] * 6)
        >>> found_cell(found).count("skip_connect")
        6
    """
    if len(architecture.candidates) != len(EDGES):
        raise ValueError(
            f"architecture must have {len(EDGES)} edges, one per edge of the cell, got "
            f"{len(architecture.candidates)}"
        )
    return Cell(architecture.strongest())


def inherited_accuracy(
    supernet: nn.Module, weights: torch.Tensor, split: Split, *, batch_size: int = 500
) -> float:
    """Return the accuracy, 0 to 1, of a supernet with given weights of its mixtures.

    Args:
        supernet: Called with inputs and weights; in eval mode until it is done.
        weights: (edges, K); one-hot for a discrete architecture.
        split: What to score on.
        batch_size: Inputs at once. Batch norms use the statistics of each batch, so it
            matters a little.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> from effdl.nas.gradient.mixed_net import small_mixed_net
        >>> part = small_digits(n_test=10).test
        >>> 0 <= inherited_accuracy(small_mixed_net(), torch.ones(6, 5), part) <= 1
        True
    """
    hits = 0
    with evaluating(supernet), torch.no_grad():
        for inputs, targets in split.batches(batch_size):
            found = supernet(inputs, weights.detach()).argmax(dim=1)
            hits += int((found == targets).sum())
    return hits / len(split)
