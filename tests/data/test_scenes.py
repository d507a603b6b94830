"""Scenes against a pixel-by-pixel reading of the formula, and at their limits."""

import itertools
import math

import numpy as np
import pytest

from effdl.data.scenes import FRAGMENT_SIZE, Motion, Random, Scene, _cut, draw, warp

STILL = Motion(rotation=0.0, scale=(1.0, 1.0), shift=0.0)


def picture(height: int = 8, width: int = 8) -> np.ndarray:
    return Random(0).uniform(0.1, 1.0, (1, height, width)).astype(np.float32)


def literal(source, angle, scale, shear, centre, size):
    """The module's formula for one picture, with plain loops and no arrays."""
    height, width = source.shape
    cosine, sine = math.cos(angle), math.sin(angle)
    canvas = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            x, y = column - centre[0], row - centre[1]
            v = (cosine * y - sine * x) / scale
            u = (cosine * x + sine * y) / scale + shear * v
            at_row, at_column = v + (height - 1) / 2, u + (width - 1) / 2
            for r, c in itertools.product(range(height), range(width)):
                near_row = max(0.0, 1 - abs(at_row - r))
                near_column = max(0.0, 1 - abs(at_column - c))
                canvas[row, column] += near_row * near_column * source[r, c]
    return canvas


def test_warp_is_the_formula_pixel_by_pixel():
    """The draws are repeated here in the order angle, scale, shear."""
    motion = Motion(rotation=40.0, scale=(0.8, 1.7), shift=0.0, shear=0.3)
    source, centre = picture(6, 8), np.array([[6.3], [4.9]])
    random = Random(7)
    angle = math.radians(random.uniform(-40, 40))
    scale, shear = random.uniform(0.8, 1.7), random.uniform(-0.3, 0.3)
    expected = literal(source[0], angle, scale, shear, (6.3, 4.9), 12)
    actual = warp(source, motion, centre, 12, Random(7))[0]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert expected.max() > 0.5


def test_without_motion_a_picture_is_copied_to_its_place():
    canvas = warp(picture(), STILL, np.array([[3.5], [7.5]]), 12, Random(0))[0]
    np.testing.assert_allclose(canvas[4:, :8], picture()[0], atol=1e-6)
    assert not canvas[:4].any()
    assert not canvas[:, 8:].any()


def test_a_quarter_turn_by_hand():
    """At 90 degrees (x, y) shows u = y, v = -x: the top row becomes a column."""
    dots = np.array([[[1.0, 2.0, 3.0], [0, 0, 0], [0, 0, 0]]], dtype=np.float32)
    turn = Motion(rotation=90.0, scale=(1.0, 1.0), shift=0.0)

    class Largest:
        def uniform(self, low, high, size):
            return np.full(size, high)

    canvas = warp(dots, turn, np.array([[1.0], [1.0]]), 3, Largest())[0]
    np.testing.assert_allclose(canvas[:, 2], [1.0, 2.0, 3.0], atol=1e-6)
    assert abs(canvas[:, :2]).max() < 1e-6


def test_what_leaves_the_canvas_is_lost_without_a_trace():
    canvas = warp(picture(), STILL, np.array([[-9.0], [30.0]]), 12, Random(0))
    assert not canvas.any()


def test_a_scale_of_two_draws_four_times_the_ink():
    twice = Motion(rotation=0.0, scale=(2.0, 2.0), shift=0.0)
    centre = np.array([[15.5], [15.5]])
    small = warp(picture(), STILL, centre, 32, Random(0)).sum()
    large = warp(picture(), twice, centre, 32, Random(0)).sum()
    assert large / small == pytest.approx(4.0, rel=0.01)


def test_the_digit_is_moved_by_at_most_the_shift():
    dot = np.ones((1, 1, 1), dtype=np.float32)
    motion = Motion(rotation=0.0, scale=(1.0, 1.0), shift=2.0)
    scene = Scene(size=15, motion=motion, noise=0.0)
    canvas = draw(dot, np.zeros(500, dtype=np.int64), scene, Random(0))
    rows, columns = np.nonzero(canvas.max(axis=0))
    for where in (rows, columns):
        assert (where.min(), where.max()) == (5, 9)


def test_a_fragment_is_a_square_piece_of_the_digit_at_its_place():
    digits = np.tile(picture(), (50, 1, 1))
    pieces = _cut(digits, Random(0))
    for piece in pieces:
        rows, columns = np.nonzero(piece)
        assert len(rows) == FRAGMENT_SIZE**2
        assert np.ptp(rows) == np.ptp(columns) == FRAGMENT_SIZE - 1
        np.testing.assert_array_equal(piece[rows, columns], digits[0][rows, columns])
    assert len({piece.tobytes() for piece in pieces}) > 15


def test_fragments_only_add_ink_and_noise_has_the_asked_deviation():
    digits = picture()
    chosen = np.zeros(200, dtype=np.int64)
    clean = Scene(size=16, motion=STILL, noise=0.0)
    cluttered = Scene(size=16, motion=STILL, noise=0.0, fragments=2)
    noisy = Scene(size=16, motion=STILL, noise=0.2)
    plain = draw(digits, chosen, clean, Random(0))
    assert (draw(digits, chosen, cluttered, Random(0)) >= plain).all()
    noise = draw(digits, chosen, noisy, Random(0)) - plain
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert abs(noise.mean()) < 0.005


def test_contrast_dims_each_scene_by_its_own_factor():
    white = np.ones((1, 8, 8), dtype=np.float32)
    clean = Scene(size=8, motion=STILL, noise=0.0)
    brightest = draw(white, np.zeros(300, dtype=np.int64), clean, Random(0)).max((1, 2))
    assert 0.7 <= brightest.min() < 0.72
    assert 0.98 < brightest.max() <= 1.0


def test_scenes_show_the_chosen_digits():
    digits = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32)
    clean = Scene(size=8, motion=STILL, noise=0.0)
    drawn = draw(digits, np.array([1, 0, 1]), clean, Random(0))
    assert drawn.any(axis=(1, 2)).tolist() == [True, False, True]
