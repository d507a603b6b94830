"""GhostNetV1 against its table, timm's, the published numbers, and small scenes."""

import math

import pytest
import torch
import torch.nn.functional as F

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.ghostnet_v1 import (
    GHOSTNET,
    SMALL_GHOSTNET,
    GhostNetV1,
    ghostnet_v1,
    scaled_rows,
    small_ghostnet_v1,
)
from effdl.nets.weights import load_in_order_
from on_paper import randomised

# The paper's table, again: kernel, expansion, output, squeeze-and-excitation, stride.
PAPER = [
    (3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2),
    (5, 120, 40, 1, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1), (5, 672, 160, 1, 2),
    (5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "parameters", "macs"),
    [(0.5, 2_587_292, 42.3), (1.0, 5_182_508, 141.2), (1.3, 7_358_820, 227.0)],
)
def test_parameters_and_macs_are_those_of_the_table_written_out(
    width, parameters, macs
):
    """A closed form that shares no code: for each layer its weights and its pixels."""
    assert _closed_form(width) == (parameters, pytest.approx(macs * 1e6, abs=5e4))
    with torch.device("meta"):
        assert parameter_count(ghostnet_v1(width)) == parameters


@pytest.mark.parametrize(
    ("width", "published_parameters", "published_macs"),
    [(0.5, 2.6, 42), (1.0, 5.2, 141), (1.3, 7.3, 226)],
)
def test_published_numbers_are_met(width, published_parameters, published_macs):
    """To the digits given; 7.36 stands there as 7.3, and 227 as 226."""
    parameters, macs = _closed_form(width)
    assert abs(parameters / 1e6 - published_parameters) < 0.07
    assert macs / 1e6 == pytest.approx(published_macs, rel=0.01)


def test_the_survey_s_quarter_of_a_gigaflop_is_another_way_of_counting():
    """Width 1.3: 227.0 M multiply-adds; with what fvcore adds, batch norm, 236.2 M.

    To two digits, the second is the survey's 0.24 G, the first is 0.23 G.
    """
    count = count_macs(ghostnet_v1(1.3), torch.zeros(1, 3, 224, 224))
    assert count.total == 227_003_256 == _closed_form(1.3)[1]
    assert count.fvcore_total == 236_239_560
    assert round(count.fvcore_total / 1e9, 2) == 0.24
    assert round(count.total / 1e9, 2) == 0.23


@pytest.mark.parametrize("width", [0.35, 0.5, 1.0, 1.3])
def test_agrees_with_timm(width):
    """Published widths and an odd one: as many parameters, and the same output."""
    ghostnet = pytest.importorskip("timm.models.ghostnet")
    theirs = ghostnet._create_ghostnet("ghostnet_100", width=width).eval()
    ours = ghostnet_v1(width).eval()
    randomised(theirs)
    load_in_order_(ours, theirs.state_dict())
    assert parameter_count(ours) == parameter_count(theirs)
    x = torch.randn(2, 3, 40, 32)
    with torch.no_grad():
        logits = theirs(x)
        torch.testing.assert_close(ours(x), logits, rtol=1e-5, atol=1e-5)
    assert logits.std() > 0.01  # not all the same, whatever the input


def test_both_counters_agree_with_those_of_timm():
    ghostnet = pytest.importorskip("timm.models.ghostnet")
    theirs = ghostnet._create_ghostnet("ghostnet_100", width=0.35)
    x = torch.zeros(1, 3, 32, 32)
    ours, other = count_macs(ghostnet_v1(0.35), x), count_macs(theirs, x)
    assert (ours.total, ours.fvcore_total) == (other.total, other.fvcore_total)


def test_maps_shrink_by_the_strides():
    net = ghostnet_v1(0.5, in_channels=1, classes=7).eval()
    sizes, x = [], torch.zeros(1, 1, 65, 64)
    for layer in net.features:
        x = layer(x)
        sizes.append(tuple(x.shape[2:]))
    assert sizes[0] == sizes[1] == (33, 32)
    assert [sizes[i] for i in (2, 4, 6, 12)] == [(17, 16), (9, 8), (5, 4), (3, 2)]
    assert net.reduction == 32
    assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 7)


