"""The range of least squared error, beside a loop over grids."""

import pytest
import torch

from effdl.quant.fake import fake_quantize
from effdl.quant.grid import Grid
from effdl.quant.mse_range import MseRange, squared_errors


def fake(x, threshold, levels):
    """Return x on the numbers 0 .. threshold."""
    grid = Grid(threshold / (levels - 1), torch.tensor(0), 0, levels - 1)
    return fake_quantize(x, grid)


@pytest.mark.parametrize("levels", [2, 3, 8, 128])
def test_errors_are_those_of_a_loop_over_all_edges(levels):
    counts = torch.randint(0, 9, (150,))
    centres = torch.arange(150).double() + 0.5
    expected = []
    for edge in range(1, 151):
        rounded = fake(centres, torch.tensor(float(edge)).double(), levels)
        expected.append((counts * (centres - rounded) ** 2).sum())
    found = squared_errors(counts, levels)
    torch.testing.assert_close(found, torch.stack(expected))
    assert int(found.argmin()) == int(torch.stack(expected).argmin())


def test_by_hand():
    """Values 0.5 and 2.5 on the grid 0, T. T = 1: 0.25 + 2.25, T = 2: 0.25 + 0.25."""
    found = squared_errors(torch.tensor([1, 0, 1]), 2)
    assert found.tolist() == [2.5, 0.5, 0.5]


@pytest.mark.parametrize("levels", [4, 16])
def test_no_other_range_of_the_values_themselves_is_much_better(levels):
    x = torch.randn(20_000).abs()
    seen = MseRange(levels)
    seen.observe(x)
    errors = [
        float((x - fake(x, torch.tensor(t), levels)).square().mean())
        for t in torch.linspace(0.3, float(x.max()), 150).tolist()
    ]
    found = fake(x, seen.threshold().float(), levels)
    assert float((x - found).square().mean()) < 1.01 * min(errors)


def test_the_threshold_is_the_edge_with_the_smallest_error():
    seen = MseRange(8)
    seen.observe(torch.randn(3000))
    edge = int(squared_errors(seen.filled(), 8).argmin()) + 1
    assert float(seen.threshold()) == edge * float(seen.width)


def test_fewer_levels_clip_more():
    x = torch.randn(20_000)
    found = []
    for levels in (2, 4, 16, 128):
        seen = MseRange(levels)
        seen.observe(x)
        found.append(float(seen.threshold()))
    assert found == sorted(found)
    assert found[0] < found[-1] / 2


def test_an_outlier_is_clipped_and_an_even_distribution_is_not():
    even = torch.arange(50_000) / 50_000
    for x, least, most in (
        (even, 0.96, 1.0),  # the last half step is clipped for nothing
        (torch.cat([even, torch.tensor([8.0])]), 0.9, 5.0),
    ):
        seen = MseRange(16)
        seen.observe(x)
        assert least <= float(seen.threshold()) <= most


def test_the_usual_levels_are_those_of_eight_symmetric_bits():
    assert MseRange().levels == 128


def test_zeros_and_constants_are_covered():
    for value in (0.0, 2.0):
        seen = MseRange()
        seen.observe(torch.full((10,), value))
        assert seen.limits()[1] == pytest.approx(value, abs=0.01)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="levels must be at least 2 and whole, got 1"):
        MseRange(1)
    with pytest.raises(ValueError, match="levels must be at least 2 and whole, got 1"):
        squared_errors(torch.ones(3), 1)
    with pytest.raises(ValueError, match="nothing was observed yet"):
        MseRange().limits()
