"""Elastic widths: never too slow, and not one channel to spare."""

import numpy as np
import pytest
import torch
from torch import nn

from effdl.measure.macs import count_macs
from effdl.nas.hardware.elastic_widths import scale_widths


def lookup(largest, seed):
    """Return the latency of widths by a table that grows with every width."""
    random = np.random.default_rng(seed)
    tables = [np.cumsum(random.random(most + 1)) for most in largest]

    def latency(widths):
        return 5.0 + sum(t[w] for t, w in zip(tables, widths, strict=True))

    return latency


def half(largest):
    """Return the smallest widths."""
    return tuple(-(-most // 2) for most in largest)


@pytest.mark.parametrize("seed", range(20))
def test_the_target_is_met_and_one_step_more_exceeds_it(seed):
    """From any widths, shrinking or growing, in every layer."""
    random = np.random.default_rng(seed)
    largest = random.integers(8, 64, size=5).tolist()
    latency = lookup(largest, seed)
    start = [int(random.integers(-(-m // 2), m + 1)) for m in largest]
    low, high = latency(half(largest)), latency(largest)
    target = low + (high - low) * random.random()
    found = scale_widths(start, largest, latency, target)
    assert latency(found) <= target
    for layer, most in enumerate(largest):
        assert half(largest)[layer] <= found[layer] <= most
        wider = [w + (n == layer) for n, w in enumerate(found)]
        assert found[layer] == most or latency(wider) > target


def test_by_hand():
    """25 s is too slow for 20. In steps of 1 and 2 to 6 and 12: 19 s. One is left.

    The group of both needs 3; the last layer alone takes it.
    """
    found = scale_widths([8, 16], [8, 16], lambda w: 1.0 + w[0] + w[1], 20.0)
    assert found == (6, 13)


def test_proportions_are_kept_as_far_as_possible():
    """All layers shrink alike, rather than one to its end."""
    found = scale_widths([32, 64, 128], [32, 64, 128], lambda w: float(sum(w)), 168.0)
    assert found == (24, 48, 96)


def test_widths_that_fit_only_grow():
    latency = lookup([20] * 4, 0)
    start = (12, 15, 10, 11)
    found = scale_widths(start, [20] * 4, latency, latency(start) + 3.0)
    assert all(b >= a for a, b in zip(start, found, strict=True))
    assert sum(found) > sum(start)


def test_the_ends_are_reached():
    largest = (20, 31)
    latency = lookup(largest, 1)
    assert scale_widths(largest, largest, latency, 1e9) == largest
    least = latency(half(largest))
    assert scale_widths(largest, largest, latency, least) == half(largest) == (10, 16)


def test_a_second_scaling_to_the_same_target_changes_nothing():
    latency = lookup([40] * 5, 2)
    target = 0.6 * latency([40] * 5)
    once = scale_widths([40] * 5, [40] * 5, latency, target)
    assert scale_widths(once, [40] * 5, latency, target) == once


def test_counted_multiply_adds_of_a_network_meet_a_budget():
    """Any function of the widths does: here that of a counter."""

    def counted(widths):
        layers = [
            nn.Sequential(
                nn.Conv2d(4, w, 1, bias=False), nn.Conv2d(w, 4, 1, bias=False)
            )
            for w in widths
        ]
        return count_macs(nn.Sequential(*layers), torch.zeros(1, 4, 2, 2)).total

    found = scale_widths([12, 12], [12, 12], counted, 600.0)
    assert counted(found) == 4 * 8 * sum(found) == 576
    assert sum(found) == 18  # 19 would be 608


def test_latency_is_asked_for_legal_widths_only():
    largest = [9, 14]
    asked = []

    def latency(widths):
        asked.append(widths)
        return float(sum(widths))

    scale_widths([9, 14], largest, latency, 17.0)
    for widths in asked:
        assert all(
            low <= w <= most
            for low, w, most in zip(half(largest), widths, largest, strict=True)
        )


def test_errors_tell_what_can_be_had():
    def latency(widths):
        return float(sum(widths))

    with pytest.raises(ValueError, match=r"target must be at least 12, .* got 11"):
        scale_widths([8, 16], [8, 16], latency, 11.0)
    with pytest.raises(ValueError, match="target must be at least 12"):
        scale_widths([8, 16], [8, 16], latency, float("nan"))
    with pytest.raises(ValueError, match=r"widths\[1\] must be in 8 to 16, .* got 7"):
        scale_widths([8, 7], [8, 16], latency, 20.0)
    with pytest.raises(ValueError, match=r"widths\[0\] must be in 4 to 8, .* got 9"):
        scale_widths([9, 8], [8, 16], latency, 20.0)
    for widths, largest in (([8], [8, 16]), ([], [])):
        with pytest.raises(ValueError, match="as long as each other"):
            scale_widths(widths, largest, latency, 20.0)
