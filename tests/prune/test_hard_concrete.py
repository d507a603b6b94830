"""Hard-concrete gates: closed forms against quadrature, draws and limits."""

import math

import pytest
import torch
from scipy import integrate

from effdl.prune.hard_concrete import HardConcrete, HardConcreteGate

USUAL = HardConcrete()
OTHER = HardConcrete(beta=0.4, gamma=-0.3, zeta=1.2)
ALPHAS = (-3.0, -0.7, 0.0, 1.3, 4.0)


def literal(u, a, which):
    """Return z for one u, in Python's floats."""
    inside = (math.log(u) - math.log(1 - u) + a) / which.beta
    s = 1 / (1 + math.exp(-inside))
    return min(1.0, max(0.0, s * (which.zeta - which.gamma) + which.gamma))


def edge(t, a, which):
    """Return the u above which z is above t."""
    s = (t - which.gamma) / (which.zeta - which.gamma)
    return 1 / (1 + math.exp(a - which.beta * math.log(s / (1 - s))))


@pytest.mark.parametrize("which", [USUAL, OTHER])
def test_a_sample_is_the_stretched_and_cut_sigmoid_of_its_noise(which):
    u = torch.rand(50, dtype=torch.float64) * 0.998 + 0.001
    a = torch.randn(50, dtype=torch.float64)
    values = [literal(x, y, which) for x, y in zip(u.tolist(), a.tolist(), strict=True)]
    torch.testing.assert_close(which.sample(a, u), torch.tensor(values).double())


@pytest.mark.parametrize("which", [USUAL, OTHER])
@pytest.mark.parametrize("a", ALPHAS)
def test_the_closed_forms_agree_with_many_draws(which, a):
    """200,000 draws: a share is off by .0011 in one standard deviation, at most."""
    n = 200_000
    z = which.sample(torch.full((n,), a), torch.rand(n))
    log_alpha = torch.tensor(a)
    opened, one = (z > 0).float().mean(), (z == 1).float().mean()
    assert which.open_probability(log_alpha) == pytest.approx(opened.item(), abs=0.005)
    at_one = which.above_probability(log_alpha, 1.0)
    assert at_one == pytest.approx(one.item(), abs=0.005)
    above = which.above_probability(log_alpha, 0.3)
    assert above == pytest.approx((z > 0.3).float().mean().item(), abs=0.005)
    assert which.mean(log_alpha) == pytest.approx(z.mean().item(), abs=0.005)


@pytest.mark.parametrize("which", [USUAL, OTHER])
@pytest.mark.parametrize("a", ALPHAS)
def test_the_closed_forms_agree_with_the_noise_at_which_the_gate_opens(which, a):
    log_alpha = torch.tensor(a, dtype=torch.float64)
    zero, one = edge(0.0, a, which), edge(1.0, a, which)
    assert which.open_probability(log_alpha).item() == pytest.approx(1 - zero)
    assert which.above_probability(log_alpha, 1.0).item() == pytest.approx(1 - one)
    assert literal(zero - 1e-9, a, which) == 0 < literal(zero + 1e-9, a, which)
    assert literal(one - 1e-9, a, which) < 1 == literal(one + 1e-9, a, which)


@pytest.mark.parametrize("which", [USUAL, OTHER])
@pytest.mark.parametrize("a", ALPHAS)
def test_the_mean_agrees_with_quadrature_over_the_noise(which, a):
    ends = [edge(0.0, a, which), edge(1.0, a, which)]
    between, _ = integrate.quad(literal, *ends, args=(a, which))
    expected = between + 1 - ends[1]
    value = which.mean(torch.tensor(a, dtype=torch.float64))
    assert value.item() == pytest.approx(expected, abs=1e-7)
    single = which.mean(torch.tensor(a))
    assert single.item() == pytest.approx(expected, abs=1e-6)


def test_one_gate_in_six_is_0_where_training_begins_and_as_many_are_1():
    """Log 11 * 2/3 = 1.5986, and its sigmoid .8318."""
    zero = torch.tensor(0.0)
    assert USUAL.open_probability(zero).item() == pytest.approx(0.8318, abs=5e-5)
    one = USUAL.above_probability(zero, 1.0).item()
    assert one == pytest.approx(1 - 0.8318, abs=5e-5)
    assert USUAL.mean(zero).item() == pytest.approx(0.5)


