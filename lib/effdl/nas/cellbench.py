"""The book's own benchmark: every cell of NAS-Bench-201's space, really trained.

After Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326, in a
size that a laptop can make: 12 x 12 digit scenes, 3,000 to train on, and a network with
two cells. One training of ten epochs takes about two seconds of one core:

    with seeded(s): net = small_cell_net(cell)
    train_classifier(net, small_digits().train, epochs=10, seed=s)

15,625 cells are 5,043 connected classes of equal function. Each class was trained with
at least two seeds, the most promising with three, those without pooling with five; nan
stands for a training that was not done. Validation accuracies come from 1,000 images,
test accuracies from 2,000, and both parts have other writers than the training part.

``experiments/build_cellbench.py`` made the accuracies, ``experiments/cell_costs.py``
the costs; ``data/cellbench/provenance.csv`` says on what, and how long it took.

What differs from NAS-Bench-201: size and data, above all. Good cells here need not be
good there. Two seeds leave a noise of about a point; see the notebook on it.
"""

import csv
import io
import zipfile
from functools import cache

import numpy as np

from effdl.data.files import data_path
from effdl.nas.cell_space import Cell
from effdl.nas.table import CellTable, Floats

MISSING = 2**16 - 1  # stands for a training that was not done
LOSS_UNIT = 1e-4
SECONDS_UNIT = 0.01
VALIDATION_IMAGES, TEST_IMAGES = 1000, 2000

TRAININGS = "cellbench/trainings.npz"
COSTS = "cellbench/costs.csv"


@cache
def load_cellbench() -> CellTable:
    """Return the benchmark, one row for each of the 5,043 classes.

    Raises ``ValueError`` if a file is not what its sum in ``SHA256SUMS`` says.

    Costs are parameters, macs (of one image), peak_bytes (of activations, one image),
    latency_1 and latency_64 (seconds of one forward pass on one thread, median), their
    spreads latency_1_spread and latency_64_spread (between the quartiles), and seconds
    (of one training on one core).

    Raises:
        ValueError: If the two files are not of the same cells.

    Example:
        >>> table = load_cellbench()
        >>> len(table), table.lacks
        (5043, ())
    """
    trained = _read_trainings()
    cells = tuple(Cell.numbered(int(number)) for number in trained["cells"])
    with data_path(COSTS).open(encoding="utf-8", newline="") as file:
        rows = {row["cell"]: row for row in csv.DictReader(file)}
    if set(rows) != {str(cell) for cell in cells}:
        raise ValueError(f"{COSTS} and {TRAININGS} hold different cells")
    names = [name for name in next(iter(rows.values())) if name != "cell"]
    return CellTable(
        "the cell benchmark",
        cells,
        validation=trained["curves"][:, :, -1],
        test=trained["test"],
        curves=trained["curves"],
        losses=trained["losses"],
        costs={n: np.array([float(rows[str(c)][n]) for c in cells]) for n in names},
    )


def _read_trainings() -> dict[str, Floats]:
    """Return the arrays in units of their meaning, and the numbers of the cells.

    Raises:
        ValueError: If the file cannot be read.
    """
    path = data_path(TRAININGS)
    units = {
        "losses": LOSS_UNIT,
        "curves": 1 / VALIDATION_IMAGES,
        "test": 1 / TEST_IMAGES,
    }
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            whole = {name: file[name] for name in ("cells", *units)}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{TRAININGS} cannot be read ({error}); restore it from the repository"
        ) from None
    found: dict[str, Floats] = {"cells": whole["cells"].astype(float)}
    for name, unit in units.items():
        numbers = whole[name].astype(float)
        found[name] = np.where(numbers == MISSING, np.nan, numbers * unit)
    return found
