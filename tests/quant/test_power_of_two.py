"""TQT: steps that are powers of two, their gradient, and a requantization by shifts."""

import math

import pytest
import torch

from effdl.quant.fake import fake_quantize, quantize
from effdl.quant.grid import Grid
from effdl.quant.lsq import lsq
from effdl.quant.power_of_two import (
    PowerOfTwoActivation,
    PowerOfTwoWeight,
    power_of_two,
    shift_right,
)


def loose(value):
    return torch.tensor(value, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize(("bits", "signed"), [(3, True), (3, False), (8, True)])
def test_value_and_gradients_are_those_of_the_paper(bits, signed):
    x = (2 * torch.randn(400, dtype=torch.double)).requires_grad_()
    g, log_t = torch.randn(400, dtype=torch.double), loose(0.3)
    n, p = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    s = 2 ** math.ceil(0.3) / 2 ** (bits - 1 if signed else bits)
    y = power_of_two(x, log_t, bits, signed=signed)
    assert torch.equal(y, (x / s).round().clamp(n, p) * s)
    (y * g).sum().backward()
    u = (x / s).detach()
    inside = (u.round() >= n) & (u.round() <= p)
    assert torch.equal(x.grad, torch.where(inside, g, 0))
    slope = torch.where(inside, u.round() - u, u.round().clamp(n, p))
    torch.testing.assert_close(log_t.grad, s * math.log(2) * (slope * g).sum())


def test_by_hand():
    """With t = 1 and 2 bits s = 0.5, levels -1 to 0.5. Slope s ln 2 (0.2 + 1 - 2)."""
    x, log_t = torch.tensor([0.4, 3.0, -3.0], dtype=torch.double), loose(0.0)
    y = power_of_two(x, log_t, 2, signed=True)
    assert y.tolist() == [0.5, 0.5, -1]
    y.sum().backward()
    assert log_t.grad.item() == pytest.approx(0.5 * math.log(2) * (0.2 + 1 - 2))


def test_the_gradient_is_that_of_lsqs_step_times_the_chain_rule():
    """Where no value lies in the half step beyond the last level."""
    x, g = (
        torch.rand(300, dtype=torch.double) * 3.4,
        torch.randn(300, dtype=torch.double),
    )
    log_t, step = loose(1.7), loose(0.25)  # 2^2 / 2^4
    (power_of_two(x, log_t, 4, signed=False) * g).sum().backward()
    (lsq(x, step, 0, 15) * g).sum().backward()
    torch.testing.assert_close(log_t.grad, step.grad * 0.25 * math.log(2))


@pytest.mark.parametrize("threshold", [0.013, 0.5, 0.51, 1.0, 3.0, 6.0, 777.0])
def test_a_step_is_always_an_exact_power_of_two_that_reaches_the_threshold(threshold):
    for bits, signed in ((8, True), (8, False), (2, True)):
        scale = PowerOfTwoActivation(threshold, bits, signed=signed).grid().scale.item()
        assert math.frexp(scale)[0] == 0.5
        reach = scale * 2 ** (bits - 1 if signed else bits)
        assert threshold <= reach < 2 * threshold


def test_a_shift_is_a_division_with_rounding():
    q = torch.arange(-5000, 5001)
    for shift in (0, 1, 2, 7, 31):
        exact = (q.double() / 2**shift).round().long()
        assert torch.equal(shift_right(q, shift), exact)
    assert shift_right(torch.tensor([5, 7], dtype=torch.int32), 1).tolist() == [2, 4]
    short = shift_right(torch.tensor([100, -100], dtype=torch.int8), 8)
    assert short.tolist() == [0, 0] and short.dtype == torch.int8


def test_a_layer_in_integers_is_bit_for_bit_what_floats_compute():
    """Sums of products of integers, shifted, against fake quantization."""
    x, weight = torch.rand(64, 50), 0.2 * torch.randn(30, 50)
    entry, weigh = (
        PowerOfTwoActivation(1.0, 8, signed=False),
        PowerOfTwoWeight(weight, 8),
    )
    leave = PowerOfTwoActivation(3.0, 8, signed=True)
    floats = leave((entry(x).double() @ weigh(weight).double().T).float())
    total = quantize(x, entry.grid()).long() @ quantize(weight, weigh.grid()).long().T
    s_in, s_w, s_out = (m.grid().scale.item() for m in (entry, weigh, leave))
    shift = math.log2(s_out / (s_in * s_w))
    assert shift == int(shift) > 0
    integers = shift_right(total, int(shift)).clamp(-128, 127)
    assert torch.equal(integers * s_out, floats.double())


def test_both_layers_round_as_the_grid_they_report_does():
    weight, x = torch.randn(20, 3), torch.randn(100)
    layer = PowerOfTwoWeight(weight, 4)
    assert torch.equal(layer(weight), fake_quantize(weight, layer.grid()))
    activation = PowerOfTwoActivation(1.5, 4, signed=True)
    grid = activation.grid()
    assert isinstance(grid, Grid)
    assert (grid.lowest, grid.highest) == (-8, 7)
    assert torch.equal(activation(x), fake_quantize(x, grid))


def test_a_weights_threshold_begins_at_its_largest_value():
    assert PowerOfTwoWeight(torch.tensor([0.1, -4.0]), 8).log_threshold.item() == 2
    assert PowerOfTwoWeight(torch.zeros(3), 8).log_threshold.item() == 0


def test_a_threshold_that_learns_lets_an_outlier_go():
    x = torch.cat([torch.randn(2000), torch.tensor([40.0])])
    layer = PowerOfTwoWeight(x, 4)
    adam = torch.optim.Adam(layer.parameters(), 0.05)
    first = layer.log_threshold.item()
    for _ in range(150):
        adam.zero_grad()
        (layer(x) - x).square().mean().backward()
        adam.step()
    assert layer.log_threshold.item() < first - 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PowerOfTwoWeight(torch.ones(1), 1), "a symmetric grid of 1 bit"),
        (lambda: PowerOfTwoWeight(torch.tensor([torch.nan]), 4), "weight holds 1 NaN"),
        (
            lambda: PowerOfTwoActivation(0.0, 8, signed=True),
            "threshold must be above 0",
        ),
        (lambda: PowerOfTwoActivation(math.inf, 8, signed=True), "got inf"),
        (lambda: PowerOfTwoActivation(1.0, 1, signed=True), "got 1"),
        (
            lambda: power_of_two(torch.ones(1), torch.ones(()), 1, signed=True),
            "bits must be 2 to 16",
        ),
        (
            lambda: shift_right(torch.ones(1), 2),
            "q must be integers, got torch.float32",
        ),
        (
            lambda: shift_right(torch.ones(1).long(), -1),
            "shift must be 0 to 31, got -1",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
