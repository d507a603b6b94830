"""Quantizers in a network: where they go, calibration, training, copies."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import conv_bn, plain_mlp, plain_net
from effdl.data.digits import small_digits
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.fake import fake_quantize
from effdl.quant.graph import fold_batch_norm, traced
from effdl.quant.grid import affine_grid
from effdl.quant.insert import (
    calibrate_,
    insert_quantizers,
    name_of,
    quantizers_of,
)
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier


def quantized(net, bits=8, *, axis=0):
    """Return a copy with quantizers of so many bits everywhere, not calibrated."""
    return insert_quantizers(
        net,
        weight=lambda name, w: WeightQuantizer(bits, axis=axis),
        activation=lambda name: ActivationQuantizer(Extremes(), bits),
    )


def calibrated(net, x, bits=8):
    """Return such a network that has seen x."""
    result = quantized(net, bits)
    calibrate_(result, [(x, None)])
    return result


class Shortcut(nn.Module):
    """Sums and functions: what is rounded, and what is left to the ReLU after it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        """Return an image."""
        y = self.a(x)
        z = F.relu(y + self.b(F.relu(y)))
        return z + y


def test_a_network_is_rounded_by_the_definition():
    """Weights in each row, and activations after ReLU, at the input and the output."""
    x = torch.rand(50, 6)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    def rounded(t):
        return fake_quantize(t, affine_grid(t.amin(), t.amax(), bits=4))

    def weight(layer):
        scale = layer.weight.abs().amax(1, keepdim=True) / 7
        return (layer.weight / scale).round() * scale

    # Calibration watches the activations with the weights rounded already.
    watched = [x, F.relu(F.linear(x, weight(net[0]), net[0].bias))]
    watched.append(F.linear(watched[1], weight(net[2]), net[2].bias))
    grids = [affine_grid(t.amin(), t.amax(), bits=4) for t in watched]
    value = fake_quantize(x, grids[0])
    value = F.relu(F.linear(value, weight(net[0]), net[0].bias))
    value = fake_quantize(value, grids[1])
    value = fake_quantize(F.linear(value, weight(net[2]), net[2].bias), grids[2])
    torch.testing.assert_close(calibrated(net, x, 4)(x), value)


@pytest.mark.parametrize(
    ("net", "names"),
    [
        (plain_mlp((4, 3, 2)), ["input", "2", "3"]),
        (conv_bn(1, 2, 3).eval(), ["input", "2"]),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Tanh()), ["input", "0"]),
        (
            nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            ["input", "0", "1"],
        ),
        (Shortcut(), ["input", "a", "relu", "b", "relu_1", "add_1"]),
    ],
)
def test_activations_are_rounded_where_a_kernel_puts_them_out(net, names):
    net = fold_batch_norm(net.eval())
    assert list(quantizers_of(quantized(net))) == names


def test_every_convolution_of_a_mobile_network_has_its_quantizers():
    folded = fold_batch_norm(small_mobilenet_v2().eval())
    seen = []
    net = insert_quantizers(
        folded,
        weight=lambda name, w: seen.append((name, w.shape)),
        activation=lambda name: nn.Identity(),
    )
    weighted = {
        name: m.weight.shape
        for name, m in folded.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    }
    assert dict(seen) == weighted
    names = list(quantizers_of(net))
    assert [n for n in names if n.startswith("add")] == ["add", "add_1", "add_2"]
    assert len(names) == 1 + len(weighted) + 3 + 1  # input, sums, the mean


@pytest.mark.parametrize("make", [lambda: plain_net(4), small_mobilenet_v2])
def test_without_quantizers_nothing_changes(make):
    folded, x = fold_batch_norm(make().eval()), torch.rand(3, 1, 16, 16)
    before = copy.deepcopy(folded.state_dict())
    bare = insert_quantizers(
        folded, weight=lambda name, w: None, activation=lambda name: None
    )
    assert torch.equal(bare(x), folded(x))
    assert quantizers_of(bare) == {}
    net = calibrated(folded, x)
    assert torch.equal(bare(x), folded(x))  # that a third was made touched neither
    assert list(before) == list(folded.state_dict())
    assert all(torch.equal(before[n], t) for n, t in folded.state_dict().items())
    assert not torch.equal(net(x), folded(x))


def test_layers_can_have_different_bits_by_name():
    net = insert_quantizers(
        plain_mlp((4, 3, 2)),
        weight=lambda name, w: None if name == "1" else WeightQuantizer(2),
        activation=lambda name: None if name != "2" else nn.Sigmoid(),
    )
    x = torch.rand(2, 4)
    hidden = F.relu(net.get_submodule("1")(x)).sigmoid()
    torch.testing.assert_close(net(x), net.get_submodule("3")(hidden))
    assert set(quantizers_of(net)) == {"2"}
    assert all(len(row.unique()) <= 3 for row in net.get_submodule("3").weight)


def test_a_layer_that_is_called_twice_has_one_quantizer_of_its_weight():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            """Return what the layer makes of its own output."""
            return self.layer(self.layer(x))

    net = quantized(Twice())
    assert len(net.layer.parametrizations.weight) == 1