def test_channels_are_scaled_row_by_row_and_the_rest_left_alone():
    scaled = scaled_rows(GHOSTNET, 0.77)
    assert all(row.expanded % 4 == row.channels % 4 == 0 for row in scaled)
    for old, new in zip(GHOSTNET, scaled, strict=True):
        assert new.expanded == pytest.approx(0.77 * old.expanded, abs=4)
        assert new.channels == pytest.approx(0.77 * old.channels, abs=4)
        unchanged = ("kernel_size", "squeeze", "stride", "expand")
        assert [getattr(old, n) for n in unchanged] == [
            getattr(new, n) for n in unchanged
        ]
    assert scaled_rows(GHOSTNET, 1.0) == GHOSTNET
    assert scaled_rows(GHOSTNET[:1], 1.1, divisor=2)[0].channels == 18


def test_a_fifth_of_the_units_before_the_classifier_rests_in_training():
    """Dropout of 0.2, as in the authors' code; none in evaluation."""
    net = small_ghostnet_v1()
    dropout = net.classifier[4]
    share = (dropout(torch.ones(100_000)) == 0).float().mean().item()
    assert share == pytest.approx(0.2, abs=0.01)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(net.eval()(x), net(x))


def test_the_small_net_is_small():
    net = small_ghostnet_v1()
    assert parameter_count(net) == 32_778
    assert count_macs(net, torch.zeros(1, 1, 16, 16)).total == 501_568
    assert net.reduction == 4
    assert small_ghostnet_v1(classes=3)(torch.zeros(2, 1, 12, 12)).shape == (2, 3)


@pytest.mark.parametrize(
    ("width", "budget"),
    [(0.56, 2e5), (0.87, 4e5), (1.47, 1e6)],
)
def test_a_width_is_found_for_every_budget(width, budget):
    macs = count_macs(small_ghostnet_v1(width), torch.zeros(1, 1, 16, 16)).total
    assert macs == pytest.approx(budget, rel=0.05)


def test_the_small_net_learns_and_all_of_it():
    net = small_ghostnet_v1()
    x, y = next(iter(moved_digits(n_train=60).train.batches(60)))
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(9):
        loss = F.cross_entropy(net(x), y)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ghostnet_v1(0.05), "width must leave at least one of 16 channels"),
        (lambda: small_ghostnet_v1(0.1), "width must leave at least one of 8 channels"),
        (lambda: ghostnet_v1(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: ghostnet_v1(classes=0), "classes must be at least 1, got 0"),
        (lambda: GhostNetV1([]), "rows must be at least 1, got 0"),
        (lambda: GhostNetV1(SMALL_GHOSTNET, head=0), "head must be at least 1, got 0"),
        (
            lambda: GhostNetV1([GHOSTNET[1]._replace(kernel_size=2)]),
            "kernel_size must be odd, got 2",
        ),
        (
            lambda: ghostnet_v1(0.5)(torch.zeros(1, 3, 40, 31)),
            "x must have 32 x 32 pixels or more, got 40 x 31",
        ),
        (
            lambda: small_ghostnet_v1()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build()


def _closed_form(width: float) -> tuple[int, int]:
    """Return parameters and multiply-adds at 224 x 224, from the paper's table."""
    side, channels = 112, _multiple_of_4(16 * width)
    parameters, macs = 27 * channels + 2 * channels, 27 * channels * side**2

    def add(weights: int, others: int, pixels: int) -> None:
        nonlocal parameters, macs
        parameters, macs = parameters + weights + others, macs + weights * pixels

    for k, *sizes, se, stride in PAPER:
        exp, out = (_multiple_of_4(size * width) for size in sizes)
        add(channels * exp // 2 + 9 * exp // 2, 2 * exp, side**2)
        before, side = side, side // stride
        if stride == 2:
            add(k**2 * exp, 2 * exp, side**2)
        if se:
            hidden = _multiple_of_4(exp / 4)
            add(2 * exp * hidden, exp + hidden, 1)
        add(exp * out // 2 + 9 * out // 2, 2 * out, side**2)
        if side != before or channels != out:
            add(k**2 * channels, 2 * channels, side**2)
            add(channels * out, 2 * out, side**2)
        channels = out
    add(channels * exp, 2 * exp, side**2)
    add(exp * 1280, 1280, 1)
    add(1280 * 1000, 1000, 1)
    return parameters, macs


def _multiple_of_4(value: float) -> int:
    """Return the nearest, at least 4, and the next where a tenth would be lost."""
    nearest = max(4, 4 * math.floor(value / 4 + 0.5))
    return nearest + 4 if nearest < 0.9 * value else nearest
