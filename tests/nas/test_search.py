"""The loop, the clock, and what any strategy finds if it may ask for everything."""

import itertools
import math

import numpy as np
import pytest

from effdl.nas.cell_space import Cell
from effdl.nas.random_search import RandomSearch
from effdl.nas.search import SimulatedClock, Step, run_search
from effdl.nas.table import CellTable

CHAINS = [  # all different functions: a convolution, and another or a skip behind it
    Cell((first, "none", "none", "none", second, "none"))
    for first, second in itertools.product(
        ("nor_conv_1x1", "nor_conv_3x3"),
        ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    )
]


def toy_table(*, costs=None):
    """Eight cells, two seeds, four epochs; the last of the first seed is the best."""
    curves = np.linspace(0.1, 0.9, 8)[:, None, None] + [[[0.0], [0.01]]]
    curves = curves * [0.25, 0.5, 0.75, 1.0]  # (8, 2, 4)
    return CellTable(
        name="toy",
        cells=tuple(CHAINS),
        validation=curves[:, :, -1],
        test=None,
        curves=curves,
        losses=None,
        costs={"seconds": np.arange(8.0, 16.0)} if costs is None else costs,
    )


class InOrder:
    """Asks for given cells, one after the other, and keeps what it was told."""

    def __init__(self, cells):
        self.left, self.told = list(cells), []

    def ask(self):
        """Return the next of them."""
        return self.left.pop(0) if self.left else None

    def tell(self, cell, score):
        """Keep both."""
        self.told.append((cell, score))


def test_the_trace_is_the_loop_written_out():
    table, order = toy_table(), [2, 0, 5, 3, 5, 7]
    strategy = InOrder(CHAINS[i] for i in order)
    trace = run_search(strategy, SimulatedClock(table))

    seconds, best, paid = 0.0, None, set()
    for step, i in zip(trace, order, strict=True):
        if i not in paid:
            seconds += table.costs["seconds"][i]
            paid.add(i)
        score = table.validation[i, 0]
        if best is None or score > table.validation[best, 0]:
            best = i
        expected = Step(
            seconds, CHAINS[i], score, CHAINS[best], table.validation[best, 0]
        )
        assert step == expected
    assert strategy.told == [(step.cell, step.score) for step in trace]


def test_an_answer_that_comes_too_late_is_no_step_and_is_not_told():
    """8 + 9 + 10 = 27 seconds: at 26 the third training is still running."""
    for seconds, steps in ((26, 2), (27, 3), (27.5, 3), (7, 0)):
        strategy = InOrder(CHAINS)
        trace = run_search(strategy, SimulatedClock(toy_table()), seconds)
        assert len(trace) == len(strategy.told) == steps


def test_a_second_search_on_the_same_clock_begins_at_zero_and_knows_what_was_paid():
    clock = SimulatedClock(toy_table())
    run_search(InOrder(CHAINS[:2]), clock)
    again = run_search(InOrder(CHAINS[:3]), clock, 10)
    assert [step.seconds for step in again] == [0, 0, 10]
    assert clock.seconds == 27


def test_of_equal_scores_the_earlier_cell_stays_the_best():
    table = toy_table()
    table.validation[:, 0] = 0.5
    assert run_search(InOrder(CHAINS), SimulatedClock(table))[-1].best == CHAINS[0]


@pytest.mark.parametrize("search_seed", [0, 1, 2])
def test_with_all_queries_any_strategy_finds_the_best_of_the_table(search_seed):
    """Random search, and asking in order, end where sorting the table begins."""
    table = toy_table()
    best = CHAINS[int(table.validation[:, 0].argmax())]
    shuffled = RandomSearch(CHAINS, np.random.default_rng(search_seed))
    for strategy in (shuffled, InOrder(CHAINS), InOrder(CHAINS[::-1])):
        trace = run_search(strategy, SimulatedClock(table))
        assert len(trace) == len(CHAINS)
        assert trace[-1].best == best
        assert trace[-1].seconds == sum(table.costs["seconds"])


