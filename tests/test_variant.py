"""Variants of an assignment: fixed by the seed, and free where they should be."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from effdl.variant import choose

WIDTHS = (8, 12, 16, 24)


def test_a_value_is_drawn_by_pythons_generator_from_seed_and_name():
    expected = random.Random("2026 width").choice(WIDTHS)
    assert choose(2026, width=WIDTHS).width == expected


def test_one_variant_by_hand():
    """A course that has begun must find its numbers again with every version."""
    drawn = choose(2026, width=WIDTHS, bits=(2, 3, 4), temperature=(2.0, 3.0, 5.0))
    assert drawn == SimpleNamespace(width=24, bits=2, temperature=2.0)


def test_the_same_seed_draws_the_same_variant():
    assert choose(7, width=WIDTHS) == choose(np.int64(7), width=[*WIDTHS])


def test_the_draw_neither_sees_nor_moves_other_random_numbers():
    random.seed(1)
    first, after = choose(7, width=WIDTHS), random.random()
    random.seed(1)
    assert random.random() == after
    assert choose(7, width=WIDTHS) == first


def test_every_value_is_drawn_by_some_seed_about_equally_often():
    drawn = [choose(seed, width=WIDTHS).width for seed in range(400)]
    assert all(70 < drawn.count(width) < 130 for width in WIDTHS)


def test_options_are_drawn_independently():
    pairs = {tuple(vars(choose(s, a=WIDTHS, b=WIDTHS)).values()) for s in range(200)}
    assert len(pairs) == len(WIDTHS) ** 2


def test_another_option_does_not_change_what_is_drawn():
    for seed in range(20):
        drawn = choose(seed, bits=(2, 3), width=WIDTHS)
        assert drawn.width == choose(seed, width=WIDTHS).width
        assert drawn.bits == choose(seed, bits=(2, 3)).bits


def test_an_option_may_be_called_seed():
    assert choose(1, seed=(5,)).seed == 5


@pytest.mark.parametrize(
    ("seed", "options", "message"),
    [
        (-1, {"width": WIDTHS}, "seed must be 0 or larger, got -1"),
        (1.5, {"width": WIDTHS}, "seed must be a whole number, got 1.5"),
        (1, {"width": WIDTHS, "bits": ()}, r"bits must have a value .* got \(\)"),
    ],
)
def test_errors_name_the_argument(seed, options, message):
    with pytest.raises(ValueError, match=message):
        choose(seed, **options)