def test_the_gradient_of_the_expected_l0_is_that_of_a_sigmoid():
    gate = HardConcreteGate((7,))
    with torch.no_grad():
        gate.log_alpha.copy_(torch.randn(7))
    gate.expected_open().backward()
    p = torch.sigmoid(gate.log_alpha.detach() + 2 / 3 * math.log(11))
    torch.testing.assert_close(gate.log_alpha.grad, p * (1 - p))


def test_without_noise_the_gate_is_0_below_minus_log_11_and_1_above_log_11():
    a = torch.tensor([-2.41, -2.39, 0.0, 2.39, 2.41])
    values = USUAL.without_noise(a)
    assert values[0] == 0
    assert 0 < values[1] < 0.01
    assert values[2].item() == pytest.approx(0.5)
    assert 0.99 < values[3] < 1
    assert values[4] == 1
    likely = USUAL.open_probability(torch.tensor(-math.log(11)))
    assert likely.item() == pytest.approx(0.31, abs=0.005)


@pytest.mark.parametrize(("a", "value"), [(60.0, 1.0), (-60.0, 0.0)])
def test_far_from_0_every_gate_is_open_or_closed(a, value):
    log_alpha = torch.full((1000,), a)
    assert (USUAL.sample(log_alpha, torch.rand(1000)) == value).all()
    assert (USUAL.without_noise(log_alpha) == value).all()
    for likely in (USUAL.open_probability, USUAL.mean):
        assert likely(log_alpha[0]).item() == pytest.approx(value)


def test_a_higher_alpha_opens_and_a_lower_temperature_decides_more_often():
    a = torch.linspace(-8, 8, 50)
    assert (USUAL.open_probability(a).diff() > 0).all()
    assert (USUAL.mean(a).diff() > 0).all()

    def undecided(which):
        open_one = which.open_probability(torch.tensor(0.0))
        return open_one - which.above_probability(torch.tensor(0.0), 1.0)

    assert undecided(HardConcrete(beta=0.3)) < undecided(USUAL)


def test_noise_of_exactly_0_is_a_closed_gate_with_a_gradient_of_0():
    a = torch.tensor(0.0, requires_grad=True)
    z = USUAL.sample(a, torch.tensor(0.0))
    z.backward()
    assert z == 0
    assert a.grad == 0


def test_a_gate_draws_in_training_and_not_in_evaluation():
    gate = HardConcreteGate((40, 3))
    assert gate().shape == (40, 3)
    assert not torch.equal(gate(), gate())
    torch.testing.assert_close(gate.without_noise(), torch.full((40, 3), 0.5))
    gate.eval()
    assert torch.equal(gate(), gate.without_noise())


def test_a_gate_begins_where_it_is_told_with_the_distribution_that_it_is_given():
    gate = HardConcreteGate((5,), log_alpha=1.5, distribution=OTHER)
    assert (gate.log_alpha == 1.5).all()
    expected = 5 * OTHER.open_probability(torch.tensor(1.5))
    torch.testing.assert_close(gate.expected_open(), expected)
    torch.testing.assert_close(gate()[:0], torch.empty(0))
    torch.testing.assert_close(
        gate.without_noise(), OTHER.without_noise(gate.log_alpha)
    )


def test_a_gate_that_is_neither_0_nor_1_has_a_gradient():
    gate = HardConcreteGate((2000,))
    z = gate()
    z.sum().backward()
    between = (z > 0) & (z < 1)
    assert between.any()
    assert (gate.log_alpha.grad[between] > 0).all()
    assert (gate.log_alpha.grad[~between] == 0).all()


def test_gates_that_only_cost_close():
    gate = HardConcreteGate((3,), log_alpha=1.0)
    optimizer = torch.optim.SGD(gate.parameters(), lr=10.0)
    for _ in range(50):
        optimizer.zero_grad()
        gate.expected_open().backward()
        optimizer.step()
    assert (gate.without_noise() == 0).all()


@pytest.mark.parametrize(
    "numbers", [(0.0, -0.1, 1.1), (0.5, 0.0, 1.1), (0.5, -0.1, 1.0), (math.nan, -1, 2)]
)
def test_numbers_that_make_no_hard_concrete_are_refused(numbers):
    with pytest.raises(ValueError, match="beta must be above 0, gamma below 0"):
        HardConcrete(*numbers)
