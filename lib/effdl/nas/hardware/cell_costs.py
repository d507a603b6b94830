"""How good a sum over a table is: fitted costs of the four-node cell, and dead edges.

Papers: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, appendix B, for costs that add
up; the cell is that of Dong and Yang, "NAS-Bench-201", ICLR 2020,
https://arxiv.org/abs/2001.00326.

    cost(cell) about  base + sum over edges e of  extra[e, o_e]

Where networks were measured whole, least squares gives the 1 + 6 * 4 unknowns. (They
can also be measured one by one: :mod:`effdl.nas.hardware.operator_costs`.)

Additivity fails for three reasons. An edge on no path from input to output costs
nothing when the network runs, and the table charges for it: :func:`dead_cost`. What one
operation leaves in the cache depends on which it is. And a clock has bad moments, which
no table can explain, nor should. :func:`agreement` does not tell these apart: its R2 is
bounded by the noise of what it compares with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell
from effdl.nas.fbnet_table import fit_additive
from effdl.nas.hardware.expected_cost import CostTable
from effdl.nas.table import CellTable, Floats


class Agreement(NamedTuple):
    """How far sums of a table are from what was measured.

    Attributes:
        r2: Share of the variance that is explained; at most 1, and below 0 for sums
            that are worse than the mean of what was measured.
        mean_error: Mean of abs(sum - measured), in the unit of both.
        largest_error: The largest of them.
    """

    r2: float
    mean_error: float
    largest_error: float


def agreement(sums: Floats, measured: Floats) -> Agreement:
    """Return how far sums are from measurements.

    Args:
        sums: One for each network, (n,).
        measured: The truth, or the nearest thing to it, (n,).

    Raises:
        ValueError: If there are not two numbers or more, equally many of both, or all
            that was measured is equal.

    Example:
        >>> agreement(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
        Agreement(r2=0.5, mean_error=0.333..., largest_error=1.0)
    """
    if sums.shape != measured.shape or sums.ndim != 1:
        raise ValueError(
            f"sums and measured must be (n,), got {sums.shape} and {measured.shape}"
        )
    if len(measured) < 2 or np.ptp(measured) == 0:
        raise ValueError("measured must hold two different numbers or more")
    off = sums - measured
    variance = ((measured - measured.mean()) ** 2).sum()
    return Agreement(
        r2=float(1 - (off**2).sum() / variance),
        mean_error=float(np.abs(off).mean()),
        largest_error=float(np.abs(off).max()),
    )


def cell_sums(
    table: CostTable, cells: Sequence[Cell], names: Sequence[str] = OPERATIONS
) -> Floats:
    """Return what a table says of some cells, dead edges charged, (cells,).

    Args:
        table: Of six edges.
        cells: Any, of operations in ``names``; ``ValueError`` for others.
        names: What the columns of the table stand for.

    Example:
        >>> table = CostTable(1.0, torch.arange(5.0).expand(6, 5))
        >>> cell_sums(table, [Cell(("avg_pool_3x3",) * 6)]).tolist()
        [25.0]
    """
    place = {name: column for column, name in enumerate(names)}
    return np.array([table.of(_columns(cell, place)) for cell in cells])


def dead_cost(table: CostTable, cell: Cell, names: Sequence[str] = OPERATIONS) -> float:
    """Return what a table charges a cell for edges on no path from input to output.

    Args:
        table: Of six edges.
        cell: Of operations in ``names``; ``ValueError`` for another.
        names: What the columns of the table stand for; none must be one of them.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[0.0, 2.0]]).expand(6, 2))
        >>> cell = Cell(("skip_connect",) + ("none",) * 2 + ("skip_connect",) +
        ...             ("none",) * 2)  # node 1 sends nothing on
        >>> dead_cost(table, cell, ("none", "skip_connect"))
        2.0
    """
    live = live_edges(cell)
    kept = Cell(
        tuple(o if e in live else "none" for e, o in enumerate(cell.operations))
    )
    whole, needed = cell_sums(table, [cell, kept], names).tolist()
    return whole - needed


def fit_cell_costs(
    table: CellTable, cost: str, names: Sequence[str] = OPERATIONS
) -> tuple[CostTable, Agreement]:
    """Return the cost table whose sums are closest to a column, and how close.

    Only differences on one edge can be known from whole cells. So the first name has
    the extra cost 0 on every edge, and base is the cost of the cell that has it
    everywhere, whether or not there is such a cell.

    Raises ``ValueError`` if too few cells are left to determine the costs.

    Args:
        table: What was measured.
        cost: The column, such as "latency_64"; ``ValueError`` if the table lacks it.
        names: The operations to choose from. Cells with any other are left out.

    Example:
        >>> from effdl.nas.cellbench import load_cellbench
        >>> costs, close = fit_cell_costs(load_cellbench(), "macs")
        >>> costs.extra[0].round().int().tolist(), round(close.r2, 9)
        ([0, 0, 4608, 41472, 0], 1.0)
    """
    chosen = [n for n, c in enumerate(table.cells) if set(c.operations) <= set(names)]
    cells = [table.cells[n] for n in chosen]
    place = {name: column for column, name in enumerate(names)}
    columns = np.array([_columns(cell, place) for cell in cells], dtype=np.int64)
    columns = columns.reshape(-1, len(EDGES))  # also if there is none
    measured = table.need(cost)[chosen]
    fitted = fit_additive(columns, measured, operations=len(names))
    sums = fitted.base + fitted.extra[range(len(EDGES)), columns].sum(axis=1)
    first = fitted.extra[:, :1]
    extra = torch.from_numpy(fitted.extra - first).float()
    return CostTable(fitted.base + float(first.sum()), extra), agreement(sums, measured)


def _columns(cell: Cell, place: dict[str, int]) -> list[int]:
    """Return the column of the operation on each edge.

    Raises:
        ValueError: If the table has no column for one.
    """
    unknown = set(cell.operations) - set(place)
    if unknown:
        raise ValueError(
            f"{cell} has operations {sorted(unknown)} that names={list(place)} lacks"
        )
    return [place[name] for name in cell.operations]
