"""PT-DARTS: keep the operation whose removal hurts, not the one with most weight.

Paper: Wang et al., "Rethinking Architecture Selection in Differentiable NAS", ICLR
2021, https://arxiv.org/abs/2108.04392, section 5.

    for the edges in a random order:
        keep   argmin over k of  accuracy of the supernet with w[e, k] = 0
        tune   the supernet for a while
    for every node, if it keeps only some edges:
        drop   the edges that cost the least accuracy if they send nothing

The weight of an operation says how much the mixture uses of it, not what would be lost
without it: an operation whose output is 0 can have all the weight. So the search stays,
and only the selection at its end is another one.

The other weights are not scaled up when one is set to 0, as in the authors' program.
An edge that is decided on has one active candidate left, so that the softmax weighs it
1: the architecture itself is the record. Tuning is the caller's:
:func:`~effdl.nas.gradient.search.search` for a few epochs, as a rule.

What differs: none is not chosen unless allowed, so that its removal is not scored,
either. Of operations that cost the same, the one with the larger weight is kept; the
validation part is small, and ties are common.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.found_cell import inherited_accuracy
from effdl.nas.gradient.relaxations import softmax_weights


class Selection(NamedTuple):
    """What perturbation selected.

    Attributes:
        operations: One name for each edge.
        evaluations: How often the supernet was scored.
    """

    operations: tuple[str, ...]
    evaluations: int


def no_tuning() -> None:
    """Do nothing between two edges.

    Example:
        >>> no_tuning()
    """


def removal_accuracies(
    supernet: nn.Module,
    architecture: Architecture,
    edge: int,
    validation: Split,
    *,
    never: Sequence[str] = ("none",),
) -> dict[str, float]:
    """Return the accuracy, 0 to 1, that is left without each candidate of an edge.

    Args:
        supernet: Called with inputs and weights.
        architecture: The weights are the softmax of its logits.
        edge: Its number, from 0.
        validation: What to score on.
        never: Candidates that are left out.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> from effdl.nas.gradient.mixed_net import small_mixed_net
        >>> found = Architecture([("none", "skip_connect", "avg_pool_3x3")] * 6)
        >>> net, part = small_mixed_net(found.candidates[0]), small_digits().validation
        >>> list(removal_accuracies(net, found, 0, part))
        ['skip_connect', 'avg_pool_3x3']
    """
    with torch.no_grad():
        weights = softmax_weights(architecture)
    left = {}
    for name in architecture.left(edge):
        if name not in never:
            without = weights.clone()
            without[edge, architecture.candidates[edge].index(name)] = 0.0
            left[name] = inherited_accuracy(supernet, without, validation)
    return left


def select_by_perturbation_(
    supernet: nn.Module,
    architecture: Architecture,
    validation: Split,
    random: np.random.Generator,
    *,
    tune: Callable[[], None] = no_tuning,
    never: Sequence[str] = ("none",),
) -> Selection:
    """Return the operations whose removal hurts most; keep only these, in place.

    Args:
        supernet: Searched with, called with inputs and weights.
        architecture: Of that search. One candidate of each edge is active afterwards.
        validation: What to score on.
        random: Decides on the order of the edges.
        tune: Called after every edge but the last; may train the supernet, and move
            the logits.
        never: Candidates that are not chosen, unless an edge has nothing else.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> from effdl.nas.gradient.mixed_net import small_mixed_net
        >>> found = Architecture([("none", "skip_connect", "avg_pool_3x3")] * 6)
        >>> net, part = small_mixed_net(found.candidates[0]), small_digits().validation
        >>> random = np.random.default_rng(0)
        >>> select_by_perturbation_(net, found, part, random).evaluations
        12
    """
    evaluations = 0
    order = random.permutation(len(architecture.candidates)).tolist()
    for edge in order:
        names = architecture.candidates[edge]
        choices = [name for name in architecture.left(edge) if name not in never]
        if len(choices) > 1:
            left = removal_accuracies(
                supernet, architecture, edge, validation, never=never
            )
            evaluations += len(left)
            row = architecture.logits[edge].tolist()
            best = min(left, key=lambda n: (left[n], -row[names.index(n)]))
            choices = [best]
        architecture.keep_(edge, choices or architecture.left(edge)[:1])
        if edge != order[-1]:
            tune()
    return Selection(architecture.strongest(), evaluations)


def edges_that_matter(
    supernet: nn.Module,
    architecture: Architecture,
    targets: Sequence[int],
    validation: Split,
    *,
    most: int = 2,
) -> list[int]:
    """Return the edges that each node keeps: those whose removal hurts most.

    A removed edge sends what ``none`` sends, which must be a candidate of it, active or
    not. One score for every edge.

    Args:
        supernet: Called with inputs and weights.
        architecture: With one active candidate on each edge.
        targets: The node that each edge leads to.
        validation: What to score on.
        most: Edges that a node keeps at most.

    Raises:
        ValueError: If there is not one target for each edge, or an edge has no none.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> from effdl.nas.gradient.mixed_net import small_mixed_net
        >>> found = Architecture([("none", "skip_connect")] * 6)
        >>> net, part = small_mixed_net(found.candidates[0]), small_digits().validation
        >>> len(edges_that_matter(net, found, [1, 2, 2, 3, 3, 3], part))
        5
    """
    check_positive(most=most)
    if len(targets) != len(architecture.candidates):
        raise ValueError(
            f"targets must have {len(architecture.candidates)} numbers, one node for "
            f"each edge, got {len(targets)}"
        )
    with torch.no_grad():
        weights = softmax_weights(architecture)
    left = []
    for edge, names in enumerate(architecture.candidates):
        if "none" not in names:
            raise ValueError(f"edge {edge} has no none, which says what removal is")
        without = weights.clone()
        without[edge] = 0.0
        without[edge, names.index("none")] = 1.0
        left.append(inherited_accuracy(supernet, without, validation))
    kept: list[int] = []
    for node in set(targets):
        edges = [edge for edge, target in enumerate(targets) if target == node]
        kept += sorted(edges, key=lambda edge: left[edge])[:most]
    return sorted(kept)
