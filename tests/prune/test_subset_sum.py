"""Subsets of random numbers, and neurons that make a weight of them."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from effdl.prune.subset_sum import (
    best_subset,
    neurons_for_weight,
    subset_errors,
    subset_sums,
)


def uniform(*shape):
    """Return numbers from -1 to 1."""
    return 2 * torch.rand(*shape, dtype=torch.float64) - 1


def test_the_sums_are_those_of_all_subsets():
    numbers = uniform(5)
    found = subset_sums(numbers)
    for bits in product((0, 1), repeat=5):
        index = sum(bit << place for place, bit in enumerate(bits))
        wanted = sum(b * x for b, x in zip(bits, numbers.tolist(), strict=True))
        assert found[index].item() == pytest.approx(wanted)


def test_the_best_subset_is_that_of_trying_all():
    numbers = uniform(8)
    for target in (-0.7, 0.0, 0.31, 1.0):
        tried = {
            bits: abs(
                sum(b * x for b, x in zip(bits, numbers.tolist(), strict=True)) - target
            )
            for bits in product((0, 1), repeat=8)
        }
        mask = best_subset(numbers, target)
        assert mask.dtype == torch.bool
        assert tuple(mask.int().tolist()) == min(tried, key=tried.get)


def test_the_empty_subset_has_the_sum_0():
    assert not best_subset(torch.tensor([1.0, -2.0]), 0.2).any()
    assert best_subset(torch.tensor([1.0, -2.0]), -0.9).all()


def test_errors_are_those_of_the_best_subsets():
    numbers, targets = uniform(9), uniform(20) * 4
    found = subset_errors(numbers, targets)
    for target, error in zip(targets.tolist(), found.tolist(), strict=True):
        kept = numbers[best_subset(numbers, target)]
        assert error == pytest.approx(abs(kept.sum().item() - target), abs=1e-12)


def test_beyond_all_sums_the_end_is_the_nearest():
    """The sums go from -2 to 3."""
    numbers = torch.tensor([1.0, 2.0, -2.0])
    targets = torch.tensor([10.0, -10.0, 3.0, -2.0])
    assert subset_errors(numbers, targets).tolist() == [7, 8, 0, 0]


def test_each_number_more_halves_the_error_or_nearly():
    """Slope of log2 of the median error over n = 6 to 18; with n sums of 2^n, -1.

    The sums lie denser in the middle as n grows, and spread as sqrt(n): a little less.
    """
    counts = [6, 10, 14, 18]
    medians = []
    for n in counts:
        errors = [subset_errors(uniform(n), uniform(200)) for _ in range(12)]
        medians.append(torch.cat(errors).median().item())
    slope = np.polyfit(counts, np.log2(medians), 1)[0]
    assert -1.1 < slope < -0.85
    assert medians[-1] < 1e-4


def test_more_numbers_never_hurt():
    numbers, targets = uniform(12), uniform(50)
    errors = [subset_errors(numbers[:n], targets) for n in range(1, 13)]
    for fewer, more in pairwise(errors):
        assert (more <= fewer).all()


@pytest.mark.parametrize("weight", [-0.8, 0.1, 0.6])
def test_the_neurons_that_are_kept_compute_the_weight_on_both_sides_of_0(weight):
    u, v = uniform(24), uniform(24)
    u[:12], u[12:] = u[:12].abs(), -u[12:].abs()
    kept = neurons_for_weight(u, v, weight)
    x = torch.tensor([-2.0, -0.5, 0.0, 0.3, 1.0], dtype=torch.float64)
    hidden = (x[:, None] * u).relu()
    out = hidden @ (v * kept)
    torch.testing.assert_close(out, weight * x, atol=1e-2, rtol=0)
    assert (hidden @ v - weight * x).abs().max() > 0.1  # without pruning: nothing


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: subset_sums(torch.rand(2, 2)), r"from 1 to 24, got \(2, 2\)"),
        (lambda: subset_sums(torch.rand(0)), r"from 1 to 24, got \(0,\)"),
        (lambda: best_subset(torch.rand(25), 0.5), r"from 1 to 24, got \(25,\)"),
        (
            lambda: neurons_for_weight(torch.ones(3), torch.ones(3), 0.5),
            "first both signs, got .* from 1 to 1",
        ),
        (
            lambda: neurons_for_weight(-torch.ones(3), torch.ones(3), 0.5),
            "first both signs",
        ),
        (
            lambda: neurons_for_weight(torch.tensor([1.0, -1]), torch.ones(3), 0.5),
            "must have one shape",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
