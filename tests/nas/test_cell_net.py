"""Networks of one cell: against the sum over edges, by hand, and at their limits."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.nas.cell_net import (
    CellBlock,
    CellNet,
    ReluConvBn,
    operation,
    small_cell_net,
)
from effdl.nas.cell_space import EDGES, EXAMPLE, OPERATIONS, Cell, sample_cell
from on_paper import randomised

DENSE = Cell(("nor_conv_3x3",) * 6)
MIXED = Cell((
    "nor_conv_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "none",
    "nor_conv_1x1",
    "skip_connect",
))
DEAD = Cell(("nor_conv_3x3", "none", "none", "nor_conv_1x1", "none", "nor_conv_3x3"))


def sent(module, name, x):
    """Return what an edge sends, from its weights and without its module's forward."""
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        total = F.conv2d(x.flatten(0, 1)[:, None], torch.ones(1, 1, 3, 3), padding=1)
        count = F.conv2d(torch.ones_like(x[:1, :1]), torch.ones(1, 1, 3, 3), padding=1)
        return total.view_as(x) / count
    conv, norm = module.conv, module.norm
    y = F.conv2d(x.clamp(min=0), conv.weight, padding=conv.weight.shape[-1] // 2)
    mean, variance, weight, bias = (
        v[:, None, None]
        for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (y - mean) / (variance + norm.eps).sqrt() * weight + bias


@pytest.mark.parametrize("seed", range(8))
def test_a_block_is_the_sum_over_edges_node_after_node(seed):
    cell = sample_cell(np.random.default_rng(seed))
    block = randomised(CellBlock(cell, 3))
    x = torch.randn(2, 3, 6, 5)
    nodes = [x, None, None, None]  # None holds nothing
    for (i, j), name in zip(EDGES, cell.operations, strict=True):
        if name != "none" and nodes[i] is not None:
            y = sent(block.edges[str(EDGES.index((i, j)))], name, nodes[i])
            nodes[j] = y if nodes[j] is None else nodes[j] + y
    expected = torch.zeros_like(x) if nodes[3] is None else nodes[3]
    torch.testing.assert_close(block(x), expected)


def test_skips_add_up_to_four_times_the_input():
    """Nodes 1, 2 and 3 hold x, 2 x and 4 x."""
    block = CellBlock(Cell(("skip_connect",) * 6), 2)
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(block(x), 4 * x)


def test_pooling_counts_only_pixels_that_exist():
    """A map of ones stays one at its border, too."""
    ones = torch.ones(1, 2, 4, 4)
    torch.testing.assert_close(operation("avg_pool_3x3", 2)(ones), ones)


def test_relu_comes_before_the_convolution():
    layer = ReluConvBn(2, 3, 3)
    assert not layer.conv(layer.relu(-torch.rand(1, 2, 4, 4))).any()
    assert layer(torch.randn(4, 2, 4, 4)).min() < 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("skip_connect", 0),
        ("nor_conv_1x1", 5 * 5 + 10),
        ("nor_conv_3x3", 9 * 5 * 5 + 10),
        ("avg_pool_3x3", 0),
    ],
)
def test_operations_keep_the_shape_and_have_so_many_parameters(name, parameters):
    module = operation(name, 5)
    assert module(torch.randn(2, 5, 7, 6)).shape == (2, 5, 7, 6)
    assert parameter_count(module) == parameters


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize(("stride", "size"), [(1, 7), (2, 7), (2, 8)])
def test_a_convolution_with_stride_rounds_up(kernel_size, stride, size):
    y = ReluConvBn(2, 4, kernel_size, stride)(torch.randn(2, 2, size, size))
    assert y.shape == (2, 4, -(-size // stride), -(-size // stride))


def test_a_disconnected_cell_returns_zeros():
    x = torch.randn(2, 3, 4, 4)
    block = CellBlock(Cell.parse(EXAMPLE.replace("skip_connect", "none")), 3)
    assert torch.equal(block(x), torch.zeros_like(x))


def test_dead_edges_have_weights_but_are_not_run():
    """In DEAD the way from node 0 to 1 leads nowhere, and 2 to 3 comes from nowhere."""
    block = CellBlock(DEAD, 2)
    block(torch.randn(2, 2, 4, 4)).square().sum().backward()
    learning = {
        e for e in (0, 3, 5) if block.edges[str(e)].conv.weight.grad is not None
    }
    assert set(block.edges) == {"0", "3", "5"}
    assert learning == {3}


def test_a_network_is_its_parts_one_after_the_other():
    """Stem, two cells, reduction, two cells, then BN, ReLU, mean, linear."""
    net = CellNet(
        nn.Conv2d(1, 2, 3, padding=1),
        partial(CellBlock, MIXED),
        widths=(2, 4),
        cells=2,
        reduction=partial(ReluConvBn, kernel_size=3, stride=2),
        classes=7,
    )
    randomised(net)
    kinds = [type(part) for part in net.features]
    cell = CellBlock
    assert kinds == [nn.Conv2d, cell, cell, ReluConvBn, cell, cell]
    x = torch.randn(3, 1, 8, 8)
    maps = x
    for part in net.features:
        maps = part(maps)
    assert maps.shape == (3, 4, 4, 4)
    pixels = net.last(maps).clamp(min=0).flatten(2)
    expected = pixels.sum(2) / 16 @ net.classifier.weight.T + net.classifier.bias
    torch.testing.assert_close(net(x), expected)


def test_every_cell_has_weights_of_its_own():
    net = small_cell_net(DENSE)
    assert len({id(p) for p in net.parameters()}) == len(list(net.parameters()))
    assert sum(isinstance(m, CellBlock) for m in net.modules()) == 2


@pytest.mark.parametrize("name", OPERATIONS)
def test_parameters_of_the_small_network_by_hand(name):
    """Stem 9*8 + 16, reduction 9*8*16 + 32, last norm 32, linear 170: 1,474.

    A convolution of side k adds 8 (8 k^2 + 2) and 16 (16 k^2 + 2).
    """
    k = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}.get(name)
    a_conv = 8 * (8 * k**2 + 2) + 16 * (16 * k**2 + 2) if k else 0
    assert parameter_count(small_cell_net(Cell((name,) * 6))) == 1_474 + 6 * a_conv


def test_the_small_network_sees_6_and_3_pixels():
    net = small_cell_net(MIXED, widths=(4, 6), in_channels=2).eval()
    shapes, x = [], torch.randn(2, 2, 12, 12)
    for part in net.features:
        x = part(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(4, 6, 6), (4, 6, 6), (6, 3, 3), (6, 3, 3)]
    assert net(torch.randn(2, 2, 12, 12)).shape == (2, 10)


def test_convolutions_start_with_the_deviation_of_their_fan_out():
    net = small_cell_net(DENSE, widths=(32, 64))
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 14
    for conv in convs:
        deviation = (2 / (9 * conv.out_channels)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(deviation, rel=0.2)
        assert abs(conv.weight.mean().item()) < 0.2 * deviation


def test_every_parameter_of_a_live_network_learns():
    net = small_cell_net(DENSE)
    net(torch.randn(8, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", ["none", "nor_conv_5x5"])
def test_an_operation_without_a_module_is_named(name):
    with pytest.raises(ValueError, match=f"no module for operation '{name}'; leave"):
        operation(name, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CellBlock(DENSE, 0), "channels must be at least 1, got 0"),
        (
            lambda: CellNet(
                nn.Identity(),
                partial(CellBlock, DENSE),
                widths=(2,),
                cells=0,
                reduction=ReluConvBn,
                classes=2,
            ),
            "cells must be at least 1, got 0",
        ),
        (
            lambda: CellNet(
                nn.Identity(),
                partial(CellBlock, DENSE),
                widths=(2,),
                cells=1,
                reduction=ReluConvBn,
                classes=0,
            ),
            "classes must be at least 1, got 0",
        ),
        (
            lambda: small_cell_net(DENSE)(torch.zeros(1, 12, 12)),
            r"x must be \(N, C, H, W\), got shape \(1, 12, 12\)",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
