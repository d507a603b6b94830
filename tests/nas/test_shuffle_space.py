"""The space on ShuffleNetV2: counted by hand, its maps, and the small supernet."""

import functools

import pytest
import torch
from torch import nn

from effdl.measure.count import parameter_count
from effdl.nas.block_space import ChoiceStage
from effdl.nas.shuffle_space import (
    STAGES,
    WIDTHS,
    hsconas_supernet,
    shuffle_layer,
    shuffle_space,
    small_shuffle_supernet,
)
from effdl.nas.shuffle_units import BRANCHES, StridedUnit, shuffle_unit
from on_paper import on_paper


def test_the_space_of_hsconas_by_hand():
    """(5 * 10)^20 codes by the ingredients; a sixtieth of them mean something."""
    space = shuffle_space(16, STAGES, widths=WIDTHS)
    assert space.sizes == (40, 41, 41, 41) * 2 + (40, *[41] * 7) + (40, 41, 41, 41)
    assert space.size == 40**4 * 41**16
    assert 50**20 / space.size == pytest.approx(58.4, abs=0.1)
    assert f"{50**20:.1e}" == "9.5e+33"
    assert WIDTHS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def test_without_widths_it_has_four_units_and_skip():
    space = shuffle_space(16, STAGES)
    assert space.size == 4**4 * 5**16
    assert space.candidates == 4 * 4 + 16 * 5 == 96


def test_a_layer_has_four_units_and_perhaps_skip():
    names = ["3x3 w1", "5x5 w1", "7x7 w1", "xception w1"]
    assert list(shuffle_layer(16, 16)) == [*names, "skip"]
    assert list(shuffle_layer(16, 16, stride=2)) == names
    assert list(shuffle_layer(8, 16)) == names
    assert list(shuffle_layer(16, 16, widths=(0.5, 1)))[:2] == ["3x3 w0.5", "3x3 w1"]


def test_candidates_are_what_their_names_say():
    for name, make in shuffle_layer(32, 32, widths=(0.5, 1)).items():
        if name == "skip":
            assert isinstance(make(), nn.Identity)
        else:
            kind, width = name.split(" w")
            same = shuffle_unit(BRANCHES[kind], 32, 32, width=float(width))
            assert parameter_count(make()) == parameter_count(same)
            assert str(make()) == str(same)


@pytest.mark.parametrize("choice", range(4))
def test_every_path_of_the_large_supernet_has_the_same_maps(choice):
    net = _large()
    y, sizes = net.stem(torch.zeros(1, 3, 224, 224, device="meta")), []
    for block in net.blocks((choice,) * 20):
        y = block(y)
        sizes.append((y.shape[1], y.shape[2]))
    stages = [((64, 56), 4), ((160, 28), 4), ((320, 14), 8), ((640, 7), 4)]
    assert sizes == [shape for shape, layers in stages for _ in range(layers)]
    assert net.head(y).shape == (1, 1000)


def test_only_the_first_unit_of_a_stage_strides():
    strided = [isinstance(b, StridedUnit) for b in _large().blocks((0,) * 20)]
    assert [n for n, s in enumerate(strided) if s] == [0, 4, 8, 16]


@pytest.mark.parametrize("size", [12, 16])
def test_the_small_supernet_takes_digit_scenes(size):
    net = small_shuffle_supernet()
    assert net.space.size == 4**2 * 5**4 == 10_000
    for choice in range(4):
        assert net(torch.randn(2, 1, size, size), (choice,) * 6).shape == (2, 10)
    other = small_shuffle_supernet(in_channels=3, classes=7)
    assert other(torch.randn(2, 3, size, size), (0,) * 6).shape == (2, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shuffle_layer(0, 8), "in_channels must be at least 1, got 0"),
        (lambda: shuffle_space(8, []), "layers is empty"),
        (
            lambda: shuffle_space(8, [ChoiceStage(8, 0, 1)]),
            "layers must be at least 1, got 0",
        ),
        (
            lambda: shuffle_layer(8, 7)["3x3 w1"](),
            "parts=2 must divide out_channels, got 7; use 6 or 8",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@functools.cache
def _large():
    return on_paper(hsconas_supernet)
