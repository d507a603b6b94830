"""Successive halving: rounds by hand, costs in closed form, and when it goes wrong."""

import itertools

import numpy as np
import pytest

from effdl.nas.cell_space import Cell
from effdl.nas.search import SimulatedClock
from effdl.nas.successive_halving import (
    halving_epochs,
    halving_rounds,
    successive_halving,
)
from effdl.nas.table import CellTable

CELLS = [
    Cell((first, "none", "none", third, second, "none"))
    for first, second, third in itertools.product(
        ("nor_conv_1x1", "nor_conv_3x3"),
        ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
        ("nor_conv_1x1", "nor_conv_3x3"),
    )
]


def table_of(curves, seconds=None):
    """Return a table of (rows, seeds, epochs) curves; ten seconds a training."""
    rows = len(curves)
    return CellTable(
        name="toy",
        cells=tuple(CELLS[:rows]),
        validation=curves[:, :, -1],
        test=None,
        curves=curves,
        losses=None,
        costs={"seconds": np.full(rows, 10.0) if seconds is None else seconds},
    )


def monotone(rows, epochs=10, seeds=1):
    """Return curves that never cross: who leads early leads at the end."""
    ends = np.random.default_rng(0).permutation(rows) / rows
    return np.repeat(ends[:, None, None] * np.linspace(0.1, 1, epochs), seeds, axis=1)


def test_rounds_are_the_algorithm_written_out():
    """Each round sorts what is left by the curve and keeps the better half."""
    curves = np.random.default_rng(1).random((16, 1, 8))
    done = successive_halving(CELLS, SimulatedClock(table_of(curves)), epochs=8)

    left = list(range(16))
    for found, epochs in zip(done, (1, 2, 4, 8), strict=True):
        left.sort(key=lambda row: curves[row, 0, epochs - 1], reverse=True)
        assert found.epochs == epochs
        assert found.cells == tuple(CELLS[row] for row in left)
        assert found.scores == tuple(curves[row, 0, epochs - 1] for row in left)
        left = left[: len(left) // 2]


def test_rounds_by_hand():
    """With 10 epochs and four rounds: 10 / 8 = 1, 10 / 4 = 2, 10 / 2 = 5, 10."""
    assert halving_rounds(16, epochs=10) == [(16, 1), (8, 2), (4, 5), (2, 10)]
    assert halving_rounds(27, epochs=9, factor=3) == [(27, 1), (9, 3), (3, 9)]
    assert halving_rounds(7, epochs=100) == [(7, 25), (3, 50), (1, 100)]
    assert halving_rounds(16, epochs=10, rounds=2) == [(16, 5), (8, 10)]
    assert halving_rounds(5, epochs=3, rounds=1) == [(5, 3)]
    assert halving_rounds(1, epochs=10) == [(1, 10)]


def test_the_numbers_of_the_hyperband_paper():
    """Its largest bracket for R = 81 and eta = 3 begins with 81 configurations."""
    assert halving_rounds(81, epochs=81, factor=3) == [
        *((81, 1), (27, 3), (9, 9), (3, 27), (1, 81))
    ]


@pytest.mark.parametrize(("power", "factor"), [(1, 2), (3, 2), (2, 3)])
def test_cost_of_powers_in_closed_form(power, factor):
    """With n = R = eta^s every round after the first costs n (1 - 1 / eta) epochs."""
    n = factor**power
    rounds = halving_rounds(n, epochs=n, factor=factor)
    assert halving_epochs(rounds) == n + power * (n - n // factor)
    assert [count for count, _ in rounds] == [n // factor**i for i in range(power + 1)]


@pytest.mark.parametrize("factor", [2, 3])
def test_the_clock_is_charged_for_the_epochs_of_all_rounds(factor):
    clock = SimulatedClock(table_of(monotone(16)))
    successive_halving(CELLS, clock, epochs=10, factor=factor)
    epochs = halving_epochs(halving_rounds(16, epochs=10, factor=factor))
    assert clock.seconds == pytest.approx(epochs)  # ten epochs take ten seconds
    assert epochs < 16 * 10 / 2


def test_slow_cells_cost_what_they_cost():
    """Two cells, two rounds: 1 of 2 epochs for both, then the other for the winner."""
    curves = np.array([[[0.2, 0.8]], [[0.3, 0.4]]])
    clock = SimulatedClock(table_of(curves, seconds=np.array([100.0, 8.0])))
    done = successive_halving(CELLS[:2], clock, epochs=2)
    assert clock.seconds == 50 + 4 + 4
    assert done[-1].cells == (CELLS[1],)


def test_finds_the_best_if_curves_never_cross():
    for rows in (1, 5, 16):
        curves = monotone(rows)
        clock = SimulatedClock(table_of(curves))
        done = successive_halving(CELLS[:rows], clock, epochs=10)
        assert done[-1].cells[0] == CELLS[int(curves[:, 0, -1].argmax())]


def test_loses_a_cell_that_learns_late():
    curves = monotone(8)
    curves[0] = np.linspace(
        0.0, 2.0, 10
    )  # the last after one epoch, the best at the end
    done = successive_halving(CELLS[:8], SimulatedClock(table_of(curves)), epochs=10)
    assert done[-1].cells[0] != CELLS[0]


def test_of_equal_scores_the_earlier_cell_goes_on():
    curves = np.full((8, 1, 4), 0.5)
    done = successive_halving(CELLS[:8], SimulatedClock(table_of(curves)), epochs=4)
    assert [r.cells for r in done] == [tuple(CELLS[:n]) for n in (8, 4, 2)]


def test_every_training_uses_the_seed():
    curves = monotone(4, seeds=2)
    curves[:, 1] = curves[::-1, 1]
    clock = SimulatedClock(table_of(curves))
    done = successive_halving(CELLS[:4], clock, epochs=10, seed=1)
    assert done[-1].cells[0] == CELLS[int(curves[:, 1, -1].argmax())]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": 0}, "cells must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"factor": 1}, "factor must be at least 2, got 1; 2 halves"),
        ({"rounds": 0}, "rounds must be in 1 to 3 for 8 cells and 4 epochs, got 0"),
        ({"rounds": 4}, "rounds must be in 1 to 3 for 8 cells and 4 epochs, got 4"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        halving_rounds(**{"cells": 8, "epochs": 4} | arguments)


def test_a_cell_that_is_there_twice_is_refused():
    clock = SimulatedClock(table_of(monotone(4)))
    with pytest.raises(ValueError, match="cells must differ"):
        successive_halving([CELLS[0], CELLS[0]], clock, epochs=10)
