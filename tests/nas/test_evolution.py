"""Aging evolution: who is drawn, who has a child, who dies."""

import numpy as np
import pytest

from effdl.nas.cell_space import mutate as mutate_cell
from effdl.nas.cell_space import sample_cell
from effdl.nas.evolution import AgingEvolution
from effdl.nas.search import run_search


def search(seed=0, *, population=4, tournament=2):
    random = np.random.default_rng(seed)
    return AgingEvolution(
        lambda: random.integers(100),
        lambda parent: ("child of", parent),
        random,
        population=population,
        tournament=tournament,
    )


def test_at_first_all_are_drawn_then_all_are_children():
    evolution = search()
    for number in range(4):
        assert not isinstance(evolution.ask(), tuple)
        evolution.tell(number, float(number))
    assert evolution.ask()[0] == "child of"


def test_the_oldest_dies_though_it_is_the_best():
    evolution = search()
    for number, score in enumerate([9.0, 1.0, 2.0, 3.0, 0.0]):
        evolution.tell(number, score)
    assert list(evolution.alive) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 0.0)]


def test_parents_win_as_often_as_the_ranks_say():
    """The best of 2 drawn with repetition from 4: rank r of 4 with (2 r - 1) / 16."""
    evolution = search()
    for number in range(4):
        evolution.tell(number, float(number))
    parents = [evolution.ask()[1] for _ in range(8000)]
    shares = np.bincount(parents, minlength=4) / 8000
    np.testing.assert_allclose(shares, [1 / 16, 3 / 16, 5 / 16, 7 / 16], atol=0.02)


def test_a_tournament_of_one_draws_the_parent_evenly():
    evolution = search(tournament=1)
    for number in range(4):
        evolution.tell(number, float(number))
    parents = [evolution.ask()[1] for _ in range(8000)]
    np.testing.assert_allclose(np.bincount(parents) / 8000, [0.25] * 4, atol=0.02)


def test_the_same_seed_asks_the_same():
    asked = []
    for _ in range(2):
        evolution = search(3)
        for _ in range(10):
            evolution.tell(evolution.ask(), 1.0)
        asked.append(list(evolution.alive))
    assert asked[0] == asked[1]


class Counting:
    """Scores a cell by how many of its edges are 3 x 3 convolutions."""

    seconds = 0.0

    def evaluate(self, cell, *, seed=0, epochs=None):
        """Return the score, at a price of 1."""
        self.seconds += 1
        return cell.operations.count("nor_conv_3x3")


def test_in_the_space_of_cells_it_improves_on_its_own_first_draws():
    random = np.random.default_rng(0)
    evolution = AgingEvolution(
        lambda: sample_cell(random), lambda cell: mutate_cell(cell, random), random
    )
    steps = run_search(evolution, Counting(), queries=300)
    scores = [step.score for step in steps]
    assert np.mean(scores[-16:]) > np.mean(scores[:16]) + 1
    assert steps[-1].best_score == 6


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="population must be at least 1, got 0"):
        search(population=0)
    with pytest.raises(ValueError, match="tournament must be at least 1, got 0"):
        search(tournament=0)
