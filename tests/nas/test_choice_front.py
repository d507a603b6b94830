"""The front of a free choice against brute force, on drawn tables and a real one."""

import itertools
import math

import numpy as np
import pytest

from effdl.nas.choice_front import (
    FrontPoint,
    best_within,
    choice_front,
    uniform_points,
)
from effdl.nas.hardware.pixel1_table import load_pixel1
from public_data import skip_unless_pixel1


def brute_force(costs, values):
    """Return cost and value of the best, found among all, cheapest first."""
    sums = sorted(
        (
            sum(row[k] for row, k in zip(costs, choices, strict=True)),
            -sum(row[k] for row, k in zip(values, choices, strict=True)),
        )
        for choices in itertools.product(*(range(len(row)) for row in costs))
    )
    front = []
    for cost, negative in sums:
        if not front or -negative > front[-1][1]:
            front.append((cost, -negative))
    return front


def drawn(seed, layers=5, candidates=4):
    """Return a table with whole values, which sums leave exact."""
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 12, (layers, candidates)).tolist(),
        random.integers(-5, 9, (layers, candidates)).tolist(),
    )


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_front_of_all(seed):
    costs, values = drawn(seed)
    front = choice_front(costs, values)
    assert [(p.cost, p.value) for p in front] == brute_force(costs, values)


def test_layers_may_have_different_numbers_of_candidates():
    costs, values = [[1, 4], [2], [0, 3, 5]], [[0, 2], [7], [0, 4, 5]]
    front = choice_front(costs, values)
    assert [(p.cost, p.value) for p in front] == brute_force(costs, values)


def test_front_by_hand():
    """Costs 2, 4, 6 with values 0, 5, 6; (1, 0) costs 4 too, and is worth only 1."""
    assert choice_front([[1, 3], [1, 3]], [[0, 1], [0, 5]]) == [
        FrontPoint(2, 0.0, (0, 0)),
        FrontPoint(4, 5.0, (0, 1)),
        FrontPoint(6, 6.0, (1, 1)),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_choices_have_the_sums_that_are_claimed(seed):
    costs, values = drawn(seed, layers=7)
    for cost, value, choices in choice_front(costs, values):
        rows = list(zip(costs, values, choices, strict=True))
        assert sum(row[k] for row, _, k in rows) == cost
        assert sum(row[k] for _, row, k in rows) == value


@pytest.mark.parametrize("seed", range(6))
def test_no_uniform_choice_is_above_the_front(seed):
    costs, values = drawn(seed, layers=6)
    front = choice_front(costs, values)
    for point in uniform_points(costs, values):
        assert best_within(front, point.cost).value >= point.value


def test_if_one_operation_is_best_everywhere_nothing_is_gained():
    """A layer is a layer: all rows equal, and value grows in proportion to cost."""
    costs, values = [[1, 2, 3]] * 4, [[1, 2, 3]] * 4
    front = choice_front(costs, values)
    for point in uniform_points(costs, values):
        assert best_within(front, point.cost).value == point.value


def test_the_front_rises_strictly():
    costs, values = drawn(11, layers=8)
    front = choice_front(costs, values)
    for cheap, dear in itertools.pairwise(front):
        assert cheap.cost < dear.cost
        assert cheap.value < dear.value


def test_an_order_of_layers_does_not_matter():
    costs, values = drawn(5)
    forward = choice_front(costs, values)
    back = choice_front(costs[::-1], values[::-1])
    assert [p[:2] for p in forward] == [p[:2] for p in back]


def test_uniform_points_by_hand():
    points = uniform_points([[1, 3], [2, 5], [0, 1]], [[1, 2], [3, 4], [5, 6]])
    assert points == [FrontPoint(3, 9.0, (0, 0, 0)), FrontPoint(9, 12.0, (1, 1, 1))]


def test_best_within_takes_the_best_that_is_affordable():
    points = [
        FrontPoint(5, 2.0, (0,)),
        FrontPoint(3, 4.0, (1,)),
        FrontPoint(9, 9.0, ()),
    ]
    assert best_within(points, 5).choices == (1,)
    assert best_within(points, 9).value == 9
    assert best_within(points, 8.9).value == 4


def test_on_the_pixel_table_the_first_six_layers_are_exact():
    """4^6 architectures of 22 layers of a Pixel 1, in ticks of 10 microseconds."""
    costs, values = _pixel()
    front = choice_front(costs[:6], values[:6])
    expected = brute_force(costs[:6], values[:6])
    assert [p.cost for p in front] == [cost for cost, _ in expected]
    assert [p.value for p in front] == pytest.approx([value for _, value in expected])


def test_on_the_pixel_table_free_choice_weakly_dominates():
    """Of four uniform networks one is beaten by another, the rest hardly improved."""
    costs, values = _pixel()
    front, uniform = choice_front(costs, values), uniform_points(costs, values)
    savings = []
    for point in uniform:
        assert best_within(front, point.cost).value >= point.value - 1e-9
        enough = [p.cost for p in front if p.value >= point.value - 1e-9]
        savings.append(round(1 - min(enough) / point.cost, 3))
    assert savings == [0.002, 0.416, 0.014, 0.0]
    assert len(front) == 84


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: choice_front([], []),
            r"same candidates in each of one or more layers",
        ),
        (lambda: choice_front([[1]], [[1, 2]]), r"got \[1\] and \[2\]"),
        (lambda: choice_front([[1], []], [[1], []]), r"got \[1, 0\] and \[1, 0\]"),
        (
            lambda: choice_front([[1.5]], [[1]]),
            "must be whole and not negative, got 1.5",
        ),
        (lambda: choice_front([[-1]], [[1]]), "must be whole and not negative, got -1"),
        (
            lambda: uniform_points([[1], [1, 2]], [[1], [1, 2]]),
            r"layers must have equally many candidates, got \{1, 2\}",
        ),
        (
            lambda: best_within([FrontPoint(3, 1.0, ())], 2),
            "cost must be at least that of a point, 3, got 2",
        ),
        (lambda: best_within([], 2), "at least that of a point, None, got 2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _pixel():
    """Return ticks of 10 us, and bits of taps times expansion, of 22 layers of 4."""
    skip_unless_pixel1()
    costs = (1e5 * load_pixel1().extra.double()).round().long().tolist()
    worth = [math.log2(k**2 * t) for k in (3, 5) for t in (3, 6)]
    return costs, [worth] * len(costs)
