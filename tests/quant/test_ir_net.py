"""IR-Net: balanced weights, and a slope that narrows."""

import math

import pytest
import torch
from torch import nn

from effdl.quant.ir_net import (
    BalancedSign,
    TanhSign,
    set_progress_,
    sharpness,
    standardized,
    tanh_sign,
)


def entropy(p):
    return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)


@pytest.mark.parametrize("t", [0.1, 1.0, 3.0])
def test_the_slope_is_that_of_the_scaled_tanh(t):
    x = torch.tensor([-2.0, -0.1, 0.0, 0.4], requires_grad=True)
    value = tanh_sign(x, t)
    assert value.tolist() == [-1, -1, 1, 1]
    (slope,) = torch.autograd.grad(value.sum(), x)
    k = max(1 / t, 1)
    torch.testing.assert_close(slope, k * t * (1 - torch.tanh(t * x.detach()) ** 2))


def test_sharpness_rises_by_equal_factors_from_0_1_to_10():
    found = [sharpness(i / 4) for i in range(5)]
    assert found == pytest.approx([0.1, 10**-0.5, 1.0, 10**0.5, 10.0])


def test_at_first_all_learn_and_in_the_end_few():
    x = torch.tensor([0.0, 2.0])
    slopes = []
    for progress in (0.0, 1.0):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(tanh_sign(x, sharpness(progress)).sum(), x)
        slopes.append(slope.tolist())
    assert slopes[0][0] == pytest.approx(1)
    assert slopes[0][1] > 0.9
    assert slopes[1][0] == pytest.approx(10)
    assert slopes[1][1] < 1e-6


def test_filters_are_standardized_each_alone():
    weight = 3 + 2 * torch.randn(4, 2, 3, 3)
    found = standardized(weight)
    for row, source in zip(found, weight, strict=True):
        mean = source.mean()
        spread = ((source - mean) ** 2).mean().sqrt()
        torch.testing.assert_close(row, (source - mean) / spread)


def test_by_hand():
    """1, 3, 8, 9: mean 5.25, deviation 3.34, mean size 0.97, and 2^round(-0.04) = 1.

    0, 0, 0, 0, 16: sizes 0.5 four times and 2, mean 0.8, 2^round(-0.32) = 1;
    0 thirty times and 1: mean size 0.353, 2^round(-1.5) = 0.25.
    """
    assert BalancedSign()(torch.tensor([[1.0, 3, 8, 9]])).tolist() == [[-1, -1, 1, 1]]
    found = BalancedSign()(torch.tensor([[0.0, 0, 0, 0, 16]]))
    assert found.tolist() == [[-1, -1, -1, -1, 1]]
    rare = torch.zeros(1, 31)
    rare[0, 0] = 1
    assert BalancedSign()(rare)[0, :2].tolist() == [0.25, -0.25]


def test_scales_are_powers_of_two():
    weight = torch.randn(20, 9) * torch.rand(20, 1)
    sizes = BalancedSign()(weight).abs()
    assert torch.equal(sizes, sizes[:, :1].expand(-1, 9))
    assert torch.equal(sizes.log2(), sizes.log2().round())


def test_centring_balances_symmetric_weights_and_maximises_entropy():
    half = torch.randn(8, 32)
    weight = 0.7 + torch.cat([half, -half], dim=1)  # symmetric about 0.7
    share = (BalancedSign()(weight) > 0).float().mean(dim=1)
    assert share.tolist() == [0.5] * 8
    before = [entropy(p) for p in (weight > 0).float().mean(dim=1).tolist()]
    assert all(b < 1.0 for b in before)
    assert all(entropy(p) < entropy(0.5) == 1.0 for p in (0.0, 0.2, 0.49, 0.7, 1.0))


def test_centring_by_the_mean_does_not_balance_skewed_weights():
    weight = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert (BalancedSign()(weight) > 0).sum() == 1


def test_shifting_and_scaling_a_filter_changes_nothing():
    weight = torch.randn(5, 16)
    assert torch.equal(BalancedSign()(weight), BalancedSign()(4 * weight + 3))


def test_a_filter_of_equal_weights_becomes_0_without_nan():
    weight = torch.full((2, 4), 0.3, requires_grad=True)
    found = BalancedSign()(weight)
    found.sum().backward()
    assert found.tolist() == [[0.0] * 4] * 2
    assert bool(weight.grad.isfinite().all())


def test_progress_reaches_every_layer_that_narrows():
    net = nn.Sequential(TanhSign(3), nn.Linear(2, 2), BalancedSign())
    assert [net[0].t, net[2].t] == [0.1, 0.1]
    assert set_progress_(net, 0.5) == 2
    assert [net[0].t, net[2].t] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("layer", [TanhSign(), BalancedSign()])
def test_the_layers_use_their_sharpness(layer):
    x = torch.tensor([[-1.0, -0.5, 0.4, 1.1]], requires_grad=True)
    target = torch.tensor([[1.0, 2.0, -1.0, 0.3]])
    slopes = []
    for t in (0.1, 10.0):
        layer.t = t
        (slope,) = torch.autograd.grad((layer(x) * target).sum(), x)
        slopes.append(slope)
    assert not torch.allclose(*slopes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sharpness(1.5), "progress must be 0 to 1, got 1.5"),
        (lambda: sharpness(float("nan")), "progress"),
        (lambda: tanh_sign(torch.ones(1), 0.0), "t must be above 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
