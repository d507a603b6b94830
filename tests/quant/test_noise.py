"""Signal to noise: 6.02 dB for each bit."""

import math

import pytest
import torch

from effdl.quant.fake import fake_quantize
from effdl.quant.grid import symmetric_grid
from effdl.quant.noise import even_signal_to_noise, signal_to_noise


def test_by_hand():
    """Power 9 + 16, noise 0.25: a hundredth, 20 dB; the sign does not matter."""
    signal = torch.tensor([3.0, -4.0])
    assert signal_to_noise(signal, torch.tensor([3.0, -3.5])) == pytest.approx(20)
    assert signal_to_noise(signal, torch.tensor([3.0, -4.5])) == pytest.approx(20)


def test_noise_as_loud_as_the_signal_is_0_db_and_none_is_infinite():
    signal = torch.randn(9)
    assert signal_to_noise(signal, torch.zeros(9)) == 0
    assert signal_to_noise(signal, signal.clone()) == math.inf


def measured(bits):
    signal = torch.linspace(-1, 1, 100_001)
    grid = symmetric_grid(torch.tensor(1.0), bits=bits)
    return signal_to_noise(signal, fake_quantize(signal, grid))


@pytest.mark.parametrize("bits", [4, 6, 8, 10])
def test_an_even_signal_has_the_ratio_of_the_closed_form(bits):
    assert measured(bits) == pytest.approx(even_signal_to_noise(bits), abs=0.05)


def test_a_bit_is_worth_six_decibels():
    assert (measured(11) - measured(7)) / 4 == pytest.approx(6.02, abs=0.03 + 0.02)
    assert even_signal_to_noise(16) - even_signal_to_noise(15) == pytest.approx(
        20 * math.log10(2), abs=1e-3
    )


def test_scaling_both_changes_nothing_and_tails_cost_decibels():
    signal = torch.randn(1000)
    rounded = signal.round()
    ratio = signal_to_noise(signal, rounded)
    assert signal_to_noise(7 * signal, 7 * rounded) == pytest.approx(ratio, abs=1e-3)
    tails = torch.randn(10_000)
    grid = symmetric_grid(tails.abs().max(), bits=8)
    assert signal_to_noise(tails, fake_quantize(tails, grid)) < 44


def test_bad_input_is_refused():
    one = torch.ones(2)
    with pytest.raises(ValueError, match=r"must have the shape \(2,\), got \(1, 2\)"):
        signal_to_noise(one, torch.ones(1, 2))
    with pytest.raises(ValueError, match="signal must not be 0 everywhere"):
        signal_to_noise(0 * one, one)
    with pytest.raises(ValueError, match="rounded holds 1 NaN"):
        signal_to_noise(one, torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        even_signal_to_noise(1)
