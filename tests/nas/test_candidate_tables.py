"""Tables of candidates against closed forms, another counter, and our own clock."""

import itertools

import pytest
import torch
from torch import nn

from effdl.measure.macs import count_macs
from effdl.measure.roofline import Roofline
from effdl.nas.block_space import BlockSpace
from effdl.nas.candidate_tables import (
    candidate_macs,
    candidate_seconds,
    modelled_seconds,
)
from effdl.nas.mbconv_space import small_mbconv_supernet
from effdl.nas.supernet import SuperNet

X = torch.zeros(1, 1, 16, 16)


def tiny() -> SuperNet:
    """Return two layers: a convolution with a stride or a wide one; 1x1 or skip."""
    first = {
        "3x3": lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False),
        "pair": lambda: nn.Sequential(
            nn.Conv2d(4, 16, 1, bias=False),
            nn.Conv2d(16, 8, 3, stride=2, padding=1, bias=False),
        ),
    }
    second = {"1x1": lambda: nn.Conv2d(8, 8, 1, bias=False), "skip": nn.Identity}
    return SuperNet(nn.Conv2d(1, 4, 1), BlockSpace((first, second)), nn.Flatten())


def test_macs_by_hand():
    """16 x 16 pixels in, 8 x 8 out: 64 * 8 * 36; 256 * 64 + 64 * 8 * 144; 64 * 64."""
    assert candidate_macs(tiny(), X) == (
        {"3x3": 18_432, "pair": 16_384 + 73_728},
        {"1x1": 4_096, "skip": 0},
    )


def test_macs_of_a_path_are_the_sum_of_its_entries():
    net = small_mbconv_supernet()
    table = [list(layer.values()) for layer in candidate_macs(net, X)]
    ends = [count_macs(net.stem, X).total]
    y = net.path((0,) * 6)[:-1](X)
    ends.append(count_macs(net.head, y).total)
    for choices in ((0,) * 6, (5,) * 6, (1, 6, 2, 4, 0, 6)):
        own = sum(row[choice] for row, choice in zip(table, choices, strict=True))
        assert count_macs(net.path(choices), X).total == sum(ends) + own


def test_modelled_seconds_by_hand():
    """Bytes of 3x3: 4 * (1024 + 288 + 512) = 7296; of 1x1: 4 * (512 + 64 + 512)."""
    slow_memory, slow_arithmetic = Roofline(1e12, 1e3), Roofline(1e3, 1e12)
    table = modelled_seconds(tiny(), X, slow_memory)
    assert table[0]["3x3"] == pytest.approx(7.296)
    assert table[1] == {"1x1": pytest.approx(4.352), "skip": 0}
    table = modelled_seconds(tiny(), X, slow_arithmetic)
    assert table[0] == {"3x3": pytest.approx(18.432), "pair": pytest.approx(90.112)}


def test_overhead_counts_every_inner_layer():
    """One, two, one, and none that does nothing."""
    table = modelled_seconds(tiny(), X, Roofline(1e15, 1e15), overhead=1.0)
    assert table[0] == {"3x3": pytest.approx(1), "pair": pytest.approx(2)}
    assert table[1] == {"1x1": pytest.approx(1), "skip": 0}


def test_the_roof_is_taken_layer_by_layer():
    """Pair: the 1x1 waits for memory, the 3x3 for arithmetic."""
    table = modelled_seconds(tiny(), X, Roofline(2e3, 1e3))
    first = max(16_384 / 2e3, 4 * (1024 + 64 + 4096) / 1e3)
    second = max(73_728 / 2e3, 4 * (4096 + 1152 + 512) / 1e3)
    assert table[0]["pair"] == pytest.approx(first + second)
    assert (first, second) == (20.736, 36.864)


def test_seconds_are_those_of_the_clock():
    """A clock that goes on by 3 ms a look: each sample of one call takes 3 ms."""
    ticks = itertools.count(0, 3_000_000)
    table = candidate_seconds(tiny(), X, repeats=2, clock=lambda: next(ticks))
    assert table == tuple(
        dict.fromkeys(layer, pytest.approx(0.003)) for layer in tiny().space.layers
    )


def test_the_names_are_those_of_the_space():
    net = small_mbconv_supernet()
    tables = (
        candidate_macs(net, X),
        modelled_seconds(net, X, Roofline(1e9, 1e9)),
    )
    for table in tables:
        assert [list(row) for row in table] == [list(row) for row in net.space.layers]


def test_the_supernet_comes_back_as_it_was():
    net = small_mbconv_supernet()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    candidate_macs(net, X)
    modelled_seconds(net, X, Roofline(1e9, 1e9))
    candidate_seconds(tiny(), X, repeats=2)
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert net.training
    assert all(not m._forward_hooks for m in net.modules())


@pytest.mark.parametrize("table", [candidate_macs, candidate_seconds])
def test_images_that_do_not_fit_are_named(table):
    net = small_mbconv_supernet()
    with pytest.raises((ValueError, RuntimeError), match="channels"):
        table(net, torch.zeros(1, 3, 16, 16))
