"""Spaces cut to a device: by hand, two devices that disagree, and four real ones."""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from effdl.measure.roofline import Roofline
from effdl.nas.block_space import BlockSpace, ChoiceStage, layer_shapes
from effdl.nas.candidate_tables import candidate_macs, modelled_seconds
from effdl.nas.fbnet_table import OPERATIONS, fit_additive, load_fbnet
from effdl.nas.hardware_space import hybrid_space, keep_best, work_per_second
from effdl.nas.supernet import SuperNet

STAGES = [ChoiceStage(16, 2, 2), ChoiceStage(32, 2, 2)]


def test_scores_by_hand():
    macs = {"a": 6.0, "b": 8.0, "skip": 0.0}, {"a": 6.0}
    seconds = {"a": 2.0, "b": 4.0, "skip": 0.5}, {"a": 3.0}
    assert work_per_second(macs, seconds) == (
        {"a": 3, "b": 2, "skip": 0},
        {"a": 2},
    )


def test_no_work_in_no_time_scores_nothing():
    assert work_per_second(({"skip": 0.0},), ({"skip": 0.0},)) == ({"skip": 0},)


def test_the_best_are_kept_in_the_old_order():
    space = BlockSpace(({"a": nn.ReLU, "b": nn.Tanh, "c": nn.Identity},) * 2)
    scores = [{"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 3.0, "b": 2.0, "c": 1.0}]
    kept = keep_best(space, scores, 2)
    assert [list(layer) for layer in kept.layers] == [["b", "c"], ["a", "b"]]
    assert kept.layers[0]["b"] is nn.Tanh
    assert space.size == 9


def test_of_equal_scores_the_first_is_kept():
    space = BlockSpace((dict.fromkeys("abc", nn.Identity),))
    kept = keep_best(space, [dict.fromkeys("abc", 1.0)], 2)
    assert list(kept.layers[0]) == ["a", "b"]


@pytest.mark.parametrize("keep", [1, 3, 9])
def test_kept_candidates_score_no_less_than_those_dropped(keep):
    scores = [
        {n: float(s) for n, s in zip("abcde", row, strict=True)} for row in SCORES
    ]
    space = BlockSpace((dict.fromkeys("abcde", nn.Identity),) * 3)
    for layer, score in zip(keep_best(space, scores, keep).layers, scores, strict=True):
        assert len(layer) == min(keep, 5)
        dropped = set(score) - set(layer)
        worst = min(score[name] for name in layer)
        assert all(score[name] <= worst for name in dropped)


SCORES = np.random.default_rng(0).random((3, 5))


def test_a_hybrid_layer_has_the_candidates_of_both():
    space = hybrid_space(8, STAGES)
    assert space.sizes == (10, 11, 10, 11)
    names = list(space.layers[1])
    assert sum("e" in name and "k" in name and name[0] == "k" for name in names) == 6
    assert sum(" w1" in name for name in names) == 4
    assert names.count("skip") == 1


def test_hybrid_candidates_fit_together():
    """All 10 or 11 blocks of a layer give the same shape."""
    net, sizes = _hybrid(), []
    y = net.stem(torch.zeros(2, 1, 16, 16))
    for layer in range(4):
        (shape,) = {block(y).shape for block in net.candidates(layer)}
        sizes.append((shape[1], shape[2]))
        y = net.candidates(layer)[0](y)
    assert sizes == [(16, 8), (16, 8), (32, 4), (32, 4)]
    random = np.random.default_rng(0)
    assert net(torch.zeros(2, 1, 16, 16), net.space.sample(random)).shape == (2, 32)


def test_two_devices_keep_different_candidates():
    """One waits for memory, one for the start of each layer: other blocks stay.

    Where starting is what costs, few large layers are best: wide inverted residuals.
    Where bytes cost, narrow shuffle units move few of them.
    """
    net, x = _hybrid(), torch.zeros(1, 1, 16, 16)
    macs = candidate_macs(net, x)
    fast = Roofline(macs_per_second=1e15, bytes_per_second=1e15)
    starting = modelled_seconds(net, x, fast, overhead=1e-3)
    moving = modelled_seconds(net, x, Roofline(1e15, 1e9))
    spaces = [
        keep_best(net.space, work_per_second(macs, table), 4)
        for table in (starting, moving)
    ]
    kept = [[set(layer) for layer in space.layers] for space in spaces]
    assert all(here != there for here, there in zip(*kept, strict=True))
    assert all("k7 e6" in layer for layer in kept[0])
    assert all("skip" not in layer for layers in kept for layer in layers)


def test_four_real_devices_disagree_about_kernels():
    """An FPGA does most work a second with 5x5 in all 22 layers, phone and board never.

    The latencies of 5,000 networks add up over layers, so those of the 9 candidates
    of each layer follow from them; skip costs nothing.
    """
    larger = {device: _layers_that_like_5x5(device) for device in DEVICES}
    assert larger == {"raspi4": 0, "pixel3": 0, "eyeriss": 1, "fpga": 22}


def test_real_devices_would_keep_other_candidates():
    best = {
        device: [sorted(layer, key=layer.get)[-2:] for layer in _scores(device)]
        for device in DEVICES
    }
    for first, second in itertools.combinations(DEVICES, 2):
        rows = zip(best[first], best[second], strict=True)
        assert sum(set(a) != set(b) for a, b in rows) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: work_per_second(({"a": 1.0},), ({"b": 1.0},)),
            "no positive time for 'a' of layer 0",
        ),
        (
            lambda: work_per_second(({}, {"a": 1.0}), ({}, {"a": 0.0})),
            "no positive time for 'a' of layer 1",
        ),
        (
            lambda: keep_best(BlockSpace(({"a": nn.ReLU},)), [{"b": 1.0}], 1),
            "scores must name the candidates of every layer",
        ),
        (
            lambda: keep_best(BlockSpace(({"a": nn.ReLU},)), [{"a": 1.0}], 0),
            "keep must be at least 1, got 0",
        ),
        (lambda: hybrid_space(8, []), "layers is empty"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


DEVICES = ("raspi4", "pixel3", "eyeriss", "fpga")
FBNET = [  # width, layers, stride; 224 x 224 pixels, stem 16 with stride 2
    *(ChoiceStage(16, 1, 1), ChoiceStage(24, 4, 2), ChoiceStage(32, 4, 2)),
    *(ChoiceStage(64, 4, 2), ChoiceStage(112, 4, 1), ChoiceStage(184, 4, 2)),
    ChoiceStage(352, 1, 1),
]
# Of its nine operations, those without groups and with an expansion.
FBNET_OPERATIONS = {"k3_e3": (3, 3), "k3_e6": (3, 6), "k5_e3": (5, 3), "k5_e6": (5, 6)}


@functools.cache
def _scores(device):
    """Return MACs per second beyond a skip of four operations in each layer."""
    try:
        codes, seconds = load_fbnet(device)
    except FileNotFoundError:
        pytest.skip("the latency tables of the FBNet space are not in EFFDL_CACHE")
    extra, scores, side = fit_additive(codes, seconds).extra, [], 112
    for (c, n, stride), row in zip(layer_shapes(16, FBNET), extra, strict=True):
        wide, narrow = side**2, (side // stride) ** 2
        layer = dict(zip(OPERATIONS, row, strict=True))
        scores.append({
            name: (wide * t * c * c + narrow * t * c * (k**2 + n)) / layer[name]
            for name, (k, t) in FBNET_OPERATIONS.items()
        })
        side //= stride
    return scores


def _layers_that_like_5x5(device):
    return sum(score["k5_e6"] > score["k3_e6"] for score in _scores(device))


@functools.cache
def _hybrid():
    stem = nn.Conv2d(1, 8, 3, padding=1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SuperNet(stem, hybrid_space(8, STAGES), head)
