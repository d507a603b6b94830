"""Expected calibration error: bins by the definition, its limits, its blind spot."""

import pytest
import torch

from effdl.distill.calibration import expected_calibration_error

BINS = 15


def slowly(logits, targets, bins):
    """Return ECE by going through bins, each (low, high]."""
    sure, answer = logits.double().softmax(dim=1).max(dim=1)
    total = 0.0
    for b in range(bins):
        inside = (sure > b / bins) & (sure <= (b + 1) / bins)
        if inside.any():
            right = (answer == targets)[inside].double().mean()
            total += float(inside.sum()) * abs(float(right - sure[inside].mean()))
    return total / len(logits)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_it_is_the_definition(bins):
    z, y = 2 * torch.randn(300, 4), torch.randint(0, 4, (300,))
    found = expected_calibration_error(z, y, bins=bins)
    assert found == pytest.approx(slowly(z, y, bins), abs=1e-12)
    assert expected_calibration_error(z, y) == pytest.approx(slowly(z, y, 15))


def test_by_hand():
    """Confidence 0.6, one of four right, and 0.9, all of four right."""
    p = torch.tensor([[0.6, 0.4]] * 4 + [[0.9, 0.1]] * 4).double()
    y = torch.tensor([0, 1, 1, 1, 0, 0, 0, 0])
    found = expected_calibration_error(p.log(), y)
    assert found == pytest.approx((0.35 + 0.1) / 2)
    in_one_bin = expected_calibration_error(p.log(), y, bins=1)
    assert in_one_bin == pytest.approx(0.75 - 0.625)


def test_answers_that_are_as_sure_as_right_have_none():
    p = torch.tensor([[0.75, 0.25]]).repeat(8, 1)
    y = torch.tensor([0, 0, 0, 1] * 2)
    assert expected_calibration_error(p.log(), y) == pytest.approx(0, abs=1e-6)


def test_the_upper_end_of_a_bin_belongs_to_it():
    """Two bins: twice 1/2, both wrong, in the lower one; 3/4, right, in the upper."""
    z = torch.zeros(3, 2).double()
    z[2] = torch.tensor([3.0, 1.0]).log()
    found = expected_calibration_error(z, torch.tensor([1, 1, 0]), bins=2)
    assert found == pytest.approx((1 + 0.25) / 3)


def test_accuracy_plays_no_part():
    y = torch.arange(10)
    nothing_known = torch.zeros(10, 10)
    nothing_known[:, 3] = 1e-6  # always the same answer, right once in ten
    assert expected_calibration_error(nothing_known, y) == pytest.approx(0, abs=1e-5)


def test_who_is_sure_and_always_wrong_has_all_of_it():
    z = 100.0 * torch.eye(3)
    assert expected_calibration_error(z, torch.tensor([1, 2, 0])) == 1.0
    assert expected_calibration_error(z, torch.tensor([0, 1, 2])) == 0.0


def test_it_falls_when_overconfident_logits_are_divided_by_the_right_temperature():
    z = torch.randn(2000, 4)
    y = torch.distributions.Categorical(logits=z).sample()
    errors = [expected_calibration_error(t * z, y) for t in (1.0, 3.0)]
    assert errors[0] < 0.05 < errors[1]


def test_bad_input_is_refused():
    y = torch.zeros(2).long()
    with pytest.raises(ValueError, match=r"N at least 1, got shapes \(0, 3\)"):
        expected_calibration_error(torch.zeros(0, 3), y[:0])
    with pytest.raises(ValueError, match=r"got shapes \(3, 3\) and \(2,\)"):
        expected_calibration_error(torch.zeros(3, 3), y)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        expected_calibration_error(torch.zeros(2, 3), y, bins=0)