def test_calibration_sees_the_extremes_of_all_batches():
    net = plain_net(4).eval()
    folded, x = fold_batch_norm(net), torch.rand(6, 1, 16, 16)
    result = insert_quantizers(
        folded,
        weight=lambda name, w: None,
        activation=lambda name: ActivationQuantizer(Extremes(), 8),
    )
    calibrate_(result, [(x[:2], None), (x[2:], None)])
    values = {}
    for name, layer in folded.named_modules():
        layer.register_forward_hook(lambda m, i, o, n=name: values.update({n: o}))
    folded(x)
    for name, layer in quantizers_of(result).items():
        seen = x if name == "input" else values[name]
        low, high = layer.observer.limits()
        torch.testing.assert_close(low, seen.amin())
        torch.testing.assert_close(high, seen.amax())


@pytest.mark.parametrize("training", [False, True])
def test_calibration_leaves_the_mode_and_then_all_layers_round(training):
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.Linear(4, 2))
    result = quantized(net.train(training))
    calibrate_(result, [(torch.rand(9, 4), None)])
    assert result.training is training
    assert result.get_submodule("1").training is training
    for layer in quantizers_of(result).values():
        assert (layer.observing, layer.quantizing) == (False, True)
    calibrate_(result, [(torch.full((1, 4), 5.0), None)])
    assert quantizers_of(result)["input"].observer.limits()[1] == 5


def test_calibration_sees_the_network_as_it_is_used_in_the_end():
    """Dropout is off, and the activations that are watched are not rounded."""
    net = nn.Sequential(nn.Dropout(0.9), nn.ReLU(), nn.ReLU()).train()
    result = quantized(net, 1)
    x = torch.tensor([[0.1, 0.2, 1.0]])
    calibrate_(result, [(x, None)])
    flags = []
    for layer in quantizers_of(result).values():
        layer.register_forward_hook(
            lambda m, i, o: flags.append((m.observing, m.quantizing))
        )
    calibrate_(result, [(0.4 * x, None)])
    assert set(flags) == {(True, False)}
    assert result.eval()(x).tolist() == [[0, 0, 1]]
    assert quantizers_of(result)["2"].observer.limits()[1] == 1


@pytest.mark.parametrize("copied", ["deepcopy", "state dict"])
def test_a_copy_of_a_quantized_network_puts_out_the_same(copied):
    folded, x = fold_batch_norm(plain_net(4).eval()), torch.rand(5, 1, 16, 16)
    result = calibrated(folded, x, 4)
    if copied == "deepcopy":
        other = copy.deepcopy(result)
    else:
        other = quantized(fold_batch_norm(plain_net(4).eval()), 4)
        other.load_state_dict(result.state_dict())
    assert torch.equal(other(x), result(x))
    before = result(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(result(x), before)


def test_the_gradient_of_training_is_that_of_the_rounded_network():
    """With respect to the weights on the grid, passed straight on to the originals."""
    x = torch.rand(20, 6)
    result = calibrated(plain_mlp((6, 5, 3)), x, 3)
    result(x).square().sum().backward()
    grids = {n: q.grid() for n, q in quantizers_of(result).items()}
    first, last = result.get_submodule("1"), result.get_submodule("3")
    weights = [m.weight.detach().requires_grad_() for m in (first, last)]
    value = fake_quantize(x, grids["input"])
    value = fake_quantize(F.relu(F.linear(value, weights[0], first.bias)), grids["2"])
    value = fake_quantize(F.linear(value, weights[1], last.bias), grids["3"])
    value.square().sum().backward()
    for layer, weight in zip((first, last), weights, strict=True):
        found = layer.parametrizations.weight.original.grad
        torch.testing.assert_close(found, weight.grad)
        assert found.count_nonzero()


def test_training_brings_back_what_rounding_to_two_bits_took():
    data = small_digits(n_train=500)
    with seeded(0):
        net = plain_mlp((144, 32, 10))
    train_classifier(net, data.train, epochs=15)
    result = insert_quantizers(
        net,
        weight=lambda name, w: WeightQuantizer(2),
        activation=lambda name: ActivationQuantizer(Extremes(), 4),
    )
    calibrate_(result, data.train.batches(100))
    before = accuracy(result, data.validation.batches(200))
    train_classifier(result, data.train, epochs=10, learning_rate=0.02)
    assert accuracy(result, data.validation.batches(200)) > before + 0.05


def test_names_are_those_of_layers_and_functions():
    nodes = list(traced(Shortcut()).graph.nodes)
    assert [name_of(n) for n in nodes[:4]] == ["x", "a", "relu", "b"]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"0\.1 is a batch norm; call fold_batch_norm"):
        quantized(nn.Sequential(conv_bn(1, 2, 3)))
    net = quantized(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="batches is empty; calibrate with"):
        calibrate_(net, [])
    with pytest.raises(ValueError, match=re.escape("activation holds 2 NaN")):
        calibrate_(net, [(torch.full((1, 2), torch.nan), None)])
    for layer in quantizers_of(net).values():
        layer.quantizing, layer.observing = True, False
    with pytest.raises(ValueError, match="nothing was observed yet; run batches"):
        net(torch.zeros(1, 2))
