"""GhostNetV2 against timm's, against V1 with all gates open, and on small scenes."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.dfc_attention import DfcGate, dfc_cost
from effdl.conv.ghost import GhostConv2d
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.ghostnet_v1 import GHOSTNET, SMALL_GHOSTNET, GhostNetV1
from effdl.nets.ghostnet_v2 import (
    GatedGhostConv2d,
    GhostNetV2,
    gated_rows,
    ghostnet_v2,
    small_ghostnet_v2,
)
from effdl.nets.weights import load_in_order_
from on_paper import randomised


def test_the_layer_is_ghost_maps_times_gate_of_the_same_input():
    layer, x = GatedGhostConv2d(6, 16).eval(), torch.randn(2, 6, 8, 8)
    assert torch.equal(layer(x), layer.ghost(x) * layer.gate(x))
    assert isinstance(layer.ghost, GhostConv2d)
    assert isinstance(layer.gate, DfcGate)


def test_parameters_and_macs_are_those_of_v1_and_fourteen_gates():
    """Inputs and outputs of the expanding layers, and their maps at 224 x 224.

    Each gate has three batch norms, two numbers a channel each.
    """
    gates = [
        (24, 72, 56), (24, 72, 56), (40, 120, 28), (40, 240, 28), (80, 200, 14),
        (80, 184, 14), (80, 184, 14), (80, 480, 14), (112, 672, 14), (112, 672, 14),
        (160, 960, 7), (160, 960, 7), (160, 960, 7), (160, 960, 7),
    ]  # fmt: skip
    parameters, macs = 5_182_508, 141_150_512
    for in_channels, out_channels, side in gates:
        cost = dfc_cost(in_channels, out_channels, side)
        parameters += cost.parameters + 6 * out_channels
        macs += cost.macs
    net = ghostnet_v2()
    count = count_macs(net, torch.zeros(1, 3, 224, 224))
    assert parameter_count(net) == parameters == 6_156_908
    assert count.total == macs == 167_048_288
    assert count.fvcore_total == 177_573_872  # what fvcore adds: 6.3 %


@pytest.mark.parametrize(
    ("width", "parameters", "published"),
    [(1.0, 6_156_908, 6.1), (1.3, 8_960_404, 8.9), (1.6, 12_392_698, 12.3)],
)
def test_published_parameters_are_met_to_the_digits_given(width, parameters, published):
    """They are cut off, not rounded: 6.157, 8.960 and 12.393 million."""
    with torch.device("meta"):
        assert parameter_count(ghostnet_v2(width)) == parameters
    assert int(10 * parameters / 1e6) / 10 == published


@pytest.mark.parametrize("width", [0.35, 1.0, 1.3])
def test_agrees_with_timm(width):
    ghostnet = pytest.importorskip("timm.models.ghostnet")
    theirs = ghostnet._create_ghostnet("ghostnetv2_100", width=width, version="v2")
    ours = ghostnet_v2(width)
    randomised(theirs)
    load_in_order_(ours, theirs.state_dict())
    assert parameter_count(ours) == parameter_count(theirs)
    x = torch.randn(2, 3, 40, 64)
    with torch.no_grad():
        logits = theirs.eval()(x)
        torch.testing.assert_close(ours.eval()(x), logits, rtol=1e-5, atol=1e-5)
    assert logits.std() > 0.01


@pytest.mark.parametrize(("in_channels", "out_channels"), [(6, 16), (5, 13)])
def test_the_layer_agrees_with_timm(in_channels, out_channels):
    ghostnet = pytest.importorskip("timm.models.ghostnet")
    theirs = ghostnet.GhostModuleV2(in_channels, out_channels)
    ours = GatedGhostConv2d(in_channels, out_channels)
    randomised(theirs)
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, in_channels, 9, 8)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_with_all_gates_open_it_is_v1():
    ours, v1 = small_ghostnet_v2().eval(), _small_v1().eval()
    for layer in ours.modules():
        if isinstance(layer, DfcGate):
            nn.init.constant_(layer.vertical[1].bias, 1000.0)
    gate = re.compile(r"\.gate\.(project|horizontal|vertical)\.")
    state = {n: t for n, t in ours.state_dict().items() if not gate.search(n)}
    load_in_order_(v1, state)
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(ours(x), v1(x))


def test_the_first_two_bottlenecks_have_no_gate_and_nothing_else_changes():
    rows = gated_rows(GHOSTNET)
    assert [row.expand for row in rows] == [GhostConv2d] * 2 + [GatedGhostConv2d] * 14
    assert tuple(row._replace(expand=GhostConv2d) for row in rows) == GHOSTNET
    with torch.device("meta"):
        net = ghostnet_v2()
    gates = [
        number
        for number, layer in enumerate(net.features)
        if any(isinstance(m, DfcGate) for m in layer.modules())
    ]
    assert gates == list(range(3, 17))  # 0 is the stem, 17 the last pointwise layer


def test_it_takes_the_arguments_of_v1():
    arguments = {"stem": 4, "stem_stride": 3, "head": 6, "in_channels": 2, "classes": 5}
    v1 = GhostNetV1(SMALL_GHOSTNET, **arguments)
    net = GhostNetV2(SMALL_GHOSTNET, **arguments)
    assert net.reduction == v1.reduction == 12
    for own, other in (
        (net.features[0], v1.features[0]),
        (net.classifier, v1.classifier),
    ):
        assert str(own) == str(other)


def test_the_small_net_is_small():
    net = small_ghostnet_v2()
    assert parameter_count(net) == 41_674
    assert count_macs(net, torch.zeros(1, 1, 16, 16)).total == 568_640
    assert net.reduction == 4
    assert small_ghostnet_v2(classes=3)(torch.zeros(2, 1, 12, 12)).shape == (2, 3)


@pytest.mark.parametrize(
    ("width", "budget"), [(0.54, 2e5), (0.82, 4e5), (1.21, 8e5), (1.38, 1e6)]
)
def test_a_width_is_found_for_every_budget(width, budget):
    macs = count_macs(small_ghostnet_v2(width), torch.zeros(1, 1, 16, 16)).total
    assert macs == pytest.approx(budget, rel=0.05)


def test_the_small_net_learns_and_all_of_it():
    net = small_ghostnet_v2()
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
        (lambda: ghostnet_v2(0.05), "width must leave at least one of 16 channels"),
        (lambda: small_ghostnet_v2(0.1), "width must leave at least one of 8 channels"),
        (lambda: GhostNetV2([]), "rows must be at least 1, got 0"),
        (lambda: GatedGhostConv2d(0, 8), "in_channels must be at least 1, got 0"),
        (
            lambda: GatedGhostConv2d(3, 8)(torch.zeros(1, 3, 1, 4)),
            "x must have 2 x 2 pixels or more, got 1 x 4",
        ),
        (
            lambda: ghostnet_v2(0.5)(torch.zeros(1, 3, 33, 32)),
            "x must have 33 x 33 pixels or more, got 33 x 32",
        ),
        (
            lambda: small_ghostnet_v2()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build()


@pytest.mark.parametrize(("build", "side"), [(ghostnet_v2, 33), (small_ghostnet_v2, 5)])
def test_one_pixel_more_than_the_reduction_is_enough(build, side):
    net = build(0.5).eval()
    x = torch.zeros(1, net.in_channels, side, side)
    assert net(x).isfinite().all()


def _small_v1() -> GhostNetV1:
    return GhostNetV1(
        SMALL_GHOSTNET, stem=8, stem_stride=1, head=96, in_channels=1, classes=10
    )
