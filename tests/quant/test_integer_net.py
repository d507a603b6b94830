"""Whole networks in integers, bit for bit beside a second program without floats.

The second program is written from the arithmetic's definition: Python's own integers
and fractions, loops, no operation of torch. It gets float weights and the grids.
"""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.measure.count import serialized_bytes
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.fake import dequantize, quantize
from effdl.quant.graph import fold_batch_norm, traced
from effdl.quant.grid import Grid
from effdl.quant.insert import calibrate_, insert_quantizers, quantizers_of
from effdl.quant.integer_layers import IntegerLayer
from effdl.quant.integer_net import IntegerNet, stored_bytes, to_integers
from effdl.quant.integer_steps import Step
from effdl.quant.integer_sums import IntegerRescale
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


def prepared(net, x, *, bits=8, axis=0, act_bits=8, symmetric=False):
    """Return the folded network and its quantized form, with uneven batch norms."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.3)
    net.train()
    with torch.no_grad():
        for _ in range(20):
            net(x)
    folded = fold_batch_norm(net.eval())
    quantized = insert_quantizers(
        folded,
        weight=lambda name, w: WeightQuantizer(bits, axis=axis),
        activation=lambda name: ActivationQuantizer(
            Extremes(), act_bits, symmetric=symmetric
        ),
    )
    calibrate_(quantized, [(x, None)])
    return folded, quantized


def high(a, b):
    total = a * b + (2**30 if a * b >= 0 else 1 - 2**30)
    return total // 2**31 if total >= 0 else -(-total // 2**31)


def shift(x, n):
    return (1 if x >= 0 else -1) * ((abs(x) + 2**n // 2) // 2**n)


class Multiplier:
    """M0 and n of an exact fraction, without floats."""

    def __init__(self, m):
        self.n = 0
        while m >= 1:
            m, self.n = m / 2, self.n - 1
        while m < Fraction(1, 2):
            m, self.n = m * 2, self.n + 1
        self.m0 = math.floor(m * 2**31 + Fraction(1, 2))
        if self.m0 == 2**31:
            self.m0, self.n = 2**30, self.n - 1

    def times(self, x):
        """Return x M as gemmlowp has it."""
        return shift(high(x << max(-self.n, 0), self.m0), max(self.n, 0))

    def over(self, count):
        """Return M / count."""
        return Multiplier(Fraction(self.m0) / Fraction(2) ** (31 + self.n) / count)


class Numbers:
    """One image's integers, (C, H, W) of Python's, and the grid they are on."""

    def __init__(self, q, grid):
        self.q, self.grid = q, grid
        self.scale, self.zero = Fraction(grid.scale.item()), int(grid.zero_point)
        self.span = grid.highest - grid.lowest


def put_out(totals, multipliers, grid, ceiling):
    """Multiply channel by channel, add the zero point, limit."""
    low, high_, zero = grid.lowest, grid.highest, int(grid.zero_point)
    if ceiling:
        low = max(low, zero)
        if ceiling / Fraction(grid.scale.item()) < high_ - zero:
            high_ = zero + round(ceiling / Fraction(grid.scale.item()))
    out = np.empty(totals.shape, dtype=object)
    for place in np.ndindex(totals.shape):
        moved = zero + multipliers[place[0]].times(totals[place])
        out[place] = min(max(moved, low), high_)
    return Numbers(out, grid)


def literal_layer(x, layer, grid, *, bits, per_channel, ceiling=None):
    """Convolution or linear layer from float weights, in Python's integers."""
    weight = layer.weight.detach().numpy()
    bias = layer.bias.detach().numpy()
    top = np.float32(2 ** (bits - 1) - 1)
    rows = np.abs(weight.reshape(len(weight), -1))
    largest = rows.max(1) if per_channel else np.full(len(weight), rows.max())
    scales = largest / top
    q = np.rint(weight / scales.reshape([-1] + [1] * (weight.ndim - 1)))
    q = np.vectorize(int, otypes=[object])(q).reshape(len(q), weight.shape[1], -1)
    steps = [Fraction(float(s)) * x.scale for s in scales]
    shifts = [round(Fraction(float(b)) / s) for b, s in zip(bias, steps, strict=True)]
    centred = x.q - x.zero
    if weight.ndim == 2:
        totals = np.array(
            [
                [[sum(w * c for w, c in zip(row[:, 0], centred[:, 0, 0], strict=True))]]
                for row in q
            ],
            dtype=object,
        )
    else:
        totals = convolved(centred, q, layer)
    for channel, value in enumerate(shifts):
        totals[channel] += value
    assert max(abs(t) for t in totals.flat) < 2**31
    target = Fraction(grid.scale.item())
    return put_out(totals, [Multiplier(s / target) for s in steps], grid, ceiling)


