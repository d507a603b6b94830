"""BinaryConnect: a step by hand, the clip, the three weights, sums for products."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.binarize import coin_sign, sign
from effdl.quant.binary_connect import (
    BinaryWeight,
    binarize_weights_,
    clip_weights_,
    rate_groups,
    sums_minus_sums,
    weights_as,
)
from effdl.quant.insert import insert_quantizers
from effdl.quant.straight_signs import clipped_coin, straight_sign
from effdl.train import fit


def made(how=straight_sign):
    """Return a net with batch norm whose two linear layers are binary."""
    first, second = nn.Linear(6, 16, bias=False), nn.Linear(16, 3, bias=False)
    norms = nn.BatchNorm1d(16), nn.BatchNorm1d(3)
    net = nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1])
    binarize_weights_(net, ["0.weight", "3.weight"], how)
    return net


def real(layer):
    return layer.parametrizations.weight.original


def test_a_step_moves_the_real_weights_by_the_slope_of_the_binary_ones():
    layer, x = nn.Linear(5, 3, bias=False), torch.randn(7, 5)
    binarize_weights_(layer, ["weight"])
    before = real(layer).detach().clone()
    binary = sign(before).requires_grad_()
    (g,) = torch.autograd.grad((x @ binary.T).square().sum(), binary)
    sgd = torch.optim.SGD(layer.parameters(), 0.05)
    layer(x).square().sum().backward()
    sgd.step()
    clip_weights_(layer)
    torch.testing.assert_close(real(layer).detach(), (before - 0.05 * g).clamp(-1, 1))
    assert (real(layer).abs() == 1).any()
    assert (real(layer).abs() < 1).any()


def test_by_hand():
    """W = 0.3 computes as 1: L = (2 * 1 - 5)^2, slope 2 * (-3) * 2, W = 0.3 + 0.12."""
    layer = nn.Linear(1, 1, bias=False)
    binarize_weights_(layer, ["weight"])
    real(layer).data.fill_(0.3)
    sgd = torch.optim.SGD(layer.parameters(), 0.01)
    (layer(torch.tensor([2.0])) - 5).square().sum().backward()
    sgd.step()
    assert math.isclose(real(layer).item(), 0.42, rel_tol=1e-6)


def test_the_rates_are_those_of_glorot_s_coefficient():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    binarize_weights_(net, ["0.weight", "2.weight"])
    others, conv, linear = rate_groups(net, 0.01)
    assert conv["params"][0] is real(net[0])
    assert [tuple(p.shape) for p in others["params"]] == [(4,), (2,)]
    assert math.isclose(conv["lr"], 0.01 / math.sqrt(1.5 / (9 * 2 + 9 * 4)))
    assert math.isclose(linear["lr"], 0.01 / math.sqrt(1.5 / 6))
    squared = rate_groups(net, 0.01, power=2)[2]["lr"]
    assert math.isclose(squared, 0.01 / (1.5 / 6))
    assert others["lr"] == 0.01


@pytest.mark.parametrize("how", [straight_sign, clipped_coin])
def test_it_learns_and_the_real_weights_stay_within_1(how):
    net, x = made(how), torch.randn(256, 6)
    y = (x @ sign(torch.randn(6, 3))).argmax(dim=1)
    adam = torch.optim.Adam(rate_groups(net, 0.01))
    largest = []

    def after_step():
        clip_weights_(net)
        largest.append(max(real(net[i]).abs().max().item() for i in (0, 3)))

    batches = [(x, y)] * 20
    losses = fit(
        net,
        lambda a, b: F.cross_entropy(net(a), b),
        batches,
        adam,
        epochs=4,
        after_step=after_step,
    )
    assert losses[-1] < 0.75 * losses[0]
    assert max(largest) == 1  # the clip was at work


def test_three_weights_give_three_networks_and_all_is_as_before():
    net, x = made().eval(), torch.randn(9, 6)
    real(net[0]).data.uniform_(-1, 1)
    before = net(x)
    found = {}
    for name, how in {"real": torch.clone, "sign": sign, "coin": coin_sign}.items():
        with weights_as(net, how):
            found[name] = net(x)
    assert torch.equal(found["sign"], before)
    assert not torch.allclose(found["real"], before)
    assert not torch.allclose(found["coin"], before)
    assert torch.equal(net(x), before)


def test_the_weights_come_back_after_an_error():
    net = made()
    with pytest.raises(RuntimeError), weights_as(net, torch.clone):
        raise RuntimeError
    assert net[0].weight.abs().eq(1).all()


def test_coins_are_thrown_anew_in_every_pass():
    net = made(clipped_coin)
    assert not torch.equal(net[0].weight, net[0].weight)
    real(net[0]).data.fill_(1.0)
    assert torch.equal(net[0].weight, net[0].weight)


def test_only_real_weights_behind_binary_ones_are_clipped():
    layer = nn.Linear(2, 2)
    binarize_weights_(layer, ["weight"])
    layer.bias.data.fill_(5.0)
    real(layer).data.fill_(-5.0)
    clip_weights_(layer)
    assert layer.bias.tolist() == [5, 5]
    assert real(layer).unique().tolist() == [-1]
    other = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    other.parametrizations.weight.original0.data.fill_(3.0)
    clip_weights_(other)
    assert other.parametrizations.weight.original0.unique().tolist() == [3]


def test_a_product_with_signs_is_a_sum_minus_a_sum():
    x, signs = torch.randint(-99, 99, (5, 40)), sign(torch.randn(7, 40)).long()
    assert torch.equal(sums_minus_sums(x, signs), x @ signs.T)


def test_the_inserter_of_quantizers_takes_it_and_leaves_the_ends_alone():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
    quantized = insert_quantizers(
        net,
        weight=lambda name, w: BinaryWeight() if name == "2" else None,
        activation=lambda name: None,
    )
    assert quantized.get_submodule("2").weight.abs().unique().tolist() == [1]
    assert torch.equal(quantized.get_submodule("0").weight, net[0].weight)
    assert torch.equal(quantized.get_submodule("3").weight, net[3].weight)
    clip_weights_(quantized)


def test_bad_input_is_refused():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"names has nothing; it has weight, bias"):
        binarize_weights_(layer, [])
    with pytest.raises(ValueError, match=r"names has \['w'\], which the model"):
        binarize_weights_(layer, ["weight", "w"])
    assert type(layer) is nn.Linear
    with pytest.raises(ValueError, match="signs must hold"):
        sums_minus_sums(torch.ones(1, 2), torch.tensor([[1.0, 0.0]]))
