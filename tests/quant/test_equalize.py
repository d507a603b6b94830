"""Equal ranges, the same function; and imbalance that is put in and taken out."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.channel_scales import (
    channel_ranges,
    consecutive_layers,
    input_ranges,
    relu6_to_relu,
)
from effdl.quant.equalize import equalize_, inject_imbalance_
from effdl.quant.graph import fold_batch_norm, traced
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.seed import seeded


def two_layers():
    return traced(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


def folded(net):
    """Return it after batch norm has seen noise, without ReLU6."""
    with torch.no_grad():
        for _ in range(20):
            net.train()(torch.randn(20, 1, 12, 12))
    return relu6_to_relu(fold_batch_norm(net.eval()))


def test_one_round_is_the_formula():
    net = two_layers()
    (pair,) = consecutive_layers(net)
    w1, b1 = pair.first.weight.detach().clone(), pair.first.bias.detach().clone()
    w2 = pair.second.weight.detach().clone()
    equalize_(net, rounds=1)
    for i in range(8):
        r1, r2 = w1[i].abs().max(), w2[:, i].abs().max()
        s = (r1 * r2).sqrt() / r2
        torch.testing.assert_close(pair.first.weight[i], w1[i] / s)
        torch.testing.assert_close(pair.first.bias[i], b1[i] / s)
        torch.testing.assert_close(pair.second.weight[:, i], w2[:, i] * s)


def test_by_hand():
    """Ranges 8 and 2: s = 4 / 2 = 2, and both become 4."""
    net = traced(nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)))
    (pair,) = consecutive_layers(net)
    nn.init.constant_(pair.first.weight, -8)
    nn.init.constant_(pair.second.weight, 2)
    equalize_(net, rounds=1)
    assert (pair.first.weight.item(), pair.second.weight.item()) == (-4, 4)


@pytest.mark.parametrize("make", [lambda: plain_net(4), small_mobilenet_v2])
def test_the_function_stays_and_ranges_meet(make):
    net = folded(make()).double()
    x = torch.randn(6, 1, 16, 16).double()
    before = net(x)
    inject_imbalance_(net)
    torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    equalize_(net, rounds=60)
    torch.testing.assert_close(net(x), before, rtol=1e-9, atol=1e-9)
    for _, first, second in consecutive_layers(net):
        torch.testing.assert_close(
            channel_ranges(first), input_ranges(second), rtol=1e-4, atol=1e-9
        )


def test_what_was_injected_is_taken_out_again():
    net = folded(plain_net(4))
    even, uneven = traced(net), traced(net)
    inject_imbalance_(uneven, octaves=4)
    for made in (even, uneven):
        equalize_(made, rounds=60)
    for a, b in zip(even.parameters(), uneven.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_no_other_factors_make_the_product_of_precisions_larger():
    """Precision of a channel: its range over that of the whole weight."""

    def objective(net):
        (pair,) = consecutive_layers(net)
        r1, r2 = channel_ranges(pair.first), input_ranges(pair.second)
        return float((r1 / r1.max() * r2 / r2.max()).sum())

    net = two_layers()
    equalize_(net)
    best = objective(net)
    for _ in range(200):
        other = traced(net)
        inject_imbalance_(other, octaves=1)
        assert objective(other) <= best * (1 + 1e-5)


def test_factors_are_powers_of_2_of_all_octaves():
    net = traced(nn.Sequential(nn.Linear(1, 500), nn.ReLU(), nn.Linear(500, 1)))
    (pair,) = consecutive_layers(net)
    before = pair.first.weight.detach().clone()
    inject_imbalance_(net, octaves=2)
    ratio = (pair.first.weight / before).flatten().detach()
    assert set(ratio.tolist()) == {0.25, 0.5, 1.0, 2.0, 4.0}


def test_the_draw_is_that_of_the_seed():
    nets = [two_layers() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for net in nets:
        with seeded(3):
            inject_imbalance_(net)
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a, b)


def test_channels_of_zeros_stay():
    net = two_layers()
    (pair,) = consecutive_layers(net)
    with torch.no_grad():
        pair.first.weight[2] = 0
        pair.second.weight[:, 4] = 0
    bias, kept = pair.first.bias[2].item(), pair.first.weight[4].tolist()
    equalize_(net)
    assert pair.first.bias[2].item() == bias
    assert pair.first.weight[4].tolist() == kept
    assert all(bool(p.isfinite().all()) for p in net.parameters())


def test_with_one_scale_8_bits_break_under_imbalance_and_are_repaired():
    def error(net):
        quantized = insert_quantizers(
            net,
            weight=lambda name, w: WeightQuantizer(8, axis=None),
            activation=lambda name: ActivationQuantizer(Extremes(), 8),
        )
        calibrate_(quantized, [(x, None)])
        with torch.no_grad():
            return float((quantized(x) - net(x)).square().mean() / net(x).var(0).mean())

    net = folded(plain_net(4))
    x = torch.randn(50, 1, 12, 12)
    usual = error(net)
    inject_imbalance_(net, octaves=4)
    broken = error(net)
    equalize_(net)
    assert usual < 0.02
    assert broken > 20 * usual
    assert error(net) < 2 * usual


def test_bad_input_is_refused():
    for change in (equalize_, inject_imbalance_):
        with pytest.raises(
            ValueError, match="model has no two layers with nothing but"
        ):
            change(traced(nn.Sequential(nn.Linear(2, 2), nn.ReLU6(), nn.Linear(2, 2))))
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        equalize_(two_layers(), rounds=0)
    with pytest.raises(ValueError, match="octaves must be at least 1, got 0"):
        inject_imbalance_(two_layers(), octaves=0)
