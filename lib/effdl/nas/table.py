"""A table of trained cells: ask what a training would give instead of training.

Papers: Ying et al., "NAS-Bench-101", ICML 2019, https://arxiv.org/abs/1902.09635, and
Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326.

Every cell of the space has a row here: its accuracies with several seeds, perhaps its
learning curves, and what it costs. A search that looks its answers up runs in seconds,
and what it found can be held against the best there is. Cells that compute the same
share a row.

Tables hold different things; :meth:`CellTable.need` says what one lacks. Searches that
ask for no more than validation accuracy and costs run on any of them.

Before trusting a result: choose on ``validation``, report ``test``, and compare a
difference with what another seed changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from effdl.nas.cell_classes import representative
from effdl.nas.cell_space import Cell

Floats = NDArray[np.float64]

TRAINED = ("validation", "test", "curves", "losses")


@dataclass(frozen=True, eq=False)
class CellTable:
    """What is known of every cell; not a number where a seed was not trained.

    Raises ``ValueError`` if an array has another number of rows than there are cells.

    Attributes:
        name: What the table is called in messages.
        cells: One cell a row; all that compute the same share its row.
        validation: Accuracy after the last epoch, 0 to 1, (rows, seeds).
        test: The same on the test part, or None.
        curves: Validation accuracy after each epoch, (rows, seeds, epochs), or None.
        losses: Mean training loss of each epoch, (rows, seeds, epochs), or None.
        costs: Arrays (rows,) by name, such as parameters, macs, latency_1, seconds.
    """

    name: str
    cells: tuple[Cell, ...]
    validation: Floats
    test: Floats | None
    curves: Floats | None
    losses: Floats | None
    costs: Mapping[str, Floats]

    def __post_init__(self) -> None:
        trained = {name: getattr(self, name) for name in TRAINED}
        for name, values in (trained | dict(self.costs)).items():
            if values is not None and len(values) != len(self.cells):
                raise ValueError(
                    f"{name} of {self.name} must have {len(self.cells)} rows, one per "
                    f"cell, got {len(values)}"
                )

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def has(self) -> tuple[str, ...]:
        """Names that :meth:`need` knows."""
        trained = tuple(name for name in TRAINED if getattr(self, name) is not None)
        return (*trained, *self.costs)

    @property
    def lacks(self) -> tuple[str, ...]:
        """Of what trainings give, that which this table does not hold."""
        return tuple(name for name in TRAINED if getattr(self, name) is None)

    def need(self, name: str) -> Floats:
        """Return an array by its name, one row per cell.

        Args:
            name: validation, test, curves, losses, or one of the costs.

        Raises:
            ValueError: If the table lacks it.
        """
        if name not in self.has:
            raise ValueError(
                f"{self.name} lacks {name!r}; it has {', '.join(self.has)}"
            )
        found = self.costs[name] if name in self.costs else getattr(self, name)
        return np.asarray(found)

    def mean(self, name: str) -> Floats:
        """Return the mean over the seeds that were trained, (rows,) or (rows, epochs).

        Args:
            name: validation, test, curves or losses. Raises ``ValueError`` if the
                table lacks it.
        """
        return np.nanmean(self.need(name), axis=1)

    def row(self, cell: Cell) -> int:
        """Return the row of a cell, or of the cell in the table that computes the same.

        Raises ``ValueError`` if the cell is disconnected.

        Args:
            cell: Any of the 15,625.

        Raises:
            ValueError: If the cell was never trained.
        """
        place = self._rows.get(cell)
        if place is None:
            place = self._rows.get(representative(cell))
        if place is None:
            raise ValueError(
                f"{self.name} has no row for {cell}; it holds {len(self)} cells"
            )
        return place

    def has_row(self, cell: Cell) -> bool:
        """Return whether the cell, or one that computes the same, has a row."""
        try:
            self.row(cell)
        except ValueError:
            return False
        return True

    @cached_property
    def _rows(self) -> dict[Cell, int]:
        return {cell: place for place, cell in enumerate(self.cells)}
