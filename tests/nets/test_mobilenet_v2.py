"""MobileNetV2 against timm, torchvision, and its authors' list of models."""

import pytest
import torch
from torch import nn

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.mobilenet_v2 import (
    MobileNetV2,
    Stage,
    mobilenet_v2,
    small_mobilenet_v2,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import counted_on_paper, randomised

# Table 2 of the paper: t, c, n, s.
TABLE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
TABLE += [(6, 160, 3, 2), (6, 320, 1, 1)]


def test_parameters_by_hand():
    """A block from c to n channels, t c = w in between, has w (c + 9 + n) weights.

    Two numbers a channel in each batch norm; the first block has no expansion.
    """
    total, c = 27 * 32 + 2 * 32, 32
    for t, n, blocks, _ in TABLE:
        for _ in range(blocks):
            w = t * c
            total += w * (9 + n) + 2 * (w + n)
            total += (c * w + 2 * w) if t > 1 else 0
            c = n
    total += 320 * 1280 + 2 * 1280 + 1281 * 1000
    assert parameter_count(mobilenet_v2()) == total == 3504872


def test_parameters_of_the_small_network_by_hand():
    """8 channels, 8-8-16, 16-32-16, 16-48-32, twice 32-96-32, 64."""
    total = 9 * 8 + 16 + 32 * 64 + 128 + 650
    total += 8 * (9 + 16) + 2 * (8 + 16)
    for c, w, n in [(16, 32, 16), (16, 48, 32), (32, 96, 32), (32, 96, 32)]:
        total += w * (c + 9 + n) + 2 * (2 * w + n)
    assert parameter_count(small_mobilenet_v2()) == total == 22538


@pytest.mark.parametrize(("name", "width"), [("050", 0.5), ("100", 1.0), ("140", 1.4)])
def test_it_is_the_network_of_timm(name, width):
    timm = pytest.importorskip("timm")
    theirs = randomised(timm.create_model(f"mobilenetv2_{name}"))
    _assert_same(mobilenet_v2(width), theirs)


def test_it_is_the_network_of_torchvision():
    models = pytest.importorskip("torchvision.models")
    theirs = randomised(models.mobilenet_v2())
    _assert_same(mobilenet_v2(), theirs)
    x = torch.zeros(1, 3, 64, 64)
    assert count_macs(mobilenet_v2(), x).total == count_macs(theirs, x).total


@pytest.mark.parametrize(
    ("width", "millions_of_macs", "millions_of_weights"),
    [
        (1.4, 582, 6.06),
        (1.0, 300, 3.47),
        (0.75, 209, 2.61),
        (0.5, 97, 1.95),
        (0.35, 59, 1.66),
    ],
)
def test_widths_as_the_authors_list_them(width, millions_of_macs, millions_of_weights):
    """Their millions of MACs are cut off, their weights are those without batch norm.

    This is why 3.47, and 3.4 in the paper, is less than the 3.50 of the network.
    """
    net, macs = counted_on_paper(lambda: mobilenet_v2(width), 224)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    weights = parameter_count(net) - sum(map(parameter_count, norms))
    assert macs // 10**6 == millions_of_macs
    assert round(weights / 1e6, 2) == millions_of_weights


@pytest.mark.parametrize(("width", "channels"), [(0.5, 1280), (1, 1280), (1.4, 1792)])
def test_the_last_convolution_only_grows(width, channels):
    net, _ = counted_on_paper(lambda: mobilenet_v2(width), 64)
    assert net.classifier[-1].in_features == channels


@pytest.mark.parametrize(
    ("builder", "reduction"), [(mobilenet_v2, 32), (small_mobilenet_v2, 4)]
)
def test_reduction_is_what_the_maps_show(builder, reduction):
    net, _ = counted_on_paper(builder, 64)
    maps = net.features(torch.zeros(1, net.in_channels, 64, 64, device="meta"))
    assert net.reduction == reduction
    assert maps.shape[2:] == (64 // reduction, 64 // reduction)


def test_only_the_first_block_of_a_stage_strides():
    net = MobileNetV2([Stage(2, 4, 3, 2), Stage(3, 8, 2, 1)], stem=2, head=5)
    blocks = net.features[1:-1]
    convs = [block.layers[1][0] for block in blocks]
    assert [conv.stride[0] for conv in convs] == [2, 1, 1, 1, 1]
    assert [conv.groups for conv in convs] == [4, 8, 8, 12, 24]
    assert [block.has_shortcut for block in blocks] == [False, True, True, False, True]


def test_a_fifth_of_the_last_features_drops_out():
    drops = [m for m in small_mobilenet_v2().modules() if isinstance(m, nn.Dropout)]
    assert [drop.p for drop in drops] == [0.2]
    assert isinstance(mobilenet_v2(0.35).classifier[2], nn.Dropout)  # after the mean


def test_small_network_costs_what_it_should():
    net, macs = counted_on_paper(small_mobilenet_v2, 16)
    assert 400_000 <= macs <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 500_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    guess = (budget / 455_000) ** 0.5
    widths = [guess * (0.94 + 0.02 * step) for step in range(7)]
    macs = [counted_on_paper(lambda w=w: small_mobilenet_v2(w), 16)[1] for w in widths]
    assert min(abs(m / budget - 1) for m in macs) < 0.05


def test_other_images_and_classes_are_possible():
    net = small_mobilenet_v2(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = mobilenet_v2(0.35, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_mobilenet_v2()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    batch = moved_digits(n_train=100, n_validation=1, n_test=1).train
    losses = train_classifier(small_mobilenet_v2(), batch, epochs=15)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mobilenet_v2(0.01), "width must leave at least one of 16 channels"),
        (lambda: mobilenet_v2(float("nan")), "width must leave at least one of 16"),
        (lambda: small_mobilenet_v2(0.0), "width must leave at least one of 16"),
        (lambda: mobilenet_v2(classes=0), "classes must be at least 1, got 0"),
        (lambda: mobilenet_v2(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: MobileNetV2([], stem=0), "stem must be at least 1, got 0"),
        (lambda: MobileNetV2([], stem_stride=0), "stem_stride must be at least 1"),
        (lambda: MobileNetV2([], head=0), "head must be at least 1, got 0"),
        (lambda: MobileNetV2([Stage(6, 8, 0, 1)]), "blocks must be at least 1, got 0"),
        (lambda: MobileNetV2([Stage(6, 0, 1, 1)]), "channels must be at least 1"),
        (lambda: MobileNetV2([Stage(6, 8, 1, 0)]), "stride must be at least 1, got 0"),
        (lambda: MobileNetV2([Stage(0, 8, 1, 1)]), "expansion must be at least 1"),
        (
            lambda: mobilenet_v2(0.35)(torch.zeros(1, 3, 64, 31)),
            "x must have 32 x 32 pixels or more, got 64 x 31",
        ),
        (
            lambda: small_mobilenet_v2()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_mobilenet_v2()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _assert_same(ours, theirs):
    """Compare parameters, and the outputs with the same weights."""
    ours, x = ours.eval(), 10 * torch.randn(1, 3, 64, 65)  # for ReLU6 to clip
    assert parameter_count(ours) == parameter_count(theirs)
    load_in_order_(ours, theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
