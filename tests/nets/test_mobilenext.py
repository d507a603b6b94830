"""MobileNeXt against the rules of its authors' code and their list of models."""

import math

import pytest
import torch
from torch import nn

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.mobilenet_v2 import mobilenet_v2
from effdl.nets.mobilenext import MobileNeXt, Stage, mobilenext, small_mobilenext
from effdl.train import train_classifier
from on_paper import counted_on_paper

# The table of the authors' code: t, c, n, s.
TABLE = [(2, 96, 1, 2), (6, 144, 1, 1), (6, 192, 3, 2), (6, 288, 3, 2), (6, 384, 4, 1)]
TABLE += [(6, 576, 4, 2), (6, 960, 3, 1), (6, 1280, 1, 1)]


@pytest.mark.parametrize(
    ("width", "parameters", "macs"),
    [(1.0, 3535416, 311342592), (0.5, 2152304, 103256448), (1.4, 6126168, 588319256)],
)
def test_parameters_and_macs_follow_from_the_rules_of_the_official_code(
    width, parameters, macs
):
    """Layer by layer, from the four numbers of a row and the rules alone."""
    assert _official(width) == (parameters, macs)
    net, counted = counted_on_paper(lambda: mobilenext(width), 224)
    assert (parameter_count(net), counted) == (parameters, macs)


def test_parameters_by_hand():
    """The first block at stride 2 and the last stage, in numbers.

    Depthwise 32 and 96, 1 x 1 from 32 to 16 to 96; 960 to 224 to 1280, because 160 is
    less than 1280 / 6 = 213.3, of which 214 rounds to 208, and that is enough.
    """
    first, last = mobilenext().features[1], mobilenext().features[-1]
    norms = 2 * (32 + 16 + 96 + 96)
    assert parameter_count(first) == 9 * 32 + 32 * 16 + 16 * 96 + 9 * 96 + norms
    norms = 2 * (960 + 208 + 1280 + 1280)
    assert parameter_count(last) == 9 * 960 + 960 * 208 + 208 * 1280 + 9 * 1280 + norms


@pytest.mark.parametrize(
    ("width", "millions_of_macs", "millions_of_weights", "off"),
    [
        (1.4, 590, 6.1, 0.01),
        (1.0, 300, 3.5, 0.04),
        (0.75, 210, 2.5, 0.11),
        (0.5, 110, 2.1, 0.07),
        (0.35, 80, 1.8, 0.07),
    ],
)
def test_widths_as_the_authors_list_them(
    width, millions_of_macs, millions_of_weights, off
):
    net, macs = counted_on_paper(lambda: mobilenext(width), 224)
    assert macs / 1e6 == pytest.approx(millions_of_macs, rel=off)
    assert parameter_count(net) / 1e6 == pytest.approx(millions_of_weights, rel=off)


def test_published_numbers_of_the_paper_are_within_five_percent():
    """3.4 million, which is 3.48 without batch norm, cut off; and 300 million MACs."""
    net, macs = counted_on_paper(mobilenext, 224)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    weights = parameter_count(net) - sum(map(parameter_count, norms))
    assert round(weights / 1e6, 2) == 3.48
    assert parameter_count(net) / 1e6 == pytest.approx(3.4, rel=0.05)
    assert macs / 1e6 == pytest.approx(300, rel=0.05)
    first_convolution = 112 * 112 * 27 * 32
    assert (macs - first_convolution) / 1e6 == pytest.approx(300.5, abs=0.05)
    _, macs_of_v2 = counted_on_paper(mobilenet_v2, 224)
    assert macs == pytest.approx(macs_of_v2, rel=0.04)


def test_macs_agree_with_the_counter_that_reads_a_graph():
    x = torch.zeros(1, 3, 64, 64)
    assert count_macs(mobilenext(), x).total == counted_on_paper(mobilenext, 64)[1]


def test_only_the_first_block_of_a_stage_strides():
    net = MobileNeXt([Stage(2, 12, 3, 2, 1), Stage(3, 18, 2, 1, 0)], stem=6)
    sides = [[layer[0].kernel_size[0] for layer in b.layers] for b in net.features[1:]]
    whole = [3, 1, 1, 3]
    assert sides == [[1, 1, 3], whole, whole, [1, 1], whole]
    strides = [block.layers[-1][0].stride[0] for block in net.features[1:]]
    assert strides == [2, 1, 1, 1, 1]
    assert [block.added for block in net.features[1:]] == [0, 12, 12, 0, 18]
    middles = [min(la[0].out_channels for la in b.layers) for b in net.features[1:]]
    assert middles == [3, 6, 6, 4, 6]


@pytest.mark.parametrize(("width", "channels"), [(0.5, 1280), (1, 1280), (1.4, 1792)])
def test_the_last_stage_only_grows(width, channels):
    with torch.device("meta"):
        assert mobilenext(width).classifier[-1].in_features == channels


