"""I-BERT's functions with whole numbers, beside the real ones."""

import math

import pytest
import torch
import torch.nn.functional as F

from effdl.quant.integer_functions import (
    ERF,
    EXP,
    Scaled,
    integer_exp,
    integer_gelu,
    integer_polynomial,
    integer_softmax,
    integer_sqrt,
)

FINE = 1e-4  # a scale at which the floors hardly count


def between(low, high, scale):
    """Return all integers whose value is in a range, or every few of them."""
    step = max(1, int((high - low) / scale / 50_000))
    return Scaled(
        torch.arange(math.ceil(low / scale), math.floor(high / scale) + 1, step), scale
    )


def test_the_polynomial_is_that_of_the_paper_step_by_step():
    x, (a, b, c) = Scaled(torch.tensor([-30, 0, 7]), 0.1), (0.5, 1.25, 0.8)
    found = integer_polynomial(x, a, b, c)
    assert found.scale == pytest.approx(0.5 * 0.01)
    q_b, q_c = math.floor(1.25 / 0.1), math.floor(0.8 / (0.5 * 0.1**2))
    assert found.q.tolist() == [(q + q_b) ** 2 + q_c for q in (-30, 0, 7)]


def test_polynomial_by_hand():
    """S = 1/4: x = 2 is 8. (8 + 4)^2 + 32 = 176 of 1/16: (2 + 1)^2 + 2 = 11."""
    found = integer_polynomial(Scaled(torch.tensor([8]), 0.25), 1.0, 1.0, 2.0)
    assert (found.q.item(), found.scale) == (176, 0.0625)


def test_a_negative_factor_leaves_the_scale_positive():
    found = integer_polynomial(Scaled(torch.tensor([8]), 0.25), -1.0, 1.0, 2.0)
    assert found.scale > 0
    assert found.values().item() == -9 + 2


def test_exp_keeps_the_published_bound_below_log_2():
    x = between(-math.log(2), 0, FINE)
    error = (integer_exp(x).values() - x.values().exp()).abs().max()
    assert 1.8e-3 < error < 1.95e-3


def test_the_printed_coefficients_of_exp_do_not_keep_it():
    p = torch.linspace(-math.log(2), 0, 10_001).double()
    errors = [
        float((a * (p + b) ** 2 + c - p.exp()).abs().max())
        for a, b, c in (EXP, (0.3585, 1.353, 0.344))
    ]
    assert errors[0] < 1.95e-3 < 2.1e-3 < errors[1]
    a, b, c = EXP
    assert 2 * a * b == pytest.approx(0.96963238, abs=1e-7)
    assert a * b * b + c == pytest.approx(1, abs=1e-7)


def test_exp_is_shifted_once_for_every_log_2():
    log_2 = math.floor(math.log(2) / FINE)
    x = Scaled(torch.tensor([-5, -5 - log_2, -5 - 3 * log_2]), FINE)
    q = integer_exp(x).q.tolist()
    assert q == [q[0], q[0] >> 1, q[0] >> 3]


def test_exp_far_below_is_zero_and_never_negative():
    x = between(-200, 0, 0.01)
    found = integer_exp(x).q
    assert not found[x.q < -2000].any()  # e^-20 is less than a step
    assert found.min() == 0
    assert int(found[0]) == 0
    assert int(found[-1]) == int(found.max())


def test_gelu_keeps_the_published_bound():
    x = between(-6, 6, FINE)
    error = (integer_gelu(x).values() - F.gelu(x.values())).abs()
    assert 1.7e-2 < error.max() < 1.85e-2


def test_gelu_far_out_is_x_or_zero():
    x = Scaled(torch.tensor([-100_000, 0, 100_000]), FINE)
    found = integer_gelu(x).values()
    torch.testing.assert_close(
        found, torch.tensor([0.0, 0.0, 10.0]).double(), atol=1e-2, rtol=0
    )


def test_the_polynomial_of_erf_is_odd():
    assert ERF == (-0.2888, -1.769, 1.0)
    x = between(0.01, 3, FINE)
    plus, minus = integer_gelu(x).values(), integer_gelu(Scaled(-x.q, FINE)).values()
    torch.testing.assert_close(plus - minus, x.values(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_softmax_is_near_and_sums_to_one(bits):
    x = Scaled(torch.randint(-40_000, 40_000, (20, 10)), FINE)
    found = integer_softmax(x, bits=bits)
    step = 1 / (2**bits - 1)
    assert found.scale == pytest.approx(step)
    assert 0 <= int(found.q.min()) <= int(found.q.max()) <= 2**bits - 1
    exact = x.values().softmax(-1)
    assert (found.values() - exact).abs().max() < step / 2 + 2e-3
    assert (found.values().sum(-1) - 1).abs().max() <= 10 * step / 2


def test_softmax_does_not_care_about_a_shift():
    x = torch.randint(-500, 500, (3, 5))
    one, two = (integer_softmax(Scaled(x + shift, 0.01)).q for shift in (0, 12_345))
    assert torch.equal(one, two)
    rows = torch.tensor([[0], [90_000], [-90_000]])
    assert torch.equal(integer_softmax(Scaled(x + rows, 0.01)).q, one)


def test_softmax_by_hand():
    """Of two equal numbers each gets half of 255, rounded up; a lone one all."""
    assert integer_softmax(Scaled(torch.tensor([7, 7]), 0.01)).q.tolist() == [128, 128]
    assert integer_softmax(Scaled(torch.tensor([7]), 0.01)).q.tolist() == [255]


def test_a_finer_scale_is_nearer():
    errors = []
    for scale in (0.1, 0.01, 0.001):
        x = between(-4, 4, scale)
        errors.append(
            float((integer_gelu(x).values() - F.gelu(x.values())).abs().max())
        )
    assert errors[0] > 1.5 * errors[2]


def test_the_square_root_is_that_of_python():
    n = torch.cat([
        torch.arange(2000),
        torch.randint(0, 2**61, (500,)),
        torch.tensor([2**62 - 1]),
    ])
    squares = torch.randint(1, 2**30, (300,)) ** 2
    n = torch.cat([n, squares - 1, squares, squares + 1])
    assert integer_sqrt(n).tolist() == [math.isqrt(v) for v in n.tolist()]


def test_the_square_root_keeps_shape_and_takes_nothing():
    assert integer_sqrt(torch.full((2, 3), 9)).tolist() == [[3] * 3] * 2
    assert integer_sqrt(torch.zeros(0)).shape == (0,)


def test_bad_input_is_refused():
    one = torch.tensor([1])
    with pytest.raises(ValueError, match="a must not be 0"):
        integer_polynomial(Scaled(one, 0.1), 0.0, 1.0, 1.0)
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="scale must be above 0 and finite"):
            integer_polynomial(Scaled(one, scale), 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="x must be 0 or less, got 1"):
        integer_exp(Scaled(one, 0.1))
    with pytest.raises(ValueError, match=r"scale must be at most log 2, got 0\.7"):
        integer_exp(Scaled(-one, 0.7))
    for n in (-one, one << 62):
        with pytest.raises(ValueError, match="n must be 0 to below"):
            integer_sqrt(n)
    with pytest.raises(ValueError, match="bits must be 1 to 16, got 17"):
        integer_softmax(Scaled(one, 0.1), bits=17)
