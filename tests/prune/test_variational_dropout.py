"""Sparse variational dropout: the KL against its definition, the noise, the masks."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import weights_of
from effdl.prune.variational_dropout import (
    NoisyLayer,
    kl_divergence,
    kl_of,
    log_alpha,
    noise_masks,
    noisy,
    without_noise,
)

LIMIT = (math.log(2) + np.euler_gamma) / 2  # -E log |e| for e from N(0, 1)


def true_kl(value):
    """Integrate log |1 + sqrt(alpha) x| over the normal density; by parts around 0."""
    root = math.exp(value / 2)

    def integrand(x):
        inside = abs(1 + root * x)
        if inside == 0:
            return 0.0
        return math.log(inside) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    cuts = sorted({-12.0, max(-1 / root, -12.0), 0.0, 12.0})
    parts = [integrate.quad(integrand, a, b)[0] for a, b in pairwise(cuts)]
    return LIMIT - value / 2 + sum(parts)


@pytest.mark.parametrize("value", [-8.0, -4.0, -2.0, 0.0, 2.0, 5.0, 8.0])
def test_the_fit_is_within_a_hundredth_of_the_integral(value):
    fit = kl_divergence(torch.tensor(value)).item()
    assert fit == pytest.approx(true_kl(value), abs=0.0095)


@pytest.mark.parametrize("value", [-4.0, -2.0, 0.0, 2.0])
def test_the_fit_is_within_a_hundredth_of_a_million_draws(value):
    """The standard error of the mean of log |e| is about .001."""
    alpha = math.exp(value)
    e = 1 + math.sqrt(alpha) * torch.randn(1_000_000, dtype=torch.float64)
    drawn = LIMIT - value / 2 + e.abs().log().mean().item()
    assert kl_divergence(torch.tensor(value)).item() == pytest.approx(drawn, abs=0.0135)


def test_the_integral_is_what_was_drawn_by_others():
    """Rounded values of four million draws, given with the task."""
    for value, told in ((-4.0, 2.626), (-2.0, 1.544), (0.0, 0.426), (2.0, 0.066)):
        assert true_kl(value) == pytest.approx(told, abs=0.0015)


def test_the_fit_falls_with_alpha_from_its_slope_of_a_half_to_0():
    values = torch.linspace(-8, 8, 200, dtype=torch.float64, requires_grad=True)
    kl = kl_divergence(values)
    kl.sum().backward()
    assert (kl.diff() < 0).all()
    assert values.grad[0].item() == pytest.approx(-0.5, abs=1e-3)
    assert values.grad[-1].item() == pytest.approx(0, abs=1e-3)
    assert kl[-1].item() == pytest.approx(0, abs=1e-3)
    assert pytest.approx(LIMIT, abs=1e-3) == 0.63576


def test_alpha_is_the_variance_over_the_squared_mean_within_limits():
    theta = torch.tensor([2.0, -0.5, 0.0, 100.0])
    found = log_alpha(theta, torch.tensor([-1.0, -1.0, -1.0, -10.0]))
    assert found[0].item() == pytest.approx(-1 - math.log(4))
    assert found[1].item() == pytest.approx(-1 - math.log(0.25))
    assert found[2:].tolist() == [8.0, -8.0]


def with_variances(layer):
    """Return the layer after its variances were set to random ones."""
    with torch.no_grad():
        layer.log_variance.normal_(mean=-2.0)
    return layer


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 3), (6,)),
        (nn.Linear(6, 3, bias=False), (6,)),
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 5, 5)),
    ],
)
def test_outputs_have_the_mean_and_variance_that_drawn_weights_would_give(layer, shape):
    """4,000 draws of the weights against as many of the outputs, for one input."""
    n, x = 4000, torch.randn(1, *shape)
    made = with_variances(NoisyLayer(layer))
    theta, sigma = layer.weight.detach(), (made.log_variance / 2).exp().detach()
    by_weights = []
    with torch.no_grad():
        for _ in range(n):
            drawn = theta + sigma * torch.randn_like(theta)
            by_weights.append(
                torch.func.functional_call(layer, {"weight": drawn}, (x,))[0]
            )
        by_outputs = made(x.expand(n, *shape))
    weights = torch.stack(by_weights)
    near = 5 * weights.std(0).max().item() / math.sqrt(n)
    torch.testing.assert_close(by_outputs.mean(0), weights.mean(0), atol=near, rtol=0)
    torch.testing.assert_close(by_outputs.std(0), weights.std(0), atol=near, rtol=0.05)


def test_every_output_has_noise_of_its_own():
    made = with_variances(NoisyLayer(nn.Linear(6, 3)))
    y = made(torch.ones(4, 6))
    assert len(y.unique()) == 12


def test_with_alpha_near_0_the_network_is_the_one_without_noise():
    net = plain_mlp((6, 5, 4))
    made = noisy(net, log_variance=-60.0)
    x = torch.randn(7, 6)
    torch.testing.assert_close(made(x), net(x), atol=2e-3, rtol=0)
    torch.testing.assert_close(made.eval()(x), net(x))


def test_evaluation_leaves_out_the_weights_above_the_threshold_and_has_no_noise():
    """Log alpha = -2 - 2 log |theta|: 2.6 for .1 and 4.4 for .04."""
    layer = nn.Linear(3, 1)
    layer.weight.data.copy_(torch.tensor([[1.0, 0.1, 0.04]]))
    made = NoisyLayer(layer, log_variance=-2.0).eval()
    x = torch.randn(5, 3)
    expected = x @ torch.tensor([[1.0], [0.1], [0.0]]) + layer.bias
    torch.testing.assert_close(made(x), expected)
    assert made.mask().tolist() == [[True, True, False]]
    lower = NoisyLayer(layer, log_variance=-2.0, threshold=2.0)
    assert lower.mask().tolist() == [[True, False, False]]


def test_without_noise_the_network_computes_what_it_did_in_evaluation():
    net = noisy(plain_net(2)).eval()
    for module in net.modules():
        if isinstance(module, NoisyLayer):
            with_variances(module)
    plain, masks, x = without_noise(net), noise_masks(net), torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(plain(x), net(x))
    assert list(plain.state_dict()) == list(plain_net(2).state_dict())
    for name, weight in weights_of(plain).items():
        assert torch.equal(masks[name], weight != 0)
        assert 0 < masks[name].float().mean() < 1
    prune_(plain, masks)
    assert set(masks_of(plain)) == set(masks)


def test_the_network_that_is_given_is_left_as_it_is():
    net = plain_mlp((4, 3, 2))
    before = {name: p.clone() for name, p in net.state_dict().items()}
    made = noisy(net, log_variance=2.0)
    weights = made[1].layer.weight.clone()
    without_noise(made)
    assert all(torch.equal(before[name], p) for name, p in net.state_dict().items())
    assert torch.equal(made[1].layer.weight, weights)


def test_the_price_is_the_sum_over_all_weights():
    net = noisy(plain_mlp((4, 3, 2)))
    layers = [m for m in net.modules() if isinstance(m, NoisyLayer)]
    total = 0.0
    for layer in layers:
        means, variances = layer.layer.weight.flatten(), layer.log_variance.flatten()
        for mean, variance in zip(means, variances, strict=True):
            total += kl_divergence(log_alpha(mean, variance)).item()
    assert kl_of(net).item() == pytest.approx(total, rel=1e-5)
    assert noisy(nn.Linear(2, 2)).threshold == 3.0


def test_the_price_alone_makes_all_weights_noise():
    net = noisy(nn.Linear(5, 4), log_variance=-3.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    first = kl_of(net).item()
    for _ in range(100):
        optimizer.zero_grad()
        kl_of(net).backward()
        optimizer.step()
    assert kl_of(net).item() < first / 10
    assert not noise_masks(net)["weight"].any()


def test_every_mean_and_variance_gets_a_gradient():
    net = noisy(plain_net(2))
    loss = F.cross_entropy(net(torch.randn(8, 1, 16, 16)), torch.arange(8))
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_an_input_of_zeros_has_a_finite_gradient():
    made = NoisyLayer(nn.Linear(3, 2, bias=False))
    made(torch.zeros(4, 3)).sum().backward()
    assert made.log_variance.grad.isfinite().all()


def test_of_two_inputs_the_useless_one_becomes_noise():
    net = noisy(nn.Linear(2, 1, bias=False), log_variance=-4.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(300):
        x = torch.randn(64, 2)
        loss = (net(x) - x[:, :1]).square().mean() + 0.02 * kl_of(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert noise_masks(net)["weight"].tolist() == [[True, False]]


def test_what_cannot_be_made_noisy_is_refused():
    with pytest.raises(ValueError, match="noisy already"):
        noisy(noisy(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="no linear or convolutional"):
        noisy(nn.ReLU())
    with pytest.raises(ValueError, match="no noisy layer"):
        kl_of(nn.Linear(2, 2))
