"""A surrogate benchmark: a model answers instead of a table, and its error is known.

Paper: Siems et al., "NAS-Bench-301 and the Case for Surrogate Benchmarks for Neural
Architecture Search", 2020, https://arxiv.org/abs/2008.09777, later Zela et al., ICLR
2022. Its model of choice, gradient-boosted trees, is used here.

A space of 10^18 architectures cannot be trained. So train some, fit a model to them,
and let searches ask the model:

    accuracy(cell) about f(cell)      f = sum of small regression trees, each fitted
                                      to what those before it leave over

A cell is given as 30 zeros and ones, which operation is on which edge, and 5 counts of
the operations. All cells that share a row of the table are given as its cell, so that
equal functions get equal answers.

NAS-Bench-301 can estimate its model's error only where somebody trained. On a table
that holds its whole space the error is known exactly, also for the cells that a search
visits. That is what this module is for. Two cautions:

* a mean error says little about the best cells, and a search goes where the model is
  too optimistic: look at ``regret``;
* a model that saw only what one search visited does not know the rest.

With ``depth=None`` and all rows the surrogate is the table again: a tree can separate
all cells, and after t trees (1 - learning_rate)^t of the error is left.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor

from effdl.nas.cell_space import Cell
from effdl.nas.ranking import spearman
from effdl.nas.table import CellTable, Floats

Rows = NDArray[np.int64]


class SurrogateError(NamedTuple):
    """How wrong a surrogate is on some rows, and what that costs a search.

    Attributes:
        mean_absolute: Mean of abs(prediction - accuracy).
        largest: The largest of them.
        rank_correlation: Spearman's, of predictions with accuracies.
        regret: Accuracy of the best row, less that of the row predicted best.
    """

    mean_absolute: float
    largest: float
    rank_correlation: float
    regret: float


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A model of a table's validation accuracies. Made by :func:`fit_surrogate`.

    Attributes:
        truth: The table.
        trained_on: Rows of the table that the model has seen.
        predictions: For every row of the table, (rows,).
    """

    truth: CellTable
    trained_on: Rows
    predictions: Floats

    def predict(self, cell: Cell) -> float:
        """Return the predicted validation accuracy of a cell.

        Raises ``ValueError`` if the cell is disconnected or not in the table.

        Args:
            cell: Any that has a row in the table.
        """
        return float(self.predictions[self.truth.row(cell)])

    def table(self) -> CellTable:
        """Return the surrogate as a table, for whatever searches tables.

        It has one seed, costs as the truth, and neither test accuracies nor curves.
        """
        return replace(
            self.truth,
            name=f"surrogate of {self.truth.name}",
            validation=self.predictions[:, None],
            test=None,
            curves=None,
            losses=None,
        )

    def unseen(self) -> Rows:
        """Return the rows that the model was not trained on."""
        return np.setdiff1d(np.arange(len(self.truth)), self.trained_on)

    def error(self, rows: Rows) -> SurrogateError:
        """Return how wrong the surrogate is on some rows.

        Args:
            rows: Such as ``unseen()``, or the rows that a search visited; 2 or more.

        Raises:
            ValueError: If there are fewer than two rows.
        """
        if len(rows) < 2:
            raise ValueError(f"rows must be 2 or more to compare, got {len(rows)}")
        truth = self.truth.mean("validation")[rows]
        predicted = self.predictions[rows]
        off = np.abs(predicted - truth)
        return SurrogateError(
            mean_absolute=float(off.mean()),
            largest=float(off.max()),
            rank_correlation=spearman(predicted, truth),
            regret=float(truth.max() - truth[predicted.argmax()]),
        )


def fit_surrogate(
    table: CellTable,
    rows: Rows,
    random: np.random.Generator,
    *,
    trees: int = 300,
    depth: int | None = 5,
    learning_rate: float = 0.1,
) -> Surrogate:
    """Return a surrogate that has seen some rows of a table.

    Args:
        table: The truth. Where it has several seeds, their mean is learnt.
        rows: Which rows to train on; none twice.
        random: Breaks ties between equally good splits; advanced by the call.
        trees: Number of trees.
        depth: Largest number of questions in one tree; None for as many as it takes.
        learning_rate: Share of the remaining error that a tree corrects.

    Raises:
        ValueError: If a row does not exist, is there twice, or there are none.

    Example:
        >>> from effdl.nas.cell_space import all_cells
        >>> cells = tuple(all_cells())[-100:]
        >>> counts = np.array([[cell.count("nor_conv_3x3")] for cell in cells]) / 10
        >>> table = CellTable("toy", cells, counts, None, None, None, {})
        >>> seen = np.arange(0, 100, 2)
        >>> surrogate = fit_surrogate(table, seen, np.random.default_rng(0))
        >>> surrogate.error(surrogate.unseen()).largest < 0.05
        True
    """
    if len(rows) == 0 or not 0 <= rows.min() <= rows.max() < len(table):
        raise ValueError(f"rows must be one or more of 0 to {len(table) - 1}")
    if len(np.unique(rows)) != len(rows):
        raise ValueError("rows must not hold a row twice; use np.unique(rows)")
    features = np.array([cell_features(cell) for cell in table.cells])
    model = GradientBoostingRegressor(
        n_estimators=trees,
        max_depth=depth,
        learning_rate=learning_rate,
        random_state=int(random.integers(2**31)),
    )
    model.fit(features[rows], table.mean("validation")[rows])
    return Surrogate(table, rows.copy(), model.predict(features))


def cell_features(cell: Cell) -> Floats:
    """Return which operation is on which edge, and how often each is used, (35,).

    Example:
        >>> cell_features(Cell(("none",) * 6))[-5:].tolist()
        [6.0, 0.0, 0.0, 0.0, 0.0]
    """
    chosen = cell.one_hot()  # (6 edges, 5 operations)
    return np.concatenate([chosen.ravel(), chosen.sum(axis=0)])
