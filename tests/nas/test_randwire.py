"""Randomly wired stages against the paper's equation, node by node."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.nas.random_graphs import Graph, watts_strogatz
from effdl.nas.randwire import RandomlyWired, WiredNode, small_randwire
from on_paper import randomised

DIAMOND = Graph(5, ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4)))


def test_output_is_the_equation_written_out():
    """Every node by hand: sum of weighted inputs, ReLU, two convolutions, norm."""
    stage = RandomlyWired(DIAMOND, 3, 4)
    nn.init.normal_(stage.wires)
    randomised(stage)
    x = torch.randn(2, 3, 7, 7)

    def node(number, read, stride=1):
        _, depthwise, pointwise, norm = stage.nodes[number]
        y = F.relu(read)
        weight = depthwise.weight
        y = F.conv2d(y, weight, stride=stride, padding=1, groups=len(weight))
        y = F.conv2d(y, pointwise.weight)
        return norm(y)

    w01, w02, w13, w23, w24 = 1 / (1 + (-stage.wires).exp())
    x0 = node(0, x, stride=2)
    x1 = node(1, w01 * x0)
    x2 = node(2, w02 * x0)
    x3 = node(3, w13 * x1 + w23 * x2)
    x4 = node(4, w24 * x2)
    torch.testing.assert_close(stage(x), (x3 + x4) / 2)


def test_every_node_without_a_predecessor_reads_the_input():
    """Three nodes, no edge: three convolutions of the input, averaged."""
    stage = RandomlyWired(Graph(3, ()), 2, 4).eval()
    x = torch.randn(1, 2, 6, 6)
    expected = sum(module(x) for module in stage.nodes) / 3
    torch.testing.assert_close(stage(x), expected)


def test_wires_start_at_one_half():
    stage = RandomlyWired(DIAMOND, 3, 4)
    assert stage.wires.shape == (5,)
    assert stage.wires.sigmoid().tolist() == [0.5] * 5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_shape_is_the_one_the_docstring_promises(stride, size):
    stage = RandomlyWired(DIAMOND, 3, 4, stride=stride)
    shape = stage(torch.randn(2, 3, size, size)).shape
    assert shape == (2, 4, -(-size // stride), -(-size // stride))


def test_parameters_in_closed_form():
    """A source has 9 c + c n + 2 n, any other node 9 n + n^2 + 2 n; one per edge."""
    c, n = 3, 4
    source, other = 9 * c + c * n + 2 * n, 9 * n + n * n + 2 * n
    stage = RandomlyWired(DIAMOND, c, n)
    assert parameter_count(stage) == source + 4 * other + 5


def test_a_node_is_a_separable_convolution_between_relu_and_norm():
    relu, depthwise, pointwise, norm = WiredNode(4, 6, 2)
    assert isinstance(relu, nn.ReLU)
    assert isinstance(norm, nn.BatchNorm2d)
    assert depthwise.weight.shape == (4, 1, 3, 3)
    assert depthwise.stride == (2, 2)
    assert pointwise.weight.shape == (6, 4, 1, 1)
    assert depthwise.bias is None
    assert pointwise.bias is None


def test_a_closed_wire_carries_nothing():
    """With the wire from 2 to 4 shut, node 4 holds what it makes of zeros."""
    stage = RandomlyWired(DIAMOND, 3, 4).eval()
    x = torch.randn(1, 3, 6, 6)
    open_wire = stage(x)
    stage.wires.data[4] = -1e9
    shut = stage(x)
    assert not torch.allclose(open_wire, shut)
    stage.graph = Graph(4, DIAMOND.edges[:4])
    del stage.nodes[4]
    stage.wires.data = stage.wires.data[:4]
    torch.testing.assert_close(shut, stage(x) / 2)


def test_stages_halve_and_double():
    graph = watts_strogatz(6, 2, 0.5, np.random.default_rng(0))
    net = small_randwire([graph] * 3, width=4)
    x, shapes = torch.zeros(1, 1, 16, 16), []
    for layer in net:
        x = layer(x) if len(shapes) < 5 else x
        shapes.append(tuple(x.shape[1:]))
    assert shapes[:5] == [(4, 16, 16), (4, 8, 8), (8, 4, 4), (16, 2, 2), (32, 2, 2)]
    assert not any(isinstance(module, nn.ReLU) for module in net[0])


def test_every_parameter_learns():
    graph = watts_strogatz(6, 2, 0.5, np.random.default_rng(0))
    net = small_randwire([graph, graph], width=4)
    logits = net(torch.randn(8, 1, 16, 16))
    assert logits.shape == (8, 10)
    F.cross_entropy(logits, torch.arange(8)).backward()
    unwired = [1 for p in net.parameters() if p.grad is None or not p.grad.any()]
    assert not unwired


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="graphs is empty"):
        small_randwire([])
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        small_randwire([DIAMOND], width=0)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        RandomlyWired(DIAMOND, 3, 4, stride=0)
    with pytest.raises(ValueError, match="x must have 3 channels"):
        RandomlyWired(DIAMOND, 3, 4)(torch.zeros(1, 2, 4, 4))
