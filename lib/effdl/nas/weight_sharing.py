"""RandomNAS: train all cells as one network, then draw cells and score them.

Paper: Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture
Search", UAI 2019, https://arxiv.org/abs/1902.07638, where it is called random search
with weight sharing.

Training draws a cell for every step and changes the weights on its path only:

    w_o <- w_o - rate * dL/dw_o       for the operations o of the cell drawn

Then any cell is scored by the accuracy that it has with the shared weights, without any
training of its own, and only the best of many is trained.

A weight is on the path of a fifth of the cells, so it is trained in a fifth of the
steps, and what it learns is a compromise. Do not read a score as an accuracy: at best
its order means something, and that is to be measured.

What differs: the cells to draw from are given, so that disconnected ones can be left
out, and the schedule is that of this book. The paper's space is that of DARTS.
"""

import time
from collections.abc import Sequence

import numpy as np
from torch import nn

from effdl.data.digits import Split
from effdl.nas.cell_space import Cell
from effdl.nas.shared_cell import choose_path_
from effdl.train import accuracy, train_classifier


def train_shared(
    supernet: nn.Module,
    split: Split,
    cells: Sequence[Cell],
    random: np.random.Generator,
    *,
    epochs: int = 50,
    learning_rate: float = 0.3,
    seed: int = 0,
) -> list[float]:
    """Return the mean loss of every epoch of training a supernet in place.

    Every step trains a cell drawn at random. All else is as in
    :func:`~effdl.train.train_classifier`. A weight off the path has no gradient, and
    neither decay nor momentum touches it in this step.

    Args:
        supernet: Such as :func:`~effdl.nas.shared_cell.small_supernet`. Its path is
            another one afterwards.
        split: What to train on.
        cells: To draw from, uniformly.
        random: Draws the cells.
        epochs: Passes over the split.
        learning_rate: The highest rate of the schedule.
        seed: Decides on the order of the inputs.

    Raises:
        ValueError: If there are no cells, or a number is out of range.

    Example:
        >>> from effdl.data.digits import small_digits
        >>> from effdl.nas.shared_cell import SKIPS, small_supernet
        >>> random = np.random.default_rng(0)
        >>> digits = small_digits(n_train=200)
        >>> net = small_supernet()
        >>> len(train_shared(net, digits.train, [SKIPS], random, epochs=2))
        2
    """
    if not cells:
        raise ValueError("cells is empty; give at least one to train")

    def next_path() -> None:
        choose_path_(supernet, cells[int(random.integers(len(cells)))])

    next_path()
    return train_classifier(
        supernet,
        split,
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        after_step=next_path,
    )


class SharedWeights:
    """The evaluator that scores a cell with the weights that it shares.

    Args:
        supernet: Trained. Its path is another one after every evaluation.
        split: What to score on: the validation part.

    Attributes:
        seconds: Processor time of all evaluations, without the training.
    """

    def __init__(self, supernet: nn.Module, split: Split) -> None:
        self.supernet, self.split = supernet, split
        self.seconds = 0.0

    def evaluate(
        self, cell: Cell, *, seed: int = 0, epochs: int | None = None
    ) -> float:
        """Return the accuracy, 0 to 1, of the cell's path.

        Raises:
            ValueError: If a seed or epochs are asked for: no cell is trained here.
        """
        if seed or epochs is not None:
            raise ValueError(
                f"shared weights have no seed {seed} and no epochs {epochs}: a cell is "
                "not trained here; leave both out"
            )
        start = time.process_time()
        choose_path_(self.supernet, cell)
        score = accuracy(self.supernet, self.split.batches(500))
        self.seconds += time.process_time() - start
        return score
