"""Entropy calibration, beside a literal loop with scipy's entropy."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from effdl.quant.entropy_range import EntropyRange, divergences


def by_loop(counts, levels):
    """Return every KL, bin by bin as the slides tell it."""
    counts = counts.numpy().astype(float)
    counts[0] = counts[1]
    found = []
    for i in range(levels, len(counts) + 1):
        p = counts[:i].copy()
        p[-1] += counts[i:].sum()
        group = [
            next(g for g in range(levels) if j < (g + 1) * i / levels) for j in range(i)
        ]
        q = np.zeros(i)
        for g in set(group):
            mine = [j for j in range(i) if group[j] == g and counts[j] > 0]
            for j in mine:
                q[j] = counts[mine].sum() / len(mine)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(entropy(p, q))
    return np.array(found)


@pytest.mark.parametrize("levels", [2, 3, 8])
@pytest.mark.parametrize("kind", ["dense", "sparse", "tail"])
def test_divergences_are_those_of_the_loop(levels, kind):
    if kind == "dense":
        counts = torch.randint(1, 50, (60,))
    elif kind == "sparse":
        counts = torch.randint(0, 3, (60,)) * torch.randint(0, 2, (60,))
        counts[1] = counts[-1] = 2
    else:
        counts = (1000 * torch.exp(-torch.arange(60) / 6)).long()
        counts[-1] = 3
    found, expected = divergences(counts, levels).numpy(), by_loop(counts, levels)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.argmin() == expected.argmin()


def test_by_hand():
    """Counts 4, 4, 2 in 2 levels.

    i = 2: P = 4, 4 + 2 and Q = 4, 4, so 0.4 log 0.8 + 0.6 log 1.2. i = 3: bins 0 and 1
    are one level, bin 2 the other: P = Q.
    """
    found = divergences(torch.tensor([99, 4, 2]), 2)
    expected = [0.4 * np.log(0.8) + 0.6 * np.log(1.2), 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_full_search_finds_what_the_loop_finds():
    """2048 bins, 128 levels: the numbers of TensorRT, one Laplace and an outlier."""
    size = torch.distributions.Exponential(1.0).sample((20_000,))
    seen = EntropyRange()
    seen.observe(torch.cat([size, torch.tensor([25.0])]))
    found = divergences(seen.filled())
    assert len(found) == 2048 - 128 + 1
    best = int(found.argmin())
    counts = seen.filled().numpy().astype(float)
    counts[0] = counts[1]
    for i in (128, 128 + best - 1, 128 + best, 128 + best + 1, 2048):
        p = counts[:i].copy()
        p[-1] += counts[i:].sum()
        group = np.arange(i) * 128 // i
        used = np.bincount(group, counts[:i] > 0)
        mean = np.bincount(group, counts[:i]) / np.maximum(used, 1)
        q = np.where(counts[:i] > 0, mean[group], 0)
        with np.errstate(divide="ignore"):
            expected = entropy(p, q)
        np.testing.assert_allclose(found[i - 128], expected, rtol=1e-8)
    assert float(seen.threshold()) == pytest.approx((128 + best) * float(seen.width))


def test_heavy_tails_are_clipped_and_an_even_distribution_is_not():
    even = torch.arange(100_000) / 100_000
    tail = torch.distributions.Laplace(0.0, 1.0).sample((100_000,))
    for x, least, most in (
        (even, 1.0, 1.0),
        (torch.cat([tail, torch.tensor([60.0])]), 0.01, 0.5),
    ):
        seen = EntropyRange()
        seen.observe(x)
        share = float(seen.threshold() / x.abs().max())
        assert least - 1e-3 <= share <= most


def test_zeros_of_a_relu_do_not_count():
    x = torch.randn(20_000)
    few, many = EntropyRange(), EntropyRange()
    few.observe(x)
    many.observe(torch.cat([x, torch.zeros(10_000)]))
    assert torch.equal(divergences(few.filled()), divergences(many.filled()))
    assert few.threshold() == many.threshold()


def test_where_q_lacks_the_spike_the_divergence_is_infinite():
    found = divergences(torch.tensor([1, 1, 0, 1, 1]), 2)
    assert found.isinf().tolist() == [False, True, False, False]


def test_with_fewer_bins_than_levels_all_is_covered():
    seen = EntropyRange(128, bins=64)
    seen.observe(torch.randn(1000))
    assert len(divergences(seen.filled(), 128)) == 0
    assert seen.limits() == (seen.low, seen.high)


def test_the_usual_levels_are_those_of_tensorrt():
    assert EntropyRange().levels == 128
    assert len(EntropyRange().counts) == 2048
    counts = torch.randint(1, 9, (200,))
    assert torch.equal(divergences(counts), divergences(counts, 128))


def test_zeros_and_constants_are_covered():
    for value in (0.0, 2.0):
        seen = EntropyRange()
        seen.observe(torch.full((10,), value))
        assert seen.limits() == (torch.tensor(value), torch.tensor(value))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="levels must be at least 2 and whole, got 1"):
        EntropyRange(1)
    with pytest.raises(ValueError, match="levels must be at least 2 and whole, got 0"):
        divergences(torch.ones(4), 0)
    with pytest.raises(ValueError, match="nothing was observed yet"):
        EntropyRange().limits()
