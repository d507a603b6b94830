"""Means that quantized weights shift, and biases that put them back."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.bias_correction import channel_means, correct_biases_
from effdl.quant.graph import fold_batch_norm, traced
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


def rounded(net, bits=3, x=None):
    made = insert_quantizers(
        net,
        weight=lambda name, w: WeightQuantizer(bits, axis=None),
        activation=lambda name: (
            None if x is None else ActivationQuantizer(Extremes(), 8)
        ),
    )
    if x is not None:
        calibrate_(made, [(x, None)])
    return made


def test_in_one_linear_layer_it_is_the_error_times_the_mean_input():
    net, x = traced(nn.Sequential(nn.Linear(6, 4))), torch.rand(200, 6)
    quantized = rounded(net)
    error = (
        quantized.get_submodule("0").weight - net.get_submodule("0").weight
    ).detach()
    bias = net.get_submodule("0").bias.detach()
    shift = correct_biases_(quantized, net, [(x, None)])["0"]
    torch.testing.assert_close(shift, error @ x.mean(0))
    torch.testing.assert_close(quantized.get_submodule("0").bias.detach(), bias - shift)


def test_by_hand():
    """Means of (1, 3, 5) and of two images' pixels (0, 2) and (4, 6)."""
    flat = traced(nn.Sequential(nn.Identity()))
    assert channel_means(flat, "0", [(torch.tensor([[1.0], [3], [5]]), None)]) == 3
    images = torch.tensor([[[[0.0, 2.0]]], [[[4.0, 6.0]]]])
    assert channel_means(flat, "0", [(images, None)]).tolist() == [3]


def test_means_weigh_inputs_and_not_batches():
    net = traced(nn.Sequential(nn.Conv2d(1, 3, 3)))
    x = torch.randn(10, 1, 6, 6)
    expected = net(x).mean((0, 2, 3)).double().detach()
    for cuts in ([10], [7, 3], [1] * 10):
        batches = [(part, None) for part in x.split(cuts)]
        torch.testing.assert_close(
            channel_means(net, "0", batches), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("make", [lambda: plain_net(4), small_mobilenet_v2])
def test_afterwards_every_layer_has_its_old_mean(make):
    net = fold_batch_norm(make().eval())
    x = torch.randn(30, 1, 16, 16)
    quantized = rounded(net, 4, x)
    batches = [(x[:20], None), (x[20:], None)]
    names = list(correct_biases_(quantized, net, batches))
    assert len(names) > 5
    for name in names:
        now, then = (channel_means(m, name, batches) for m in (quantized, net))
        torch.testing.assert_close(now, then, rtol=1e-4, atol=1e-5)


def test_layers_are_corrected_one_after_the_other():
    """All at once, the second layer would be corrected for a shift that is gone."""
    net = traced(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    x = torch.rand(100, 4)
    quantized, fresh = rounded(net), rounded(net)
    shifts = correct_biases_(quantized, net, [(x, None)])
    at_once = channel_means(fresh, "2", [(x, None)]) - channel_means(
        net, "2", [(x, None)]
    )
    assert not torch.allclose(shifts["2"].double(), at_once, atol=1e-4)


def test_the_error_of_the_output_shrinks_and_the_weights_stay():
    x, net = torch.rand(60, 1, 16, 16), small_mobilenet_v2()
    with torch.no_grad():
        for _ in range(20):
            net.train()(x)
    net = fold_batch_norm(net.eval())
    quantized = rounded(net, 4, x)
    state = {k: v.clone() for k, v in quantized.state_dict().items()}

    def error():
        with torch.no_grad():
            return float((quantized(x) - net(x)).square().mean())

    before = error()
    correct_biases_(quantized, net, [(x, None)])
    assert error() < 0.5 * before
    for name, value in quantized.state_dict().items():
        assert name.endswith("bias") or torch.equal(value, state[name])


def test_a_layer_without_bias_gets_one():
    net, x = traced(nn.Sequential(nn.Linear(4, 3, bias=False))), torch.rand(50, 4)
    quantized = rounded(net)
    shift = correct_biases_(quantized, net, [(x, None)])["0"]
    torch.testing.assert_close(quantized.get_submodule("0").bias.detach(), -shift)
    assert net.get_submodule("0").bias is None


def test_a_generator_of_batches_is_enough_and_nothing_is_left_behind():
    net, x = traced(nn.Sequential(nn.Linear(4, 3))), torch.rand(50, 4)
    quantized = rounded(net).train()
    correct_biases_(quantized, net, ((part, None) for part in x.split(25)))
    torch.testing.assert_close(quantized(x).mean(0), net(x).mean(0))
    assert quantized.training
    assert not quantized.get_submodule("0")._forward_hooks


def test_means_are_those_of_eval_mode():
    net, x = traced(nn.Sequential(nn.Dropout(), nn.Linear(4, 3))), torch.rand(50, 4)
    expected = net.eval()(x).mean(0).double().detach()
    found = channel_means(net.train(), "1", [(x, None)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_bad_input_is_refused():
    net = traced(nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="batches is empty; take a few hundred inputs"):
        correct_biases_(rounded(net), net, [])
    other = traced(nn.Sequential(nn.ReLU(), nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="model has no layer 1; is it of another"):
        correct_biases_(rounded(other), net, [(torch.rand(2, 4), None)])
