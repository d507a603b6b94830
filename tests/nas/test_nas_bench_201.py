"""The network of NAS-Bench-201: closed forms of its cost, and its parts by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_net import CellBlock
from effdl.nas.cell_space import EDGES, Cell, sample_cell
from effdl.nas.nas_bench_201 import ResidualReduction, nas_bench_201_net
from on_paper import counted_on_paper, on_paper, randomised

SKIPS = Cell(("skip_connect",) * 6)
POOLS = Cell(("avg_pool_3x3",) * 6)
THREES = Cell(("nor_conv_3x3",) * 6)
ALL_LIVE = (  # every operation but none, all edges on a path
    Cell(("nor_conv_3x3", "avg_pool_3x3", "nor_conv_1x1") + ("skip_connect",) * 3),
    Cell(("nor_conv_1x1", "nor_conv_1x1", "avg_pool_3x3") + ("nor_conv_3x3",) * 3),
    POOLS,
    SKIPS,
)


def published_flops(net, size):
    """Return the count of the authors' tool, by watching every layer on no numbers.

    It takes 2 for a value of batch norm, 1 for one of ReLU and k^2 for one of a
    pooling. That the last mean of H x H pixels takes (H + 1)^2 for each channel is
    inferred: it is what the published totals leave for it, at both resolutions.
    """
    counted = []

    def watch(layer, inputs, output):
        values = output.numel()
        if isinstance(layer, nn.Conv2d | nn.Linear):
            counted.append(values * layer.weight[0].numel())
        elif isinstance(layer, nn.BatchNorm2d):
            counted.append(2 * values)
        elif isinstance(layer, nn.ReLU):
            counted.append(values)
        elif isinstance(layer, nn.AvgPool2d):
            counted.append(values * layer.kernel_size**2)

    for layer in net.modules():
        layer.register_forward_hook(watch)
    net(torch.zeros(1, 3, size, size, device="meta"))
    side, channels = size // 4, net.last.num_features
    last_relu = channels * side**2  # a function, not a layer
    return sum(counted) + last_relu + channels * (side + 1) ** 2


@pytest.mark.parametrize(
    ("classes", "skeleton"), [(10, 73_306), (100, 79_156), (120, 80_456)]
)
def test_parameters_are_the_closed_form(classes, skeleton):
    """Verified against the published counts of the benchmark, used edges or not."""
    random = np.random.default_rng(classes)
    for cell in (sample_cell(random) for _ in range(6)):
        net = on_paper(lambda cell=cell: nas_bench_201_net(cell, classes=classes))
        ones, threes = cell.count("nor_conv_1x1"), cell.count("nor_conv_3x3")
        assert parameter_count(net) == skeleton + 28_000 * ones + 243_040 * threes


def test_the_coefficients_by_hand():
    """Five cells of each width: sum over C of 5 C (k^2 C + 2)."""
    ones, threes = (sum(5 * c * (k**2 * c + 2) for c in (16, 32, 64)) for k in (1, 3))
    assert (ones, threes) == (28_000, 243_040)


@pytest.mark.parametrize("cell", ALL_LIVE)
def test_macs_are_the_closed_form(cell):
    """For cells whose edges are all on a path; a dead one costs nothing here."""
    assert len(live_edges(cell)) == len(EDGES)
    _, macs = counted_on_paper(lambda: nas_bench_201_net(cell), 32)
    ones, threes = cell.count("nor_conv_1x1"), cell.count("nor_conv_3x3")
    assert macs == 7_783_040 + 3_932_160 * ones + 35_389_440 * threes


def test_the_coefficients_of_the_macs_by_hand():
    """Five cells in each of three stages; C^2 H W is the same in all."""
    assert 15 * 16**2 * 32**2 == 15 * 32**2 * 16**2 == 15 * 64**2 * 8**2 == 3_932_160
    counted = count_macs(nas_bench_201_net(SKIPS), torch.zeros(1, 3, 32, 32))
    assert counted.total == 7_783_040


@pytest.mark.parametrize("cell", ALL_LIVE)
@pytest.mark.parametrize(
    ("size", "classes", "million"),
    [
        (32, 10, (7.943872, 4.36224, 35.81952, 1.29024)),
        (16, 120, (1.993792, 1.09056, 8.95488, 0.32256)),
    ],
)
def test_published_flops_are_linear_in_the_counts(cell, size, classes, million):
    skeleton, *added = million
    net = on_paper(lambda: nas_bench_201_net(cell, classes=classes))
    counts = map(cell.count, ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"))
    expected = skeleton + sum(a * n for a, n in zip(added, counts, strict=True))
    assert published_flops(net, size) / 1e6 == pytest.approx(expected)


def test_a_reduction_is_two_convolutions_beside_a_mean():
    block = randomised(ResidualReduction(2, 3))
    x = torch.randn(2, 2, 6, 8)
    y = x
    for layer, stride in zip(block.main, (2, 1), strict=True):
        y = F.conv2d(y.clamp(min=0), layer.conv.weight, stride=stride, padding=1)
        y = layer.norm(y)
    mean = (x[..., ::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, ::2]) / 4
    mean = mean + x[..., 1::2, 1::2] / 4
    side = torch.einsum("oc,nchw->nohw", block.side[1].weight[:, :, 0, 0], mean)
    assert y.shape == (2, 3, 3, 4)
    torch.testing.assert_close(block(x), y + side)


def test_the_skeleton_is_that_of_the_paper():
    """Stem; 5 cells of 16, 32 and 64 channels on 32, 16 and 8 pixels."""
    net = on_paper(lambda: nas_bench_201_net(SKIPS))
    shapes, x = [], torch.zeros(1, 3, 32, 32, device="meta")
    for part in net.features:
        x = part(x)
        if isinstance(part, CellBlock):
            shapes.append(tuple(x.shape[1:]))
    expected = [(16, 32, 32)] * 5 + [(32, 16, 16)] * 5 + [(64, 8, 8)] * 5
    assert shapes == expected
    kinds = [type(part).__name__ for part in net.features]
    assert kinds.index("ResidualReduction") == 6
    assert kinds.count("ResidualReduction") == 2


def test_width_cells_and_images_can_be_chosen():
    net = nas_bench_201_net(POOLS, width=4, cells=1, in_channels=1, classes=3)
    assert net(torch.zeros(2, 1, 16, 16)).shape == (2, 3)
    assert sum(isinstance(m, CellBlock) for m in net.modules()) == 3
    assert net.classifier.in_features == 16


def test_every_parameter_of_a_live_network_learns():
    net = nas_bench_201_net(THREES, width=2, cells=1)
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", ["width", "cells", "in_channels", "classes"])
def test_bad_arguments_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        nas_bench_201_net(SKIPS, **{name: 0})
