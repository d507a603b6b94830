"""Percentile calibration: the smallest edge with the share inside."""

import numpy as np
import pytest
import torch

from effdl.quant.percentile import PercentileRange, bins_of_share


@pytest.mark.parametrize("share", [1.0, 50.0, 90.0, 99.0, 99.9, 100.0])
def test_it_is_the_first_bin_with_the_share_inside(share):
    counts = torch.randint(0, 4, (200,))
    counts[-1] = 1
    inside, bins = 0, 0
    while inside < share / 100 * int(counts.sum()) - 1e-9:
        inside += int(counts[bins])
        bins += 1
    assert bins_of_share(counts, share) == bins


def test_by_hand():
    """Of ten: 5 in the first bin, 8 in the first two, none in the third."""
    counts = torch.tensor([5, 3, 0, 2])
    wanted = {50: 1, 51: 2, 80: 2, 81: 4, 100: 4}
    assert {share: bins_of_share(counts, share) for share in wanted} == wanted


def test_a_share_that_is_no_float_is_met_exactly():
    """99.9 % of 1000 are 999, though 99.9 / 100 * 1000 is a little more in floats."""
    assert bins_of_share(torch.tensor([999, 0, 1]), 99.9) == 1
    assert bins_of_share(torch.tensor([998, 1, 1]), 99.9) == 2


@pytest.mark.parametrize("share", [50.0, 90.0, 99.0, 99.9])
def test_numpy_finds_the_same_percentile_within_a_bin(share):
    x = torch.randn(4321)  # the shares are no whole numbers
    seen = PercentileRange(share)
    for batch in x.split(1000):
        seen.observe(batch)
    exact = np.percentile(x.abs().numpy(), share, method="inverted_cdf")
    assert -1e-6 <= seen.threshold() - exact <= seen.width + 1e-6


def test_all_of_it_is_the_largest_value_exactly():
    seen = PercentileRange(100.0)
    seen.observe(torch.randn(777))
    assert seen.limits() == (seen.low, seen.high)


def test_a_smaller_share_never_covers_more():
    x = torch.randn(3000)
    found = []
    for share in (10.0, 60.0, 99.0, 99.99):
        seen = PercentileRange(share)
        seen.observe(x)
        found.append(float(seen.threshold()))
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_the_usual_share_leaves_out_one_of_ten_thousand():
    seen = PercentileRange()
    assert seen.share == 99.99
    seen.observe(torch.cat([torch.rand(9999), torch.tensor([50.0])]))
    low, high = seen.limits()
    assert low >= 0
    assert high < 1.1


def test_zeros_and_constants_are_covered():
    for value in (0.0, 2.0):
        seen = PercentileRange(50.0)
        seen.observe(torch.full((10,), value))
        assert seen.limits() == (torch.tensor(value), torch.tensor(value))


def test_bad_input_is_refused():
    for share in (0.0, -1.0, 100.1, float("nan")):
        with pytest.raises(ValueError, match="share must be above 0 to 100 per cent"):
            PercentileRange(share)
        with pytest.raises(ValueError, match="share must be above 0 to 100 per cent"):
            bins_of_share(torch.ones(3).long(), share)
    with pytest.raises(ValueError, match="nothing was observed yet"):
        PercentileRange().limits()
