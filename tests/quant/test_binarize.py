"""Sign, hard sigmoid and coin: the equations, their misprint, mean and variance."""

import math

import torch
import torch.nn.functional as F

from effdl.quant.binarize import coin_sign, hard_sigmoid, sign


def test_by_hand():
    w = torch.tensor([-2.0, -0.5, 0.5, 2.0])
    assert sign(w).tolist() == [-1, -1, 1, 1]
    assert hard_sigmoid(w).tolist() == [0, 0.25, 0.75, 1]


def test_at_0_the_sign_is_plus_1_where_torch_has_a_third_value():
    zeros = torch.tensor([0.0, -0.0])
    assert sign(zeros).tolist() == [1, 1]
    assert zeros.sign().tolist() == [0, 0]


def test_the_sign_of_a_sign_is_itself_and_there_are_two_values():
    w = torch.cat([torch.randn(1000), torch.zeros(3)])
    assert torch.equal(sign(sign(w)), sign(w))
    assert set(sign(w).tolist()) == {-1.0, 1.0}


def printed_hard_sigmoid(x):
    """What the survey prints: x where there should be a 0."""
    return torch.maximum(x, ((x + 1) / 2).clamp(max=1))


def test_the_hard_sigmoid_is_a_clip_and_the_printed_form_is_not():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
    assert hard_sigmoid(x).tolist() == [0, 0, 0.5, 1, 1]
    assert printed_hard_sigmoid(x).tolist() == [-1, -0.0, 0.5, 1, 3]
    inside = torch.linspace(-1, 1, 101)
    assert torch.equal(printed_hard_sigmoid(inside), hard_sigmoid(inside))
    assert torch.equal(hard_sigmoid(x), torch.clamp((x + 1) / 2, 0, 1))


def test_torch_s_hard_sigmoid_has_a_third_of_the_slope():
    x = torch.linspace(-4, 4, 81)
    torch.testing.assert_close(F.hardsigmoid(x), hard_sigmoid(x / 3))
    slopes = []
    for function in (hard_sigmoid, F.hardsigmoid):
        at = torch.tensor(0.5, requires_grad=True)
        function(at).backward()
        slopes.append(at.grad.item())
    torch.testing.assert_close(slopes, [1 / 2, 1 / 6])


def test_the_coin_has_the_mean_and_the_variance_of_the_equations():
    count = 40_000
    for w in (-1.7, -1.0, -0.6, 0.0, 0.3, 0.9, 1.0, 5.0):
        coins = coin_sign(torch.full((count,), w))
        mean = max(-1.0, min(1.0, w))
        error = 4 * math.sqrt((1 - mean**2) / count)
        assert abs(coins.mean().item() - mean) <= error + 1e-6
        assert abs(coins.var(correction=0).item() - (1 - mean**2)) <= 0.02
        assert set(coins.tolist()) <= {-1.0, 1.0}


def test_coins_are_independent():
    coins = coin_sign(torch.zeros(2, 20_000))
    assert abs((coins[0] * coins[1]).mean().item()) < 0.04
    assert not torch.equal(*coins)


def test_a_coin_that_is_sure_never_falls_on_the_other_side():
    assert bool((coin_sign(torch.full((100_000,), -1.0)) == -1).all())
    assert bool((coin_sign(torch.full((100_000,), 1.0)) == 1).all())


def test_a_draw_of_exactly_0_does_not_turn_a_coin_that_is_sure(monkeypatch):
    """The rule is u < p, not u <= p: at p = 0 and u = 0 the coin is -1."""
    monkeypatch.setattr(torch, "rand_like", torch.zeros_like)
    assert coin_sign(torch.tensor([-1.0, -0.9])).tolist() == [-1, 1]


def test_types_stay_and_nan_stays_and_nothing_has_a_gradient():
    w = torch.tensor([float("nan"), 0.1], dtype=torch.float64, requires_grad=True)
    for binary in (sign(w), coin_sign(w)):
        assert binary.dtype == torch.float64
        assert binary.isnan().tolist() == [True, False]
        assert not binary.requires_grad
    assert sign(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.bfloat16
