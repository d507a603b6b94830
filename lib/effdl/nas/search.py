"""Architecture search in three parts: a space, a strategy, an evaluator.

Paper: Elsken et al., "Neural Architecture Search: A Survey", JMLR 2019,
https://arxiv.org/abs/1808.05377, section 1, which divides every method into these.

    space       cells that there are             all_cells(), sample_cell, mutate
    strategy    which cell next?                 ask() -> cell, tell(cell, score)
    evaluator   how good is it, at what cost?    evaluate(cell) -> score; .seconds

A search lets the strategy ask until the time is up:

    while there is time:  cell = ask();  score = evaluate(cell);  tell(cell, score)

Random search is the strategy that ignores what it is told. A :class:`SimulatedClock`
is an evaluator that looks a training up instead of doing it, and charges the seconds
that it would have taken; so a search that would take days runs in milliseconds.

Not simulated: the strategy's own thinking, and what a stopped training costs to store.
Where the table holds one number per cell and seed, asking twice gives the same number
twice, which real training does not.
"""

import math
from typing import NamedTuple, Protocol

import numpy as np

from effdl.checks import check_positive, check_seed
from effdl.nas.cell_space import Cell
from effdl.nas.table import CellTable, Floats


class Strategy(Protocol):
    """Decides on what to try next."""

    def ask(self) -> Cell | None:
        """Return the next cell to evaluate; None when there is nothing left."""

    def tell(self, cell: Cell, score: float, /) -> None:
        """Learn the score of a cell, the higher the better."""


class Evaluator(Protocol):
    """Scores cells, and adds up what that costs."""

    seconds: float

    def evaluate(
        self, cell: Cell, *, seed: int = 0, epochs: int | None = None
    ) -> float:
        """Return the score of a cell, the higher the better.

        Args:
            cell: What to score.
            seed: Of the training, where there is one.
            epochs: How far to train; None goes to the end.
        """


class Step(NamedTuple):
    """One evaluation of a search.

    Attributes:
        seconds: Since the search began, this evaluation included.
        cell: What was evaluated.
        score: What came out.
        best: The cell with the highest score so far, the earlier of two equal ones.
        best_score: Its score.
    """

    seconds: float
    cell: Cell
    score: float
    best: Cell
    best_score: float


class SimulatedClock:
    """The evaluator that looks accuracies up and charges what a training would take.

    A training stopped after some epochs costs that share of the whole. Going on with it
    later costs the rest, and asking again for what is known costs nothing.

    Args:
        table: Where to look up.
        seconds: Of one whole training, (rows,), for a table that does not hold them;
            ones count trainings. None takes the table's own.

    Raises:
        ValueError: If ``seconds`` has another shape. A table without costs, too, raises
            one if ``seconds`` is None.

    Attributes:
        seconds: Charged so far.
    """

    def __init__(self, table: CellTable, *, seconds: Floats | None = None) -> None:
        self.table = table
        self.prices = table.need("seconds") if seconds is None else seconds
        if self.prices.shape != (len(table.cells),):
            raise ValueError(
                f"seconds must be ({len(table.cells)},), one per row, "
                f"got shape {self.prices.shape}"
            )
        self.seconds = 0.0
        self.paid: dict[tuple[int, int], float] = {}  # share of each training, 0 to 1

    def evaluate(
        self, cell: Cell, *, seed: int = 0, epochs: int | None = None
    ) -> float:
        """Return the validation accuracy, 0 to 1, and charge for it.

        Any cell that computes the same as one in the table is answered, and the two are
        one training. Raises ``ValueError`` if the table does not know the cell, or
        lacks the curves that ``epochs`` asks for.

        Args:
            cell: What to look up.
            seed: Which of the trainings.
            epochs: After how many; None asks for the end.

        Raises:
            ValueError: If this seed was not trained, or not for so many epochs.
        """
        check_seed(seed)
        row, share = self.table.row(cell), 1.0
        answers = self.table.need("validation")
        if epochs is not None:
            curves = self.table.need("curves")  # (rows, seeds, epochs)
            if not 1 <= epochs <= curves.shape[2]:
                raise ValueError(
                    f"epochs must be in 1 to {curves.shape[2]}, got {epochs}"
                )
            answers, share = curves[:, :, epochs - 1], epochs / curves.shape[2]
        if seed >= answers.shape[1] or np.isnan(answers[row, seed]):
            raise ValueError(f"{cell} was not trained with seed {seed}; use seed 0")
        before = self.paid.get((row, seed), 0.0)
        self.paid[row, seed] = max(before, share)
        self.seconds += (self.paid[row, seed] - before) * float(self.prices[row])
        return float(answers[row, seed])


def run_search(
    strategy: Strategy,
    evaluator: Evaluator,
    seconds: float = math.inf,
    *,
    queries: int = 100_000,
    seed: int = 0,
) -> list[Step]:
    """Return all steps of a search, in their order.

    Args:
        strategy: Is asked and told.
        evaluator: Scores.
        seconds: Of the evaluator's time. An evaluation that would end later is not
            a step, because its answer comes too late.
        queries: Evaluations at most. A strategy that repeats itself pays nothing, and
            would go on for ever.
        seed: Of every training.

    Raises:
        ValueError: If ``seconds`` is not above 0, or a whole number is too small.

    Example:
        >>> from effdl.nas.random_search import RandomSearch
        >>> cells = [Cell.numbered(i) for i in range(500, 503)]
        >>> table = CellTable("toy", tuple(cells), np.array([[0.3], [0.9], [0.5]]),
        ...                   None, None, None, {"seconds": np.array([2.0, 3.0, 4.0])})
        >>> search = RandomSearch(cells, np.random.default_rng(0))
        >>> steps = run_search(search, SimulatedClock(table), 9.0)
        >>> steps[-1].seconds, steps[-1].best.index, steps[-1].best_score
        (9.0, 501, 0.9)
    """
    if not seconds > 0:  # nan is not either
        raise ValueError(f"seconds must be above 0, got {seconds}")
    check_positive(queries=queries)
    begin = evaluator.seconds
    steps: list[Step] = []
    while len(steps) < queries and (cell := strategy.ask()) is not None:
        score = evaluator.evaluate(cell, seed=seed)
        passed = evaluator.seconds - begin
        if passed > seconds:
            break
        strategy.tell(cell, score)
        known = not steps or score > steps[-1].best_score
        best, best_score = (cell, score) if known else steps[-1][3:]
        steps.append(Step(passed, cell, score, best, best_score))
    return steps
