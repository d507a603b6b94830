"""Folding while training: what becomes of a network, before, during and afterwards."""

import pytest
import torch
from torch import nn

from effdl.blocks import conv_bn, plain_net
from effdl.data.digits import Split
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.folded_conv import FoldedConv2d
from effdl.quant.folded_training import (
    finish_folding_,
    fold_in_training,
    freeze_statistics_,
)
from effdl.quant.graph import check_folded, fold_batch_norm
from effdl.quant.insert import insert_quantizers
from effdl.quant.moving_ranges import moving_ranges
from effdl.quant.observers import MovingAverage
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.train import train_classifier


def quantize_all(model, bits=8, axis=0):
    return insert_quantizers(
        model,
        weight=lambda name, w: WeightQuantizer(bits, axis=axis),
        activation=lambda name: ActivationQuantizer(MovingAverage(0.9), bits),
    )


def images(n=40):
    return Split(torch.randn(n, 1, 16, 16), torch.arange(n) % 10)


def test_without_rounding_a_network_computes_and_trains_as_before():
    net = plain_net(2)
    folding, x = fold_in_training(net), torch.randn(8, 1, 16, 16)
    torch.testing.assert_close(folding(x), net(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folding.eval()(x), net.eval()(x), rtol=1e-4, atol=1e-4)


def test_a_network_with_shortcuts_and_depthwise_layers_has_no_batch_norm_left():
    net = small_mobilenet_v2()
    folding, x = fold_in_training(net).eval(), torch.randn(4, 1, 16, 16)
    check_folded(folding)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert sum(isinstance(m, FoldedConv2d) for m in folding.modules()) == norms > 10
    torch.testing.assert_close(folding(x), net.eval()(x), rtol=1e-4, atol=1e-4)
    count = sum(p.numel() for p in net.parameters())
    assert sum(p.numel() for p in folding.parameters()) == count


def test_quantizers_are_called_with_the_folded_weight():
    net, seen = conv_bn(1, 3, 3), {}
    with torch.no_grad():
        net[1].running_var.fill_(4)
        net[1].eps = 0.0

    def remember(name, weight):
        seen[name] = weight.detach()

    insert_quantizers(
        fold_in_training(net), weight=remember, activation=lambda name: None
    )
    torch.testing.assert_close(seen["0"], net[0].weight.detach() / 2)


def test_finished_it_is_an_ordinary_folded_network_that_computes_the_same():
    net, x = plain_net(2), torch.randn(8, 1, 16, 16)
    quantized = quantize_all(fold_in_training(net), bits=4)
    with moving_ranges(quantized, delay=1) as after_step:
        train_classifier(quantized, images(), epochs=2, after_step=after_step)
    quantized.eval()
    before = quantized(x)
    finish_folding_(quantized)
    assert not any(isinstance(m, FoldedConv2d) for m in quantized.modules())
    torch.testing.assert_close(quantized(x), before, rtol=1e-3, atol=1e-3)
    for layer in quantized.modules():
        if isinstance(layer, nn.Conv2d):
            assert isinstance(layer.parametrizations.weight[0], WeightQuantizer)
            assert len(layer.weight[0].unique()) <= 15


def test_at_once_finished_it_is_what_folding_afterwards_gives():
    net, x = plain_net(2), torch.randn(8, 1, 16, 16)
    net(x)
    folding = fold_in_training(net.eval())
    learning = [m for m in folding.modules() if isinstance(m, FoldedConv2d)]
    assert not any(layer.training or layer.norm.training for layer in learning)
    finish_folding_(folding)
    torch.testing.assert_close(folding(x), net(x), rtol=1e-4, atol=1e-4)
    after = fold_batch_norm(net)
    assert folding.state_dict().keys() == after.state_dict().keys()
    for name, value in folding.state_dict().items():
        torch.testing.assert_close(value, after.state_dict()[name])


def test_frozen_all_statistics_stand_still_and_training_goes_on():
    quantized = quantize_all(fold_in_training(plain_net(2)))
    with moving_ranges(quantized):
        train_classifier(quantized, images(), epochs=1)
        freeze_statistics_(quantized)
        norms = [m.norm for m in quantized.modules() if isinstance(m, FoldedConv2d)]
        before = [(n.mean.clone(), n.gamma.detach().clone()) for n in norms]
        train_classifier(quantized, images(), epochs=1)
    assert all(n.frozen for n in norms)
    for norm, (mean, gamma) in zip(norms, before, strict=True):
        assert torch.equal(norm.mean, mean)
        assert not torch.equal(norm.gamma, gamma)


def test_at_16_bits_training_is_that_of_floats():
    net, split = plain_net(2), images()
    folding = fold_in_training(net)
    quantized = quantize_all(folding, bits=16, axis=None)
    floats = train_classifier(folding, split, epochs=2, batch_size=20)
    with moving_ranges(quantized):
        rounded = train_classifier(quantized, split, epochs=2, batch_size=20)
    assert rounded == pytest.approx(floats, abs=1e-3)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.BatchNorm2d(1)),
    ],
)
def test_a_batch_norm_without_a_convolution_of_its_own_is_refused(net):
    with pytest.raises(ValueError, match="which is no convolution of its own"):
        fold_in_training(net)
