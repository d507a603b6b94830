"""The seeded block: the same numbers inside, and no trace of it outside."""

import random

import numpy as np
import pytest
import torch

from effdl.seed import seeded


def draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def test_the_same_seed_draws_the_same_numbers_from_all_three():
    with seeded(7):
        first = draw()
    with seeded(7):
        second = draw()
    assert first == second


def test_the_numbers_are_those_of_the_ordinary_seeds():
    expected = (
        random.Random(3).random(),
        np.random.RandomState(3).rand(),
        torch.rand(1, generator=torch.Generator().manual_seed(3)).item(),
    )
    with seeded(3):
        assert draw() == expected


def test_another_seed_draws_other_numbers():
    with seeded(0):
        first = draw()
    with seeded(1):
        second = draw()
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_the_block_does_not_shift_what_comes_after_it():
    with seeded(5):
        draw()
        expected = draw()
    with seeded(5):
        draw()
        with seeded(0):
            draw()
        assert draw() == expected


def test_the_state_comes_back_after_an_error_too():
    with seeded(5):
        draw()
        expected = draw()
    with seeded(5):
        draw()
        with pytest.raises(KeyError), seeded(0):
            draw()
            raise KeyError
        assert draw() == expected


def test_what_ran_before_does_not_matter():
    with seeded(2):
        expected = draw()
    draw()
    with seeded(2):
        assert draw() == expected


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_refuses_leaves_no_trace(seed):
    with seeded(5):
        draw()
        expected = draw()
    with seeded(5):
        draw()
        with pytest.raises(ValueError, match="between 0 and"), seeded(seed):
            pass
        assert draw() == expected