def convolved(centred, q, layer):
    k, step, pad = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    channels, height, width = centred.shape
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad), dtype=object)
    padded[:, pad : pad + height, pad : pad + width] = centred
    rows, columns = ((s + 2 * pad - k) // step + 1 for s in (height, width))
    inner, per_group = q.shape[1], len(q) // layer.groups
    totals = np.empty((len(q), rows, columns), dtype=object)
    for o, y, u in product(range(len(q)), range(rows), range(columns)):
        first = o // per_group * inner
        window = padded[
            first : first + inner, y * step : y * step + k, u * step : u * step + k
        ]
        totals[o, y, u] = (window.reshape(-1) * q[o].reshape(-1)).sum()
    return totals


def literal_mean(x, grid):
    count = x.q.shape[1] * x.q.shape[2]
    extra = min(20, 30 - (x.span * count).bit_length())
    totals = (x.q - x.zero).sum((1, 2))[:, None, None] << extra
    m = Multiplier(x.scale / Fraction(grid.scale.item())).over(count << extra)
    return put_out(totals, [m] * len(totals), grid, None)


def literal_addition(a, b, grid):
    coarse = 2 * max(a.scale, b.scale)
    extra = min(20, 30 - max(a.span, b.span).bit_length())
    parts = []
    for x in (a, b):
        m = Multiplier(x.scale / coarse)
        parts.append(np.vectorize(m.times, otypes=[object])((x.q - x.zero) << extra))
    m = Multiplier(coarse / 2**extra / Fraction(grid.scale.item()))
    return put_out(parts[0] + parts[1], [m] * len(a.q), grid, None)


def start(image, grid):
    q = quantize(image, grid)
    return Numbers(np.array(q.tolist(), dtype=object), grid)


def literal_plain_net(net, grids, image, **how):
    x = start(image, grids["input"])
    for i in range(5):
        layer = net.get_submodule(f"{i}.0")
        x = literal_layer(x, layer, grids[f"{i}.2"], ceiling=math.inf, **how)
    x = literal_mean(x, grids["5"])
    return literal_layer(x, net.get_submodule("7"), grids["7"], **how)


def literal_mobilenet(net, shortcuts, grids, image, **how):
    x = start(image, grids["input"])
    find, additions = net.get_submodule, 0
    x = literal_layer(
        x, find("features.0.0"), grids["features.0.2"], ceiling=Fraction(6), **how
    )
    for i, shortcut in enumerate(shortcuts, start=1):
        before, layers = x, find(f"features.{i}.layers")
        for j in range(len(list(layers.children()))):
            name = f"features.{i}.layers.{j}"
            last = f"{name}.2" in grids
            x = literal_layer(
                x,
                find(f"{name}.0"),
                grids[f"{name}.2" if last else f"{name}.0"],
                ceiling=Fraction(6) if last else None,
                **how,
            )
        if shortcut:
            name = "add" if additions == 0 else f"add_{additions}"
            x, additions = literal_addition(before, x, grids[name]), additions + 1
    last = len(shortcuts) + 1
    x = literal_layer(
        x,
        find(f"features.{last}.0"),
        grids[f"features.{last}.2"],
        ceiling=Fraction(6),
        **how,
    )
    x = literal_mean(x, grids["classifier.0"])
    return literal_layer(x, find("classifier.3"), grids["classifier.3"], **how)


@pytest.mark.parametrize(
    ("bits", "axis"), [(8, 0), (8, None), (4, 0)], ids=["channel", "tensor", "4 bits"]
)
def test_a_plain_network_is_bit_for_bit_the_second_program(bits, axis):
    x = torch.randn(30, 1, 12, 12)
    folded, quantized = prepared(plain_net(4), x, bits=bits, axis=axis)
    integers = to_integers(quantized)
    logits = integers(quantize(x[:3], integers.source))
    for image, found in zip(x, logits, strict=False):
        expected = literal_plain_net(
            folded, integers.grids, image, bits=bits, per_channel=axis == 0
        )
        assert found.tolist() == expected.q.flatten().tolist()


@pytest.mark.parametrize("symmetric", [False, True])
def test_depthwise_layers_and_shortcuts_are_bit_for_bit_the_second_program(symmetric):
    x = torch.randn(30, 1, 16, 16)
    net = small_mobilenet_v2()
    shortcuts = [block.has_shortcut for block in list(net.features)[1:-1]]
    assert shortcuts == [False, True, False, True, True]
    folded, quantized = prepared(net, x, symmetric=symmetric)
    integers = to_integers(quantized)
    logits = integers(quantize(x[:3], integers.source))
    for image, found in zip(x, logits, strict=False):
        expected = literal_mobilenet(
            folded, shortcuts, integers.grids, image, bits=8, per_channel=True
        )
        assert found.tolist() == expected.q.flatten().tolist()


def test_a_perceptron_begins_with_flatten_and_has_no_image():
    x = torch.rand(40, 1, 4, 4)
    _, quantized = prepared(plain_mlp([16, 8, 3]), x)
    integers = to_integers(quantized)
    assert list(integers.grids) == ["input", "0", "2", "3"]
    found = dequantize(integers(quantize(x, integers.source)), integers.target)
    step = integers.target.scale.item()
    assert float((found - quantized(x).detach()).abs().max()) <= 1.01 * step


def test_there_are_no_floats_on_the_way():
    x = torch.randn(10, 1, 8, 8)
    _, quantized = prepared(plain_net(2), x)
    integers = to_integers(quantized)
    results = integers.activations(quantize(x, integers.source))
    assert {q.dtype for q in results.values()} == {torch.int32}
    stored = [*integers.state_dict().values()]
    assert stored
    assert not any(tensor.is_floating_point() for tensor in stored)
    assert not list(integers.parameters())


def test_names_and_grids_are_those_of_the_quantizers():
    x = torch.randn(10, 1, 8, 8)
    _, quantized = prepared(plain_net(2), x)
    integers = to_integers(quantized)
    for name, quantizer in quantizers_of(quantized).items():
        assert torch.equal(integers.grids[name].scale, quantizer.grid().scale)
    assert integers.source is integers.grids["input"]
    assert integers.target is integers.grids["7"]


def test_the_quantized_network_stays_as_it_is():
    x = torch.randn(10, 1, 8, 8)
    _, quantized = prepared(plain_net(2), x)
    before, code = quantized(x), quantized.code
    to_integers(quantized)
    assert torch.equal(quantized(x), before)
    assert quantized.code == code


def test_its_bytes_are_those_of_the_formula_and_nearly_a_quarter():
    """A byte for a weight; for a channel 4 for the bias, 4 for M0, 1 for the shift."""
    x = torch.randn(10, 1, 8, 8)
    ratios = []
    for width in (2, 16):
        folded, quantized = prepared(plain_net(width), x)
        integers = to_integers(quantized)
        layers = [m for m in integers.modules() if isinstance(m, IntegerLayer)]
        weights = sum(layer.weight.numel() for layer in layers)
        channels = sum(len(layer.bias) for layer in layers)
        mean = 5
        assert stored_bytes(integers) == weights + 9 * channels + mean
        assert stored_bytes(folded) == 4 * (weights + channels)
        ratios.append(stored_bytes(folded) / stored_bytes(integers))
    assert ratios[0] < ratios[1]
    assert 3.8 < ratios[1] < 4
    overhead = serialized_bytes(integers) - stored_bytes(integers)
    assert 0 < overhead < 20_000


def test_above_8_bits_weights_take_two_bytes():
    x = torch.randn(10, 1, 8, 8)
    _, quantized = prepared(plain_net(2), x, bits=9)
    layers = [
        m for m in to_integers(quantized).modules() if isinstance(m, IntegerLayer)
    ]
    assert {layer.weight.dtype for layer in layers} == {torch.int16}


def test_more_bits_come_nearer_to_the_float_network():
    x = torch.randn(60, 1, 8, 8)
    errors = []
    for bits in (4, 8, 12):
        torch.manual_seed(0)
        folded, quantized = prepared(plain_net(4), x, bits=bits, act_bits=bits)
        integers = to_integers(quantized)
        found = dequantize(integers(quantize(x, integers.source)), integers.target)
        errors.append(float((found - folded(x).detach()).abs().mean()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), r"1 is Tanh\(\), for which there"),
        (nn.Sequential(nn.Hardswish(), nn.Linear(4, 4)), r"0 is Hardswish\(\), for"),
        (nn.Sequential(nn.BatchNorm1d(4)), "0 is a batch norm; call fold_batch_norm"),
    ],
)
def test_an_operation_it_does_not_know_is_named(net, message):
    with pytest.raises(ValueError, match=message):
        quantized = insert_quantizers(
            net,
            weight=lambda name, w: WeightQuantizer(8),
            activation=lambda name: ActivationQuantizer(Extremes(), 8),
        )
        calibrate_(quantized, [(torch.rand(5, 4), None)])
        to_integers(quantized)


