"""Descent-ascent around a saddle point, and bisection over a multiplier."""

import itertools
import math

import numpy as np
import pytest

from effdl.nas.hardware.additive_toy import best_for_multiplier, seeded_toy, switches
from effdl.nas.hardware.lagrangian import bisect_multiplier, descent_ascent
from effdl.nas.hardware.pixel1_table import load_pixel1
from public_data import skip_unless_pixel1


def distances(points):
    return [math.hypot(x - 1, multiplier) for x, multiplier in points]


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("rho", [0.0, 3.0])
def test_a_step_is_the_matrix_of_the_two_updates(in_turn, rho):
    """With y = x - 1: y' = (1 - r rho) y - r l, and l' = l + r y or l + r y'."""
    r = 0.3
    move = np.array([[1 - r * rho, -r], [r, 1.0]])
    if in_turn:
        move[1] = np.array([0, 1.0]) + r * move[0]
    found = descent_ascent((1.4, 0.2), rate=r, steps=5, rho=rho, in_turn=in_turn)
    state = np.array([0.4, 0.2])
    for x, multiplier in found:
        np.testing.assert_allclose([x - 1, multiplier], state, atol=1e-12)
        state = move @ state


@pytest.mark.parametrize("rate", [0.01, 0.1, 1.0])
def test_at_once_the_radius_grows_by_the_same_factor_in_every_step(rate):
    away = distances(descent_ascent((1.3, -0.2), rate=rate, steps=50))
    factors = [later / now for now, later in itertools.pairwise(away)]
    assert factors == pytest.approx([math.sqrt(1 + rate**2)] * 50)


def test_in_turn_it_circles_for_ever_on_an_ellipse():
    """y^2 + l^2 - r y l is the same after every step."""
    r = 0.1
    points = descent_ascent((1.5, 0.0), rate=r, steps=5000, in_turn=True)
    kept = [(x - 1) ** 2 + m**2 - r * (x - 1) * m for x, m in points]
    assert np.ptp(kept) == pytest.approx(0, abs=1e-9)
    away = distances(points)
    assert min(away[-100:]) > 0.45
    assert max(away) < 0.56


@pytest.mark.parametrize("in_turn", [False, True])
def test_damping_converges_where_the_step_is_as_small_as_is_said(in_turn):
    """By the eigenvalues of the matrix that one step multiplies with."""
    for r, rho in itertools.product((0.1, 0.6, 1.1, 1.7), (0.05, 0.7, 1.4, 2.3)):
        step = np.array([[1 - r * rho, -r], [r, 1.0]])
        if in_turn:
            step[1] = [r * (1 - r * rho), 1 - r**2]
        inwards = np.abs(np.linalg.eigvals(step)).max() < 1
        said = r * (2 * rho + r) < 4 if in_turn else r < rho and r * (2 * rho - r) < 4
        assert inwards == said
        points = descent_ascent((1.1, 0), rate=r, steps=200, rho=rho, in_turn=in_turn)
        away = distances(points)
        assert (away[-1] < away[0]) == said


@pytest.mark.parametrize("in_turn", [False, True])
def test_the_damping_term_makes_it_converge(in_turn):
    points = descent_ascent((3.0, -1.0), rate=0.1, steps=500, rho=2.0, in_turn=in_turn)
    assert distances(points)[-1] < 1e-6
    assert points[-1][0] == pytest.approx(1.0)


def test_too_little_damping_is_not_enough_at_once():
    """The determinant is 1 - r rho + r^2: above 1 for rho < r."""
    away = distances(descent_ascent((1.1, 0.0), rate=0.5, steps=100, rho=0.4))
    assert away[-1] > away[0]


def test_bisection_takes_a_run_for_each_halving():
    """Cost 64 - lambda, within 1/64 of 1: from 0..64 to 63 takes six halvings."""
    found = bisect_multiplier(lambda m: 64 - m, 1.0, highest=64.0, within=1e-9)
    assert (found.runs, found.multiplier, found.hit) == (6, 63.0, True)


def test_bisection_asks_only_for_the_middles():
    asked = []

    def cost_at(multiplier):
        asked.append(multiplier)
        return 10 - multiplier

    found = bisect_multiplier(cost_at, 7.0, highest=8.0, within=0.01)
    assert asked == [4.0, 2.0, 3.0]
    assert found.ratio == pytest.approx(1.0)


def test_no_number_of_runs_hits_a_target_inside_a_jump():
    step = lambda m: 9.0 if m < math.pi else 3.0  # noqa: E731
    for runs in (5, 20):
        found = bisect_multiplier(step, 6.0, highest=8.0, runs=runs)
        assert (found.runs, found.hit) == (runs, False)
    assert found.multiplier == pytest.approx(math.pi, abs=1e-4)  # it finds the jump
    assert bisect_multiplier(step, 9.1, highest=8.0).hit  # and 1 % off is near enough
    assert not bisect_multiplier(step, 9.1, highest=8.0, within=0.005, runs=9).hit


def test_on_the_pixel_table_some_targets_are_in_no_reach_of_any_multiplier():
    """Made-up utilities, 22 targets: within 2 % all are found, within 0.5 % not."""
    skip_unless_pixel1()
    table = load_pixel1()
    toy = seeded_toy(table, 0)
    highest = 2 * switches(toy)[-1]

    def cost_at(multiplier):
        return table.of(best_for_multiplier(toy, multiplier))

    for within, hits in ((0.02, 22), (0.005, 12)):
        found = [
            bisect_multiplier(cost_at, ms / 1e3, highest=highest, within=within)
            for ms in range(58, 122, 3)
        ]
        assert sum(one.hit for one in found) == hits
        assert max(one.runs for one in found if one.hit) <= 15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: descent_ascent((0, 0), rate=0.0, steps=1), "above 0, got 0.0"),
        (lambda: descent_ascent((0, 0), rate=0.1, steps=0), "steps must be at least 1"),
        (
            lambda: bisect_multiplier(float, 0.0, highest=1.0),
            "target and highest must be above 0, got 0.0 and 1.0",
        ),
        (
            lambda: bisect_multiplier(float, 1.0, highest=-1.0),
            "must be above 0, got 1.0 and -1.0",
        ),
        (
            lambda: bisect_multiplier(float, 1.0, highest=1.0, runs=0),
            "runs must be at least 1",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
