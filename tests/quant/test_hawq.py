"""HAWQ-V2: traces, and when the sensitivity is exact."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.gradient.hessian import hessian_product
from effdl.quant.hawq import exact_trace, hutchinson, layer_traces, sensitivities
from effdl.quant.quantizers import WeightQuantizer


def small_net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def batch():
    return torch.randn(20, 3).double(), torch.arange(20) % 3


def test_the_exact_trace_is_that_of_the_whole_hessian():
    matrix = torch.randn(6, 6)
    x = torch.randn(2, 3, requires_grad=True)
    loss = x.flatten() @ matrix @ x.flatten()
    trace = exact_trace(hessian_product(loss, x), x)
    torch.testing.assert_close(trace, (matrix + matrix.T).trace())


def test_the_trace_of_a_layer_is_that_of_its_block_of_the_hessian():
    net, (inputs, targets) = small_net(), batch()
    weight = net[2].weight

    def loss_of(w):
        hidden = net[1](net[0](inputs))
        return F.cross_entropy(F.linear(hidden, w, net[2].bias), targets)

    block = torch.autograd.functional.hessian(loss_of, weight.detach())
    expected = block.reshape(12, 12).trace() / 12
    loss = F.cross_entropy(net(inputs), targets)
    exact = exact_trace(hessian_product(loss, weight), weight) / 12
    torch.testing.assert_close(exact, expected)
    seen = layer_traces(net, (inputs, targets), draws=400)
    assert list(seen) == ["0", "2"]
    assert seen["2"] == pytest.approx(float(expected), rel=0.1)


def test_hutchinson_is_right_on_average_with_the_variance_of_the_text():
    half = torch.randn(5, 5)
    matrix = half + half.T
    draws = hutchinson(lambda v: matrix @ v, torch.zeros(5), 20_000)
    off = matrix - matrix.diag().diag()
    variance = 2 * off.square().sum()
    error = (variance / 20_000).sqrt()
    assert abs(draws.mean() - matrix.trace()) < 4 * error
    torch.testing.assert_close(draws.var(), variance, rtol=0.1, atol=0.0)


def test_a_diagonal_matrix_needs_one_draw():
    scales = torch.rand(4, 5)
    [draw] = hutchinson(lambda v: scales * v, scales, 1)
    torch.testing.assert_close(draw, scales.sum())


def test_half_the_sensitivity_is_the_loss_when_the_hessian_is_a_multiple_of_1():
    """Loss c/2 |W - W0|^2 has H = c I; rounding W0 costs c/2 |Q(W0) - W0|^2."""
    layer, c = nn.Linear(6, 3, bias=False).double(), 0.7
    start = layer.weight.detach().clone()

    def loss_of(weight):
        return c / 2 * (weight - start).square().sum()

    product = hessian_product(loss_of(layer.weight), layer.weight)
    trace = float(exact_trace(product, layer.weight)) / start.numel()
    assert trace == pytest.approx(c)
    quantizers = [WeightQuantizer(bits) for bits in (2, 4, 8)]
    [omegas] = sensitivities(nn.Sequential(layer), {"0": trace}, quantizers)
    costs = [float(loss_of(q(start))) for q in quantizers]
    assert [omega / 2 for omega in omegas] == pytest.approx(costs)


def test_a_rotated_error_costs_half_of_omega_on_average():
    """For any H, over errors d of one length that point anywhere."""
    half = torch.randn(4, 4)
    matrix = half @ half.T
    d = torch.randn(100_000, 4)
    d = 0.3 * d / d.norm(dim=1, keepdim=True)
    costs = 0.5 * torch.einsum("ni,ij,nj->n", d, matrix, d)
    omega = matrix.trace() / 4 * 0.3**2
    torch.testing.assert_close(costs.mean(), omega / 2, rtol=0.02, atol=0.0)


def test_by_hand():
    """(1, 0.25) with 2 bits becomes (1, 0): error 0.0625, times a mean trace of 2."""
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[1.0, 0.25]])
    found = sensitivities(nn.Sequential(layer), {"0": 2.0}, [WeightQuantizer(2)])
    assert found == [[0.125]]


def test_more_bits_are_never_more_sensitive_and_a_negative_trace_counts_as_0():
    net = small_net()
    quantizers = [WeightQuantizer(bits) for bits in (2, 4, 8)]
    first, second = sensitivities(net, {"0": 1.0, "2": -1.0}, quantizers)
    assert first[0] > first[1] > first[2] > 0
    assert second == [0.0, 0.0, 0.0]


def test_the_network_stays_as_it_was():
    net = small_net().train()
    before = [p.detach().clone() for p in net.parameters()]
    layer_traces(net, batch(), draws=1)
    assert net.training
    for old, new in zip(before, net.parameters(), strict=True):
        assert torch.equal(old, new)
        assert new.grad is None


def test_dropout_is_off():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3).double())
    data = batch()
    seen = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            seen.append(layer_traces(net, data, draws=3))
        torch.rand(1)
    loss = F.cross_entropy(net[1](data[0]), data[1])
    weight = net[1].weight
    exact = float(exact_trace(hessian_product(loss, weight), weight)) / 9
    assert seen[0] == seen[1]
    assert layer_traces(net, data, draws=500)["1"] == pytest.approx(exact, rel=0.1)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="must be of layers of the model, got 'x'"):
        sensitivities(small_net(), {"x": 1.0}, [WeightQuantizer(2)])
    with pytest.raises(ValueError, match="draws must be at least 1"):
        hutchinson(lambda v: v, torch.zeros(2), 0)