def test_an_unfused_batch_norm_is_named():
    with pytest.raises(ValueError, match="0 is a batch norm; call fold_batch_norm"):
        to_integers(traced(nn.Sequential(nn.BatchNorm1d(4))))


def test_a_layer_without_quantizer_is_named():
    def quantized(weight=lambda name: True, activation=lambda name: True):
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        made = insert_quantizers(
            net,
            weight=lambda name, w: WeightQuantizer(8) if weight(name) else None,
            activation=lambda name: (
                ActivationQuantizer(Extremes(), 8) if activation(name) else None
            ),
        )
        calibrate_(made, [(torch.rand(5, 4), None)])
        return made

    for name in ("input", "1", "2"):
        with pytest.raises(ValueError, match=f"{name} has no quantizer behind it"):
            to_integers(quantized(activation=lambda other, n=name: other != n))
    with pytest.raises(ValueError, match="1: it has no quantizer of its weight"):
        to_integers(quantized(weight=lambda name: name != "0"))


def test_a_range_that_was_never_observed_is_named():
    quantized = insert_quantizers(
        nn.Sequential(nn.Linear(4, 4)),
        weight=lambda name, w: WeightQuantizer(8),
        activation=lambda name: ActivationQuantizer(Extremes(), 8),
    )
    with pytest.raises(ValueError, match="input: nothing was observed yet"):
        to_integers(quantized)


