"""Gumbel-softmax: frequencies, limits, and a one-hot value with a soft gradient."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gumbel import (
    ConcreteWeights,
    HardWeights,
    falling_exponentially,
    falling_linearly,
    gumbel_noise,
    gumbel_softmax,
    one_hot_of_largest,
    straight_through,
)
from effdl.seed import seeded

LOGITS = torch.tensor([0.3, -1.0, 1.2, 0.0, 0.3])
DRAWS = 100_000


def architecture_with(*rows):
    architecture = Architecture([("none", "skip", "conv", "pool", "wide")] * len(rows))
    architecture.logits.data = torch.stack(rows)
    return architecture


def p_value(winners, p):
    """Return how likely counts as far from their means are, if p is right."""
    counts = np.bincount(winners.numpy(), minlength=len(p))
    share = p.double().numpy()
    return stats.chisquare(counts, counts.sum() * share / share.sum()).pvalue


def test_a_sample_is_the_softmax_of_logits_and_noise_over_the_temperature():
    noise, tau = torch.tensor([0.5, 2.0, -0.3, 0.1, 0.0]), 0.7
    scores = [
        (a + g) / tau for a, g in zip(LOGITS.tolist(), noise.tolist(), strict=True)
    ]
    powers = [math.exp(score) for score in scores]
    expected = torch.tensor([power / sum(powers) for power in powers])
    torch.testing.assert_close(gumbel_softmax(LOGITS, noise, tau), expected)


def test_a_sample_by_hand():
    """Logits 0 and 0, noise ln 3 and 0, tau 1: 3/4 and 1/4. Tau 1/2: 9/10 and 1/10."""
    logits, noise = torch.zeros(2), torch.tensor([math.log(3), 0.0])
    for tau, first in ((1.0, 0.75), (0.5, 0.9)):
        expected = torch.tensor([first, 1 - first])
        torch.testing.assert_close(gumbel_softmax(logits, noise, tau), expected)


@pytest.mark.parametrize("hard", [False, True])
def test_values_and_gradients_are_those_of_pytorch_with_the_same_noise(hard):
    logits = LOGITS.expand(50, 5).clone().requires_grad_()
    v = torch.randn(50, 5)
    with seeded(3):
        theirs = F.gumbel_softmax(logits, tau=0.6, hard=hard)
    (expected,) = torch.autograd.grad((theirs * v).sum(), logits)
    with seeded(3):
        noise = gumbel_noise(logits)
    ours = gumbel_softmax(logits, noise, 0.6)
    if hard:
        ours = straight_through(ours, one_hot_of_largest(logits + noise))
    torch.testing.assert_close(ours, theirs)
    (found,) = torch.autograd.grad((ours * v).sum(), logits)
    torch.testing.assert_close(found, expected)


def test_the_largest_of_logits_and_noise_is_drawn_as_often_as_the_softmax_says():
    """Gumbel-max. A chi-square test over 1e5 draws; and it sees wrong probabilities."""
    logits = LOGITS.expand(DRAWS, 5)
    winners = (logits + gumbel_noise(logits)).argmax(dim=1)
    p = LOGITS.softmax(dim=0)
    assert p_value(winners, p) > 0.001
    assert p_value(winners, (1.05 * LOGITS).softmax(dim=0)) < 0.001


@pytest.mark.parametrize("relax", [HardWeights, ConcreteWeights])
@pytest.mark.parametrize("tau", [0.1, 10.0])
def test_relaxations_draw_as_often_as_the_softmax_says_at_any_temperature(relax, tau):
    architecture = architecture_with(*[LOGITS] * 20_000)
    weights = relax(lambda _progress: tau)(architecture)
    winners = weights.detach().argmax(dim=1)
    assert p_value(winners, LOGITS.softmax(dim=0)) > 0.001


def test_noise_is_gumbels():
    """Mean 0.5772, variance pi^2 / 6; the whole distribution is exp(-exp(-g))."""
    noise = gumbel_noise(torch.zeros(DRAWS, dtype=torch.float64))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, rel=0.03)
    assert stats.kstest(noise.numpy(), "gumbel_r").pvalue > 0.001


def test_noise_has_shape_and_type_of_what_it_is_like_and_no_gradient():
    like = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    noise = gumbel_noise(like)
    assert noise.shape == (3, 2)
    assert noise.dtype == torch.float64
    assert not noise.requires_grad
    assert len(noise.unique()) == 6


def test_a_cold_sample_is_one_hot_and_a_hot_one_uniform():
    noise = gumbel_noise(LOGITS)
    cold, hot = (gumbel_softmax(LOGITS, noise, tau) for tau in (1e-3, 1e4))
    torch.testing.assert_close(cold, one_hot_of_largest(LOGITS + noise))
    torch.testing.assert_close(hot, torch.full((5,), 0.2), rtol=0, atol=1e-3)


def test_straight_through_has_exactly_the_hard_value_and_the_soft_gradient():
    soft = torch.rand(1000, 7).requires_grad_()
    hard = one_hot_of_largest(torch.rand(1000, 7))
    weights, v = straight_through(soft, hard), torch.randn(1000, 7)
    assert torch.equal(weights, hard)
    (gradient,) = torch.autograd.grad((weights * v).sum(), soft)
    assert torch.equal(gradient, v)


def test_hard_weights_are_zero_and_one_and_have_the_gradient_of_the_soft_ones():
    """The Jacobian of y: y_k (delta_kl - y_l) / tau."""
    architecture = architecture_with(LOGITS, 2 * LOGITS)
    relax = HardWeights(lambda _progress: 0.8)
    with seeded(5):
        weights = relax(architecture)
    with seeded(5):
        noise = gumbel_noise(architecture.logits)
    y = gumbel_softmax(architecture.logits.detach(), noise, 0.8)
    assert set(weights.flatten().tolist()) == {0.0, 1.0}
    assert weights.sum(dim=1).tolist() == [1.0, 1.0]
    assert torch.equal(weights.argmax(dim=1), y.argmax(dim=1))
    v = torch.randn(2, 5)
    (weights * v).sum().backward()
    mean = (y * v).sum(dim=1, keepdim=True)
    torch.testing.assert_close(architecture.logits.grad, y * (v - mean) / 0.8)


def test_concrete_weights_are_the_sample_at_the_temperature_of_the_progress():
    architecture = architecture_with(LOGITS, -LOGITS)
    relax = ConcreteWeights(falling_linearly(2.0, 1.0))
    with seeded(5):
        weights = relax(architecture, 0.25)
    with seeded(5):
        noise = gumbel_noise(architecture.logits)
    expected = gumbel_softmax(architecture.logits, noise, 1.75)
    torch.testing.assert_close(weights, expected)


def test_hard_weights_cool_down_in_their_gradient_only():
    """At 1e6 all y are 1/5: the gradient of the winner is 4/25 over tau."""
    architecture = architecture_with(LOGITS)
    relax = HardWeights(falling_exponentially(1e6, 1.0))
    weights = relax(architecture, 0.0)
    assert weights.max() == 1
    (gradient,) = torch.autograd.grad(
        (weights * weights.detach()).sum(), architecture.logits
    )
    assert gradient.max().item() == pytest.approx(4 / 25 / 1e6, rel=1e-3)


@pytest.mark.parametrize("relax", [HardWeights, ConcreteWeights])
def test_what_is_inactive_is_never_drawn_and_every_draw_is_new(relax):
    architecture = architecture_with(*[LOGITS] * 500)
    for edge in range(500):
        architecture.keep_(edge, ["none", "pool", "wide"])
    draw = relax(lambda _progress: 1.0)
    weights = draw(architecture)
    assert not weights[:, 1:3].any()
    assert (weights.sum(dim=0)[[0, 3, 4]] > 0).all()
    assert not torch.equal(draw(architecture), weights)
    (weights * torch.randn(500, 5)).sum().backward()
    assert architecture.logits.grad.isfinite().all()
    assert not architecture.logits.grad[:, 1:3].any()


def test_temperatures_fall_from_start_to_end():
    line, curve = falling_linearly(10.0, 0.1), falling_exponentially(10.0, 0.1)
    for fall in (line, curve):
        assert fall(0.0) == pytest.approx(10.0)
        assert fall(1.0) == pytest.approx(0.1)
    assert line(0.5) == pytest.approx(5.05)
    assert curve(0.5) == pytest.approx(1.0)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(tau):
    with pytest.raises(ValueError, match="temperature must be above 0, got"):
        gumbel_softmax(LOGITS, LOGITS, tau)


@pytest.mark.parametrize("fall", [falling_linearly, falling_exponentially])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (1.0, 2.0), (1.0, math.nan)])
def test_a_temperature_that_does_not_fall_is_refused(fall, start, end):
    with pytest.raises(ValueError, match=r"end must be above 0 and at most start=1\.0"):
        fall(start, end)
