"""Pairs by enumeration: the table, its best teachers, interaction and agreement."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from effdl.compress.pairs import (
    best_teachers,
    every_pair,
    interaction,
    own_against_one,
    pair_agreement,
)

RANDOM = np.random.default_rng(0)


def test_every_pair_is_measured_once_with_the_teacher_first():
    asked = []

    def measure(teacher, student):
        asked.append((teacher, student))
        return len(asked)

    table = every_pair(["A", "B"], ["x", "y", "z"], measure)
    assert asked == [(t, s) for t in "AB" for s in "xyz"]
    assert table.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_the_best_teacher_is_the_largest_of_a_column():
    table = RANDOM.random((4, 6))
    expected = [max(range(4), key=lambda t: table[t, s]) for s in range(6)]
    assert best_teachers(table).tolist() == expected


def test_own_against_one_by_hand():
    """Best by column: 1 and 0; on average: 0. Reported: .6 and .9 against .5 and .9."""
    chosen_by = [[0.7, 0.9], [0.8, 0.6]]
    reported = [[0.5, 0.9], [0.6, 0.7]]
    assert own_against_one(chosen_by, reported) == pytest.approx(0.05)
    assert own_against_one(chosen_by, [[0.9, 0.9], [0.6, 0.7]]) == pytest.approx(-0.15)
    lopsided = [[0.7, 0.9], [0.8, 0.85]]  # the one for all is 1, which is best once
    assert own_against_one(lopsided, reported) == pytest.approx(0.1)


def test_where_one_teacher_is_best_for_all_nothing_is_gained():
    table = [[0.9, 0.8], [0.7, 0.6]]
    assert best_teachers(table).tolist() == [0, 0]
    assert own_against_one(table, RANDOM.random((2, 2))) == 0


def interaction_by_hand(y):
    """Return the root mean square and F of T x S against T x S x seed, with loops."""
    teachers, students, seeds = y.shape

    def residual(table, t, s):
        return table[t, s] - table[t].mean() - table[:, s].mean() + table.mean()

    cells = [(t, s) for t in range(teachers) for s in range(students)]
    common = {c: residual(y.mean(2), *c) for c in cells}
    signal = seeds * sum(v**2 for v in common.values())
    noise = sum(
        (residual(y[..., k], *c) - common[c]) ** 2 for c in cells for k in range(seeds)
    )
    free = (teachers - 1) * (students - 1)
    f = (signal / free) / (noise / (free * (seeds - 1)))
    p = 1 - stats.f.cdf(f, free, free * (seeds - 1))
    return math.sqrt(sum(v**2 for v in common.values()) / len(cells)), p


def test_the_interaction_is_what_levels_do_not_explain():
    y = RANDOM.random((3, 4, 5))
    points, p = interaction_by_hand(y)
    assert interaction(y).points == pytest.approx(points)
    assert interaction(y).p == pytest.approx(p)


def test_levels_of_teachers_students_and_seeds_are_no_interaction():
    y = RANDOM.normal(size=(4, 3, 5))
    shifted = y + RANDOM.random((4, 1, 5)) + RANDOM.random((1, 3, 5))
    assert interaction(shifted).points == pytest.approx(interaction(y).points)
    assert interaction(shifted).p == pytest.approx(interaction(y).p)


def test_noise_is_called_so_about_as_often_as_p_says():
    found = [interaction(RANDOM.normal(size=(4, 4, 3))).p for _ in range(400)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09


def test_a_real_interaction_is_found_even_where_no_best_teacher_differs():
    y = 0.01 * RANDOM.normal(size=(2, 2, 4))
    y += np.array([[1.0, 2.0], [0.0, 0.5]])[..., None]
    assert interaction(y).p < 1e-3
    assert best_teachers(y.mean(axis=2)).tolist() == [0, 0]


def tau_by_hand(scores, values):
    pairs = list(combinations(zip(scores, values, strict=True), 2))
    return np.mean([np.sign((a[0] - b[0]) * (a[1] - b[1])) for a, b in pairs])


def test_the_agreement_is_kendalls_over_cells_columns_and_rows():
    scores, values = RANDOM.random((4, 3)), RANDOM.random((4, 3))
    found = pair_agreement(scores, values)
    assert found.cells == pytest.approx(tau_by_hand(scores.ravel(), values.ravel()))
    columns = [tau_by_hand(scores[:, s], values[:, s]) for s in range(3)]
    rows = [tau_by_hand(scores[t], values[t]) for t in range(4)]
    assert found.teachers == pytest.approx(np.mean(columns))
    assert found.students == pytest.approx(np.mean(rows))


def test_a_proxy_that_knows_students_only_looks_good_over_all_cells():
    values = np.arange(4) + 0.1 * RANDOM.random((4, 4))
    found = pair_agreement(np.tile(np.arange(4), (4, 1)), values)
    assert found.cells > 0.8
    assert found.students == pytest.approx(1)
    assert math.isnan(found.teachers)


def test_columns_without_an_order_are_left_out_of_the_mean():
    scores = [[1, 5], [2, 5], [3, 5]]
    assert pair_agreement(scores, [[1, 1], [2, 2], [3, 3]]).teachers == 1


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one of each"):
        every_pair([], ["x"], lambda *_: 0.0)
    with pytest.raises(ValueError, match="at least one of each"):
        every_pair(["A"], [], lambda *_: 0.0)
    for table in ([0.5], [[]], [[float("nan"), 1.0]]):
        with pytest.raises(ValueError, match=r"must be \(teachers, students\) without"):
            best_teachers(table)
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2\) and \(2, 1\)"):
        own_against_one([[1, 2]], [[1], [2]])
    with pytest.raises(ValueError, match=r"two of each or more, got \(2, 2, 1\)"):
        interaction(np.ones((2, 2, 1)))
    with pytest.raises(ValueError, match="students, seeds"):
        interaction(np.ones((2, 2)))


def test_without_noise_equal_pairs_have_no_interaction_and_others_a_sure_one():
    levels = np.arange(3.0)[:, None, None] + np.zeros((3, 4, 2))
    assert interaction(np.ones((2, 2, 2))).p == 1
    assert interaction(levels + np.arange(4.0)[:, None] / 3).p == pytest.approx(1)
    assert interaction(levels + np.eye(3, 4)[:, :, None]).p < 1e-6
