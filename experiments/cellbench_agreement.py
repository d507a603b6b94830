"""Trainings of the cell benchmark repeated on a processor, one after the other.

The table was made on a graphics card, thousands at once. Here a few classes are trained
as a reader would train them. What differs must be less than another seed changes.
"""

from __future__ import annotations

import numpy as np

from _results import Case, fill_table
from build_cellbench import scenes, train_one
from effdl.nas.cell_space import Cell
from effdl.nas.cellbench import load_cellbench

CLASSES = 20
SEEDS = (0, 1)


def measure(cell: str, seed: int) -> Case:
    """Train one class again and put both results beside each other."""
    table = load_cellbench()
    row = table.row(Cell.parse(cell))
    losses, curve, test = train_one(Cell.parse(cell), seed, scenes())
    stored = table.need("losses")[row, seed]
    return {
        "validation": curve[-1],
        "stored_validation": float(table.need("validation")[row, seed]),
        "test": test,
        "stored_test": float(table.need("test")[row, seed]),
        "first_loss": losses[0],
        "stored_first_loss": float(stored[0]),
        "last_loss": losses[-1],
        "stored_last_loss": float(stored[-1]),
    }


if __name__ == "__main__":
    cells = load_cellbench().cells
    rows = np.random.default_rng(0).choice(len(cells), CLASSES, replace=False)
    cases = [{"cell": str(cells[row]), "seed": seed} for row in rows for seed in SEEDS]
    fill_table(__file__, cases, measure)
