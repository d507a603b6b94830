"""TE-NAS: prune a network that holds all operations, without training anything.

Paper: Chen et al., "Neural Architecture Search on ImageNet in Four GPU Hours: A
Theoretically Inspired Perspective", ICLR 2021, https://arxiv.org/abs/2102.11535,
section 3.2, algorithm 1.

Begin with every operation on every edge, each edge giving the mean of its operations.
For every operation o, measured by taking o alone away:

    dK_o = (kappa - kappa without o) / kappa    large: without o it trains more easily
    dR_o = (R - R without o) / R                small: without o it loses no regions

kappa: :mod:`effdl.nas.proxies.ntk`; R: :mod:`effdl.nas.proxies.linear_regions`. Rank
all operations by dK, largest first, and by dR, smallest first; add the two ranks; on
every edge prune the operation with the lowest sum. Repeat until one is left. With four
operations on six edges that takes 3 rounds and 6 (4 + 3 + 2) = 54 measurements, where
trying all cells would take 4^6 = 4,096.

Taken from the authors' code: none is not among the operations; the changes are means
over draws of the weights (3), each rounded to 3 digits, equal changes share a rank and
the next one follows; kappa uses weights of deviation sqrt(2 / fan out), R thinner
networks with sqrt(2 / fan in); training mode.

What differs: they draw new weights for every operation and measure the full network
again beside it. Here all operations of a round are judged on the same draws: half the
cost, and no operation is favoured by its draw. Equal sums go to the better rank of dK.

Before trusting it: the two ranks look at a supernet, not at the cells that will be
left, and three draws leave noise. Run several seeds and see whether they agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from effdl.checks import check_positive
from effdl.nas.cell_space import EDGES, Cell
from effdl.nas.proxies.linear_regions import linear_region_count
from effdl.nas.proxies.ntk import ntk_condition_number
from effdl.nas.super_cell import SEARCHED, Active, restrict_, super_cell_net

NTK_WIDTHS, REGION_WIDTHS = (4, 8), (1, 2)  # thin, so that a search takes seconds
DIGITS = 3  # kept of a relative change

Removal = tuple[int, str]  # an edge and one of its operations
Change = tuple[float, float]  # dK and dR
Compare = Callable[[Active, Sequence[Removal]], Sequence[Change]]


@dataclass(frozen=True)
class Round:
    """One round of pruning.

    Attributes:
        active: The operations on each edge before it.
        changes: dK and dR of every operation that could go.
        pruned: What went: one operation of every edge.
    """

    active: Active
    changes: dict[Removal, Change]
    pruned: tuple[Removal, ...]


@dataclass(frozen=True)
class Pruning:
    """The result of a search, and how it came about.

    Attributes:
        cell: What was left.
        rounds: In order.
    """

    cell: Cell
    rounds: tuple[Round, ...]

    @property
    def evaluations(self) -> int:
        """How many pruned networks were measured, repeats counted once."""
        return sum(len(round_.changes) for round_ in self.rounds)


def prune_by_ntk_and_regions(
    images: Tensor,
    crops: Tensor,
    *,
    repeats: int = 3,
    ntk_widths: tuple[int, ...] = NTK_WIDTHS,
    region_widths: tuple[int, ...] = REGION_WIDTHS,
) -> Pruning:
    """Return the cell that TE-NAS finds. Draws weights: call it inside ``seeded``.

    Raises ``ValueError`` if a supernet's kernel is singular, or it has no regions.

    Args:
        images: For the kernel, (N, C, H, W); each takes some 170 backward passes.
        crops: For the regions, (M, C, h, w), see
            :func:`effdl.nas.proxies.linear_regions.random_crops`.
        repeats: Draws of the weights per round.
        ntk_widths: Channels of the stages where the kernel is measured.
        region_widths: Channels of the stages where regions are counted.

    Example:
        >>> import torch
        >>> from effdl.seed import seeded
        >>> with seeded(0):
        ...     images, crops = torch.randn(2, 1, 4, 4), torch.randn(50, 1, 3, 3)
        ...     found = prune_by_ntk_and_regions(images, crops, repeats=1)
        >>> len(found.rounds), found.evaluations
        (3, 54)
    """
    check_positive(repeats=repeats)
    channels = images.shape[1]

    def compare(active: Active, removals: Sequence[Removal]) -> list[Change]:
        drawn = []
        for _ in range(repeats):
            wide = super_cell_net(ntk_widths, in_channels=channels)
            thin = super_cell_net(region_widths, in_channels=channels, fan="fan_in")
            kappas, regions = [], []
            for remaining in [active, *(_without(active, r) for r in removals)]:
                restrict_(wide, remaining)
                restrict_(thin, remaining)
                kappas.append(ntk_condition_number(wide, images))
                regions.append(linear_region_count(thin, crops))
            drawn.append((_changes(kappas), _changes(regions)))
        means = np.mean(drawn, axis=0)  # (2, removals)
        return [(float(kappa), float(region)) for kappa, region in means.T]

    return prune(compare)


def prune(compare: Compare) -> Pruning:
    """Return the cell left by pruning one operation per edge and round.

    Args:
        compare: Gives dK and dR for each of some removals from the active operations.

    Example:
        >>> costs = {name: 0.1 * i for i, name in enumerate(SEARCHED)}
        >>> found = prune(lambda _, removals: [(0, costs[o]) for _, o in removals])
        >>> found.cell.count("avg_pool_3x3")  # on every edge the dearest to lose
        6
    """
    active: Active = (SEARCHED,) * len(EDGES)
    rounds = []
    while len(active[0]) > 1:  # all edges have equally many
        removals = [(edge, name) for edge, left in enumerate(active) for name in left]
        changes = list(compare(active, removals))
        pruned = _chosen(removals, changes)
        rounds.append(Round(active, dict(zip(removals, changes, strict=True)), pruned))
        for removal in pruned:
            active = _without(active, removal)
    return Pruning(Cell(tuple(name for (name,) in active)), tuple(rounds))


def _without(active: Active, removal: Removal) -> Active:
    edge, name = removal
    rest = tuple(n for n in active[edge] if n != name)
    return (*active[:edge], rest, *active[edge + 1 :])


def _changes(values: Sequence[float]) -> NDArray[np.float64]:
    """Return by which share every value but the first lies below the first.

    Raises:
        ValueError: If the first is not finite.
    """
    before, *after = values
    if not isfinite(before):
        raise ValueError(
            "the kernel of the supernet is singular, kappa is inf; "
            "use fewer images, no image twice, or larger ntk_widths"
        )
    return np.round((before - np.array(after)) / before, DIGITS)


def _chosen(
    removals: Sequence[Removal], changes: Sequence[Change]
) -> tuple[Removal, ...]:
    """Return for every edge the removal with the lowest sum of ranks."""
    means = np.round(changes, 2 * DIGITS)  # equal means stay equal
    by_kappa = np.unique(-means[:, 0], return_inverse=True)[1]
    by_regions = np.unique(means[:, 1], return_inverse=True)[1]
    best: dict[int, tuple[int, int, Removal]] = {}
    for removal, first, second in zip(removals, by_kappa, by_regions, strict=True):
        entry = (first + second, first, removal)
        edge = removal[0]
        if edge not in best or entry[:2] < best[edge][:2]:
            best[edge] = entry
    return tuple(removal for _, _, removal in best.values())