def test_a_strategy_that_repeats_itself_is_stopped():
    strategy = InOrder([CHAINS[0]] * 10)
    assert len(run_search(strategy, SimulatedClock(toy_table()), queries=4)) == 4
    assert len(strategy.left) == 6


def test_the_clock_charges_a_share_and_later_the_rest():
    """Row 4 takes 12 s for 4 epochs: 3 after one, 9 after three, 12 at the end."""
    clock, seconds = SimulatedClock(toy_table()), []
    for epochs in (1, 3, 2, None, 4, 1):
        clock.evaluate(CHAINS[4], epochs=epochs)
        seconds.append(clock.seconds)
    assert seconds == [3, 9, 9, 12, 12, 12]


def test_another_seed_is_another_training():
    table, clock = toy_table(), SimulatedClock(toy_table())
    first, second = (clock.evaluate(CHAINS[4], seed=s) for s in (0, 1))
    assert (first, second) == tuple(table.validation[4])
    assert clock.seconds == 24
    steps = run_search(InOrder(CHAINS[:1]), SimulatedClock(table), seed=1)
    assert steps[0].score == table.validation[0, 1]


def test_epochs_look_up_the_curve():
    table = toy_table()
    for epochs in (1, 2, 3, 4):
        score = SimulatedClock(table).evaluate(CHAINS[6], seed=1, epochs=epochs)
        assert score == table.curves[6, 1, epochs - 1]


def test_cells_that_compute_the_same_are_one_training(monkeypatch):
    """A dead edge out of node 2, which the input does not reach, changes nothing."""
    monkeypatch.setattr("effdl.nas.table.representative", lambda _: CHAINS[0])
    clock = SimulatedClock(toy_table())
    twin = Cell((*CHAINS[0].operations[:5], "nor_conv_3x3"))
    assert clock.evaluate(twin) == clock.evaluate(CHAINS[0])
    assert clock.seconds == 8


def test_a_table_without_seconds_is_charged_what_the_caller_says():
    table = toy_table(costs={})
    clock = SimulatedClock(table, seconds=np.ones(8))
    run_search(InOrder(CHAINS[:5]), clock)
    assert clock.seconds == 5
    with pytest.raises(ValueError, match="toy lacks 'seconds'"):
        SimulatedClock(table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 2}, "not trained with seed 2"),
        ({"seed": -1}, "seed must be 0 or larger, got -1"),
        ({"epochs": 0}, "epochs must be in 1 to 4, got 0"),
        ({"epochs": 5}, "epochs must be in 1 to 4, got 5"),
    ],
)
def test_a_question_without_an_answer_is_an_error(arguments, message):
    clock = SimulatedClock(toy_table())
    with pytest.raises(ValueError, match=message):
        clock.evaluate(CHAINS[0], **arguments)
    assert clock.seconds == 0


def test_a_seed_that_one_cell_lacks_is_an_error_for_that_cell_only():
    table = toy_table()
    table.validation[3, 1] = np.nan
    clock = SimulatedClock(table)
    assert clock.evaluate(CHAINS[2], seed=1) == table.validation[2, 1]
    with pytest.raises(ValueError, match="not trained with seed 1"):
        clock.evaluate(CHAINS[3], seed=1)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_there_must_be_time(seconds):
    with pytest.raises(ValueError, match="seconds must be above 0"):
        run_search(InOrder(CHAINS), SimulatedClock(toy_table()), seconds)


def test_other_bad_numbers_are_named():
    with pytest.raises(ValueError, match="queries must be at least 1, got 0"):
        run_search(InOrder(CHAINS), SimulatedClock(toy_table()), queries=0)
    with pytest.raises(ValueError, match=r"seconds must be \(8,\), one per row"):
        SimulatedClock(toy_table(), seconds=np.ones(7))
