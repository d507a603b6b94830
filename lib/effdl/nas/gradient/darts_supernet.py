"""The supernet of DARTS: two kinds of cells that search, stacked.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 3.1.

All normal cells share one set of weights of their 14 edges, all reduction cells
another. They are the rows of one matrix, so that a search need not know of two kinds:

    rows 0 to 13     normal cells       edges in the order of ``EDGES``
    rows 14 to 27    reduction cells    the same edges

Where the cells stand, and what joins them, is as in :mod:`effdl.nas.darts_net`. With
the weights of one genotype, and none on the edges that it does not keep, this computes
what that network does in training mode, at its cost.

But for the poolings, which have a batch norm here and none there: a genotype with
poolings changes a little when it is taken out of the supernet.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.nas.darts_net import STEM_MULTIPLIER
from effdl.nas.darts_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.darts_mixed_cell import EDGES, NODES, DartsMixedCell
from effdl.nas.gradient.mixed import MixedOperation, Runs
from effdl.nas.gradient.mixed_net import MakeEdge, prepare_for_search_


def darts_architecture(
    names: Sequence[str] = OPERATIONS, *, spread: float = 1e-3
) -> Architecture:
    """Return logits for both kinds of cells: 28 edges with the same candidates.

    Args:
        names: Candidates, from the space's ``OPERATIONS``.
        spread: Standard deviation of the logits at the start.

    Example:
        >>> darts_architecture().logits.shape
        torch.Size([28, 8])
    """
    return Architecture([names] * (2 * len(EDGES)), spread=spread)


class DartsSupernet(nn.Module):
    """Stem, cells that search, and a classifier; (N, c, H, W) and weights to logits.

    Args:
        width: Channels C of the first cells' nodes.
        cells: At least 3; those at a third and two thirds are reductions.
        in_channels: Channels c of the images.
        classes: Logits, at least 1.
        names: Candidates of every edge.
        make_edge: Makes an edge from its candidates by name.
        parts: Candidates are built for so many times fewer channels; see
            :class:`~effdl.nas.gradient.darts_mixed_cell.DartsMixedCell`.

    Raises:
        ValueError: If there are fewer than 3 cells, or no candidates.

    Example:
        >>> import torch
        >>> net = small_darts_supernet()
        >>> net(torch.zeros(2, 1, 12, 12), torch.full((28, 8), 1 / 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        width: int = 16,
        cells: int = 8,
        in_channels: int = 3,
        classes: int = 10,
        names: Sequence[str] = OPERATIONS,
        make_edge: MakeEdge = MixedOperation,
        parts: int = 1,
    ) -> None:
        super().__init__()
        check_positive(width=width, in_channels=in_channels, classes=classes)
        if cells < 3:
            raise ValueError(
                f"cells must be 3 or more, got {cells}; two are reductions"
            )
        if not names:
            raise ValueError(
                f"names must name at least one operation, got {names!r}; leave it out "
                f"to search among {list(OPERATIONS)}"
            )
        stem = STEM_MULTIPLIER * width
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        )
        self.cells = nn.ModuleList()
        before, channels, after_reduction = (stem, stem), width, False
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels = 2 * channels if reduction else channels
            self.cells.append(
                DartsMixedCell(
                    before,
                    channels,
                    reduction=reduction,
                    after_reduction=after_reduction,
                    names=names,
                    make_edge=make_edge,
                    parts=parts,
                )
            )
            before, after_reduction = (before[1], NODES * channels), reduction
        self.classifier = nn.Linear(before[1], classes)
        prepare_for_search_(self, DartsMixedCell)

    def forward(self, x: Tensor, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return logits (N, classes) for images (N, c, H, W).

        Args:
            x: The images.
            weights: Of both kinds of cells, (28, K).
            runs: Which candidates run on each edge; None: those not weighted 0.
        """
        check_images(x)
        before_last = last = self.stem(x)
        for cell in self.cells:
            rows = slice(len(EDGES), None) if cell.reduction else slice(len(EDGES))
            chosen = None if runs is None else runs[rows]
            out = cell(before_last, last, weights[rows], chosen)
            before_last, last = last, out
        return self.classifier(last.mean(dim=(2, 3)))


def small_darts_supernet(
    names: Sequence[str] = OPERATIONS,
    *,
    width: int = 4,
    cells: int = 3,
    make_edge: MakeEdge = MixedOperation,
    parts: int = 1,
) -> DartsSupernet:
    """Return a supernet for digit scenes, (N, 1, 12, 12) and weights to 10 logits.

    Args:
        names: Candidates of every edge.
        width: Channels of the first cell's nodes.
        cells: At least 3.
        make_edge: Makes an edge from its candidates by name.
        parts: Candidates are built for so many times fewer channels; see
            :class:`~effdl.nas.gradient.darts_mixed_cell.DartsMixedCell`.

    Example:
        >>> len(small_darts_supernet(cells=5).cells)
        5
    """
    return DartsSupernet(
        width=width,
        cells=cells,
        in_channels=1,
        names=names,
        make_edge=make_edge,
        parts=parts,
    )
