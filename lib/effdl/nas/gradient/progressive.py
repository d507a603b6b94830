"""P-DARTS: search in stages, each deeper than the last and with fewer candidates.

Paper: Chen et al., "Progressive Differentiable Architecture Search: Bridging the Depth
Gap between Search and Evaluation", ICCV 2019, https://arxiv.org/abs/1904.12760.

DARTS searches with 8 cells what it then builds of 20, because a supernet holds every
candidate. The deeper it becomes, the fewer candidates there is room for:

    stage    cells    candidates per edge    cells x candidates    dropout
    1        5        8                      40                    0.0
    2        11       5                      55                    0.4
    3        17       3                      51                    0.7

After a stage every edge keeps the candidates with the highest logits. Weights and
logits then begin anew.

A skip lets a young network learn fast, and so it wins early. Two things hold it back:
dropout on what a skip sends (:mod:`effdl.nas.gradient.skip_dropout`), and at the end a
limit on the skips of the normal cell, M = 2. While there are more, the weakest of them
is struck from the weights, and the cell derived again.

What differs: dropped candidates stay in the supernet, but do not run; they need memory
for weights, none for activations. The product is a rough measure of memory: none and
a skip cost nothing. The authors' repository has an example with 0.1 in stage 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.darts_space import OPERATIONS, Genotype
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.darts_mixed_cell import EDGES
from effdl.nas.gradient.darts_supernet import darts_architecture
from effdl.nas.gradient.genotype import strongest_genotype
from effdl.nas.gradient.method import Method, SearchEpoch
from effdl.nas.gradient.search import SMALL_RATES, Rates, search
from effdl.nas.gradient.skip_dropout import dropout_rate, set_dropout_
from effdl.nas.gradient.steps import Searching
from effdl.train import Batches

SKIP = "skip_connect"


class Stage(NamedTuple):
    """One stage: its depth, the candidates on every edge, the first dropout rate."""

    cells: int
    candidates: int
    dropout: float = 0.0


STAGES = (Stage(5, 8), Stage(11, 5, 0.4), Stage(17, 3, 0.7))  # for CIFAR-10


class StageEnd(NamedTuple):
    """What a stage left: its architecture, and all of its epochs."""

    architecture: Architecture
    epochs: list[SearchEpoch]


def narrow_(architecture: Architecture, left: int) -> None:
    """Keep the candidates with the highest logits on every edge, in place.

    Args:
        architecture: Its candidates compete, none among them.
        left: How many stay on each edge; an edge with fewer stays as it is.

    Example:
        >>> found = Architecture([("none", "skip", "conv")])
        >>> found.logits.data = torch.tensor([[0.2, 0.1, 0.3]])
        >>> narrow_(found, 2)
        >>> found.left(0)
        ('none', 'conv')
    """
    check_positive(left=left)
    with torch.no_grad():
        logits = architecture.masked_logits().tolist()
    for edge, names in enumerate(architecture.candidates):
        row = dict(zip(names, logits[edge], strict=False))
        ranked = sorted(architecture.left(edge), key=row.__getitem__, reverse=True)
        architecture.keep_(edge, ranked[:left])


def restrict_skips(
    weights: Tensor, most: int = 2, names: Sequence[str] = OPERATIONS
) -> Genotype:
    """Return the genotype of the weights, with few skips in its normal cell.

    Raises ``ValueError``, too, if a node has too few other candidates left.

    Args:
        weights: Of the edges of a normal cell, then of a reduction cell, (28, K).
        most: Skips M that may stay.
        names: The candidates.

    Raises:
        ValueError: If ``most`` is negative.

    Example:
        >>> weights = torch.full((28, 8), 0.1)
        >>> weights[:, 3] = 0.3
        >>> found = restrict_skips(weights)
        >>> [list(c.graph().values()).count("skip_connect") for c in found]
        [2, 8]
    """
    if most < 0:
        raise ValueError(f"most must be 0 or larger, got {most}")
    weights = weights.detach().clone()
    skip = names.index(SKIP)
    while True:
        genotype = strongest_genotype(weights, names)
        graph = genotype.normal.graph()
        kept = [edge for edge, ends in enumerate(EDGES) if graph.get(ends) == SKIP]
        if len(kept) <= most:
            return genotype
        weakest = kept[int(weights[kept, skip].argmin())]
        weights[weakest, skip] = 0.0


def progressive_search(
    build: Callable[[int], nn.Module],
    train: Batches,
    validation: Batches,
    *,
    epochs: int,
    stages: Sequence[Stage] = STAGES,
    warm_up: int = 0,
    rates: Rates = SMALL_RATES,
) -> list[StageEnd]:
    """Return what every stage left; each is a search of its own.

    Args:
        build: Makes a supernet of so many cells, with edges from
            :func:`~effdl.nas.gradient.skip_dropout.edge_with_dropout`.
        train: Batches for w.
        validation: Batches for alpha.
        epochs: Of each stage.
        stages: Depths and candidates. The first has all 8 candidates.
        warm_up: Epochs of each stage in which only w moves.
        rates: Learning rates.

    Raises:
        ValueError: If the candidates grow, or ``warm_up`` is not below ``epochs``.

    Example:
        >>> from effdl.data.digits import Split
        >>> from effdl.nas.gradient.darts_supernet import DartsSupernet
        >>> from effdl.nas.gradient.skip_dropout import edge_with_dropout
        >>> make = partial(DartsSupernet, in_channels=1, make_edge=edge_with_dropout)
        >>> tiny = Split(torch.randn(4, 1, 8, 8), torch.arange(4)).batches(4)
        >>> build = lambda n: make(width=2, cells=n)
        >>> len(progressive_search(build, tiny, tiny, epochs=1, stages=[Stage(3, 8)]))
        1
    """
    if not 0 <= warm_up < epochs:
        raise ValueError(f"warm_up must be from 0 to below {epochs}, got {warm_up}")
    counts = [stage.candidates for stage in stages]
    if [len(OPERATIONS), *counts[1:]] != sorted(counts, reverse=True):
        raise ValueError(
            f"stages must begin with {len(OPERATIONS)} candidates and never have more "
            f"than the one before, got {counts}"
        )
    ends: list[StageEnd] = []
    for stage in stages:
        architecture = darts_architecture()
        if ends:
            before = deepcopy(ends[-1].architecture)
            narrow_(before, stage.candidates)
            architecture.active.copy_(before.active)
        supernet = build(stage.cells)
        rate = partial(dropout_rate, stage.dropout, epochs=epochs, warm_up=warm_up)
        set_dropout_(supernet, rate(0))
        done = search(
            supernet,
            architecture,
            train,
            validation,
            epochs=epochs,
            method=Method(after_epoch=partial(_next_rate, rate)),
            rates=rates,
            warm_up=warm_up,
        )
        ends.append(StageEnd(architecture, done))
    return ends


def _next_rate(
    rate: Callable[[int], float], searching: Searching, done: list[SearchEpoch]
) -> bool:
    set_dropout_(searching.supernet, rate(len(done)))
    return False
