"""The histogram: exact counts, whatever the order of the batches."""

import math

import pytest
import torch

from effdl.quant.histogram import Histogram, running_sums
from effdl.quant.quantizers import ActivationQuantizer


def counted(values, width, bins):
    """Return the counts, one value after the other."""
    counts = [0] * bins
    for value in values.double().abs().flatten().tolist():
        counts[max(math.ceil(value / width) - 1, 0)] += 1
    return counts


def test_counts_are_those_of_the_definition():
    x = torch.randn(3, 50)
    seen = Histogram(32)
    seen.observe(x)
    assert seen.width.item() == x.abs().max().item() / 32
    assert seen.counts.tolist() == counted(x, seen.width.item(), 32)


def test_by_hand():
    """Bins of 0.5 up to 2; then 3 comes: bins of 1, pairs together."""
    seen = Histogram(4)
    seen.observe(torch.tensor([0.0, 0.4, 0.5, -0.6, 1.1, 2.0]))
    assert seen.counts.tolist() == [3, 1, 1, 1]
    seen.observe(torch.tensor([3.0, 0.7]))
    assert seen.width.item() == 1
    assert seen.counts.tolist() == [5, 2, 1, 0]


@pytest.mark.parametrize("growth", [1.0, 1.9, 2.0, 2.1, 9.0, 1000.0])
def test_counts_stay_exact_when_the_range_grows(growth):
    first, second = torch.rand(300), growth * torch.rand(300)
    seen = Histogram(64)
    seen.observe(first)
    seen.observe(second)
    both = torch.cat([first, second])
    assert seen.counts.tolist() == counted(both, seen.width.item(), 64)
    assert seen.width * 64 >= both.max() > seen.width * 32 * 0.99


def test_zeros_before_the_first_value_are_counted_too():
    seen = Histogram(4)
    seen.observe(torch.zeros(5))
    assert seen.width.item() == 0
    assert seen.limits() == (torch.tensor(0.0), torch.tensor(0.0))
    seen.observe(torch.tensor([4.0]))
    assert seen.filled().tolist() == [5, 0, 0, 1]


def test_what_is_filled_ends_with_a_count():
    seen = Histogram(8)
    seen.observe(torch.ones(3))
    seen.observe(torch.tensor([1.1]))
    assert seen.filled().tolist() == [0, 0, 0, 3, 1]  # bins of 1 / 4


def test_the_same_largest_value_again_widens_nothing():
    for bins in (10, 1000, 2048):
        seen = Histogram(bins)
        x = torch.rand(100)
        seen.observe(x)
        width = seen.width.clone()
        seen.observe(x)
        assert seen.width == width


def test_by_itself_it_covers_all():
    seen = Histogram()
    seen.observe(torch.tensor([-3.0, 1.0]))
    assert seen.threshold() == 3
    assert seen.limits() == (torch.tensor(-3.0), torch.tensor(1.0))


class UpToOne(Histogram):
    """Cuts at 1."""

    def threshold(self):
        """Return 1."""
        return torch.tensor(1.0, dtype=torch.float64)


@pytest.mark.parametrize(
    ("x", "limits"),
    [
        ([0.0, 5.0], (0, 1)),
        ([-0.2, 5.0], (-0.2, 1)),
        ([-4.0, 5.0], (-1, 1)),
        ([-4.0, 0.5], (-1, 0.5)),
        ([2.0, 5.0], (1, 1)),
    ],
)
def test_the_threshold_cuts_the_seen_range(x, limits):
    seen = UpToOne()
    seen.observe(torch.tensor(x))
    torch.testing.assert_close(
        seen.limits(), tuple(map(torch.tensor, map(float, limits)))
    )


def test_in_a_quantizer_both_grids_come_from_the_threshold():
    """Unsigned: 256 numbers from 0 to 1. Symmetric: 127 steps from 0 to 1."""
    x = torch.tensor([0.0, 0.3, 5.0])
    for symmetric, steps, lowest in ((False, 255, 0), (True, 127, -127)):
        layer = ActivationQuantizer(UpToOne(), 8, symmetric=symmetric)
        layer(x)
        assert layer.grid().scale.item() == pytest.approx(1 / steps)
        assert layer.grid().lowest == lowest


def test_what_was_seen_is_saved_and_loaded():
    seen, other = Histogram(8), Histogram(8)
    seen.observe(torch.randn(30))
    other.load_state_dict(seen.state_dict())
    assert torch.equal(other.counts, seen.counts)
    assert other.limits() == seen.limits()


def test_running_sums_by_hand():
    assert running_sums(torch.tensor([1.0, 2.0, 4.0])).tolist() == [0, 1, 3, 7]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="bins must be even, got 7"):
        Histogram(7)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        Histogram(0)
    seen = Histogram(4)
    for ask in (seen.limits, seen.threshold, seen.filled):
        with pytest.raises(ValueError, match="nothing was observed yet"):
            ask()
    with pytest.raises(ValueError, match="activation holds 1 NaN and 1 infinite"):
        seen.observe(torch.tensor([float("nan"), float("inf"), 1.0]))
    assert seen.counts.sum() == 0
