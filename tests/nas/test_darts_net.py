"""Networks of DARTS cells: the published size, the order of cells, small images."""

import numpy as np
import pytest
import torch
from torch import nn

from effdl.measure.count import parameter_count
from effdl.nas.darts_net import DartsNet, small_darts_net
from effdl.nas.darts_sampling import sample_genotype
from effdl.nas.darts_space import DARTS_V2, DartsCell, Genotype
from on_paper import counted_on_paper, on_paper, randomised

SKIPS = DartsCell.from_pairs([("skip_connect", 0), ("skip_connect", 1)] * 4)


def test_the_published_network_has_3_3_million_parameters():
    """What the authors' code prints for DARTS_V2: 3.349342 million."""
    assert parameter_count(on_paper(lambda: DartsNet(DARTS_V2))) == 3_349_342


def test_its_multiply_adds_are_528_million():
    _, macs = counted_on_paper(lambda: DartsNet(DARTS_V2), 32)
    assert macs == 528_359_040


def test_parameters_of_a_small_network_by_hand():
    """Three cells of skips with C = 4: what is left are norms and pointwise layers.

    Stem 9*12 + 24. Normal cell: 12 to 4 twice, 2 (48 + 8). First reduction: 12 and 16
    to 8, 96 + 128 + 32; its 8 skips are factorised, 8 (64 + 16). Second reduction: 16
    and 32 to 16, 256 + 512 + 64; 8 skips, 8 (256 + 32). Classifier 64*10 + 10.
    """
    expected = (
        9 * 12
        + 24
        + 2 * (48 + 8)
        + (96 + 128 + 32)
        + 8 * (64 + 16)
        + (256 + 512 + 64)
        + 8 * (256 + 32)
        + 650
    )
    net = small_darts_net(Genotype(SKIPS, SKIPS))
    assert parameter_count(net) == expected == 4_926


@pytest.mark.parametrize("cells", [3, 5, 8, 20])
def test_reductions_stand_at_a_third_and_two_thirds(cells):
    net = on_paper(lambda: DartsNet(DARTS_V2, width=4, cells=cells))
    kinds = [cell.cell == DARTS_V2.reduce for cell in net.cells]
    assert [n for n, kind in enumerate(kinds) if kind] == [cells // 3, 2 * cells // 3]
    assert len(kinds) == cells


def test_channels_double_and_pixels_halve_at_each_reduction():
    net = small_darts_net(DARTS_V2).eval()
    before = last = net.stem(torch.zeros(1, 1, 12, 12))
    shapes = []
    for cell in net.cells:
        before, last = last, cell(before, last)
        shapes.append(tuple(last.shape[1:]))
    assert net.stem[0].out_channels == 12
    assert shapes == [(16, 12, 12), (32, 6, 6), (64, 3, 3)]


def test_every_cell_reads_the_two_before_it():
    net = randomised(DartsNet(DARTS_V2, width=2, cells=4, in_channels=1, classes=3))
    x = torch.randn(2, 1, 16, 16)
    outputs = [net.stem(x)] * 2
    for cell in net.cells:
        outputs.append(cell(outputs[-2], outputs[-1]))
    pixels = outputs[-1].flatten(2).sum(2) / 16
    expected = pixels @ net.classifier.weight.T + net.classifier.bias
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("seed", range(4))
def test_any_genotype_reads_digit_scenes(seed):
    net = small_darts_net(sample_genotype(np.random.default_rng(seed)))
    assert net(torch.randn(3, 1, 12, 12)).shape == (3, 10)


def test_every_cell_has_weights_of_its_own():
    net = small_darts_net(DARTS_V2)
    assert len({id(p) for p in net.parameters()}) == len(list(net.parameters()))


def test_every_parameter_learns():
    net = small_darts_net(DARTS_V2)
    net(torch.randn(16, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_the_stem_is_a_convolution_and_a_norm():
    stem = DartsNet(DARTS_V2, width=2, cells=3).stem
    assert [type(layer) for layer in stem] == [nn.Conv2d, nn.BatchNorm2d]
    assert stem(torch.zeros(1, 3, 8, 8)).shape == (1, 6, 8, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DartsNet(DARTS_V2, cells=2), "cells must be 3 or more, got 2; two ar"),
        (lambda: DartsNet(DARTS_V2, width=0), "width must be at least 1, got 0"),
        (lambda: DartsNet(DARTS_V2, in_channels=0), "in_channels must be at least 1"),
        (lambda: DartsNet(DARTS_V2, classes=0), "classes must be at least 1, got 0"),
        (
            lambda: small_darts_net(DARTS_V2)(torch.zeros(1, 12, 12)),
            r"x must be \(N, C, H, W\), got shape \(1, 12, 12\)",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