def test_two_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    quantized = insert_quantizers(
        Two(),
        weight=lambda name, w: None,
        activation=lambda name: ActivationQuantizer(Extremes(), 8),
    )
    for quantizer in quantizers_of(quantized).values():
        quantizer.observer.observe(torch.rand(4))
    with pytest.raises(ValueError, match="quantized must have one input, got 2"):
        to_integers(quantized)


def test_bad_input_is_refused():
    grid = Grid(torch.tensor(1.0), torch.tensor(2), 0, 9)
    step = Step("relu", IntegerRescale(grid, grid), ("input",), grid)
    net = IntegerNet(grid, [step])
    with pytest.raises(ValueError, match=r"q must be int32, got torch.float32"):
        net(torch.ones(3))
    flat = IntegerNet(grid, [Step("flat", nn.Flatten(), ("input",), grid)])
    with pytest.raises(ValueError, match=r"q must be int32, got torch.float32"):
        flat(torch.ones(3, 3))
    with pytest.raises(
        ValueError, match="q must be 0 to 9, got 0 to 10; quantize with"
    ):
        net(torch.tensor([0, 10], dtype=torch.int32))
    with pytest.raises(ValueError, match="q must be 0 to 9, got -1 to 3"):
        net(torch.tensor([3, -1], dtype=torch.int32))
    for steps in ([], [step, step], [step._replace(name="input")]):
        with pytest.raises(ValueError, match="steps must have results of different"):
            IntegerNet(grid, steps)