@pytest.mark.parametrize("builder", [mobilenext, small_mobilenext])
def test_identity_share_reaches_every_shortcut_and_costs_nothing(builder):
    with torch.device("meta"):
        whole, half = builder(), builder(identity_share=0.5)
    added = [block.added for block in whole.features[1:]]
    assert any(added)
    assert [block.added for block in half.features[1:]] == [n // 2 for n in added]
    assert parameter_count(whole) == parameter_count(half)


@pytest.mark.parametrize(
    ("builder", "reduction"), [(mobilenext, 32), (small_mobilenext, 4)]
)
def test_reduction_is_what_the_maps_show(builder, reduction):
    net, _ = counted_on_paper(builder, 64)
    maps = net.features(torch.zeros(1, net.in_channels, 64, 64, device="meta"))
    assert net.reduction == reduction
    assert maps.shape[2:] == (64 // reduction, 64 // reduction)


def test_a_fifth_of_the_last_features_drops_out():
    with torch.device("meta"):
        for net in mobilenext(), small_mobilenext():
            drops = [m for m in net.modules() if isinstance(m, nn.Dropout)]
            assert [drop.p for drop in drops] == [0.2]
            assert net.classifier[2] is drops[0]  # after the mean


def test_parameters_of_the_small_network_by_hand():
    """8 channels, 8-4-16, 16-8-40, 40-20-40, 40-20-104, 104-52-104: c, m, n.

    Of the depthwise layers, the second block lacks the first and the fourth both.
    """
    total = 9 * 8 + 16 + 104 * 10 + 10
    for c, m, n, first, last in [
        (8, 4, 16, 1, 1),
        (16, 8, 40, 0, 1),
        (40, 20, 40, 1, 1),
        (40, 20, 104, 0, 0),
        (104, 52, 104, 1, 1),
    ]:
        total += c * m + m * n + 2 * (m + n) + first * 11 * c + last * 11 * n
    assert parameter_count(small_mobilenext()) == total == 21666


def test_small_network_costs_what_it_should():
    net, macs = counted_on_paper(small_mobilenext, 16)
    assert 385_000 <= macs <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 500_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    guess = (budget / 395_000) ** 0.5
    widths = [guess * (0.92 + 0.02 * step) for step in range(9)]
    macs = [counted_on_paper(lambda w=w: small_mobilenext(w), 16)[1] for w in widths]
    assert min(abs(m / budget - 1) for m in macs) < 0.05


def test_other_images_and_classes_are_possible():
    net = small_mobilenext(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = mobilenext(0.35, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_mobilenext()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    batch = moved_digits(n_train=100, n_validation=1, n_test=1).train
    losses = train_classifier(small_mobilenext(), batch, epochs=15)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mobilenext(0.005), "width must leave at least one of 96 channels"),
        (lambda: mobilenext(float("nan")), "width must leave at least one of 96"),
        (lambda: small_mobilenext(0.0), "width must leave at least one of 16"),
        (lambda: mobilenext(classes=0), "classes must be at least 1, got 0"),
        (lambda: mobilenext(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: mobilenext(identity_share=0), "identity_share must be above 0"),
        (lambda: MobileNeXt([], stem=0), "stem must be at least 1, got 0"),
        (lambda: MobileNeXt([], stem_stride=0), "stem_stride must be at least 1"),
        (lambda: MobileNeXt([Stage(6, 8, 0, 1, 2)]), "blocks must be at least 1"),
        (lambda: MobileNeXt([Stage(6, 0, 1, 1, 2)]), "channels must be at least 1"),
        (lambda: MobileNeXt([Stage(6, 8, 1, 0, 2)]), "stride must be at least 1"),
        (lambda: MobileNeXt([Stage(0, 8, 1, 1, 2)]), "ratio must be at least 1"),
        (lambda: MobileNeXt([Stage(6, 8, 1, 2, 0)]), r"depthwise must be in 1..2"),
        (
            lambda: mobilenext(0.35)(torch.zeros(1, 3, 64, 31)),
            "x must have 32 x 32 pixels or more, got 64 x 31",
        ),
        (
            lambda: small_mobilenext()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_mobilenext()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _official(width):
    """Return parameters and MACs at 224 x 224 by the rules of the authors' code.

    The middle has c / t channels, but n / 6, rounded to 16, if that is more. All blocks
    have four layers, except where the channels change in a stage of several blocks, or
    with stride 2 and t = 6: then the first layer is missing, and with stride 1 the
    last one, too.
    """
    side, c = 112, _rounded(32 * width, 8)
    parameters, macs = 27 * c + 2 * c, side**2 * 27 * c
    for t, channels, blocks, stride in TABLE:
        n = _rounded(channels * (max(1, width) if channels == 1280 else width), 8)
        for s in [stride] + [1] * (blocks - 1):
            m = c // t
            if m < n / 6:
                m = _rounded(math.ceil(n / 6), 16)
            changes = c != n and t == 6 and (s == 2 or blocks > 1)
            first, last = not changes, not changes or s == 2
            parameters += first * 11 * c + c * m + 2 * m + m * n + 2 * n + last * 11 * n
            macs += side**2 * (first * 9 * c + c * m + m * n)
            side //= s
            macs += side**2 * last * 9 * n
            c = n
    return parameters + 1000 * c + 1000, macs + 1000 * c


def _rounded(value, divisor):
    """Return the nearest multiple, or the one above if that takes over a tenth away."""
    nearest = max(divisor, int(value / divisor + 0.5) * divisor)
    return nearest + divisor * (nearest < 0.9 * value)
