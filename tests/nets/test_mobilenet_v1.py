"""MobileNetV1 against its equations, timm, and the numbers of its paper."""

from collections import Counter

import pytest
import torch
from torch import nn

from effdl.blocks import conv_bn
from effdl.conv.depthwise import depthwise, separable_saving
from effdl.conv.pointwise import pointwise
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.mobilenet_v1 import (
    MOBILENET_V1,
    MobileNetV1,
    SeparableBlock,
    Stage,
    mobilenet_v1,
    small_mobilenet_v1,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import randomised

# Channels of the 13 blocks, in and out, as in Table 1 of the paper.
CHANNELS = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
CHANNELS += [(512, 512)] * 5 + [(512, 1024), (1024, 1024)]


@pytest.mark.parametrize("stride", [1, 2])
def test_block_is_the_two_equations(stride):
    """Shifted copies and a matrix product; inputs so large that ReLU6 clips."""
    block = randomised(SeparableBlock(5, 7, stride=stride))
    (conv, bn, _), (mix, mix_bn, _) = block.depthwise, block.pointwise
    x = 5 * torch.randn(2, 5, 8, 9)

    y = depthwise(x, conv.weight)[:, :, ::stride, ::stride]
    y = _normalised(y, bn).clamp(0, 6)
    z = _normalised(pointwise(y, mix.weight[:, :, 0, 0]), mix_bn).clamp(0, 6)

    assert (y == 6).any()
    assert (z == 6).any()
    torch.testing.assert_close(block(x), z)


def test_parameters_by_hand():
    """A block has 9 c + c n weights, and two numbers a channel in each batch norm."""
    stem = 3 * 9 * 32 + 2 * 32
    blocks = sum(9 * c + 2 * c + c * n + 2 * n for c, n in CHANNELS)
    assert (
        parameter_count(mobilenet_v1()) == stem + blocks + 1024 * 1000 + 1000 == 4231976
    )


def test_parameters_of_the_small_network_by_hand():
    """16 channels, then 16-32, 32-32, 32-64, and three times 64-64."""
    pairs = [(16, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64)]
    blocks = sum(9 * c + 2 * c + c * n + 2 * n for c, n in pairs)
    assert parameter_count(small_mobilenet_v1()) == 9 * 16 + 32 + blocks + 650 == 20330


@pytest.mark.parametrize(("name", "width"), [("100", 1.0), ("125", 1.25)])
def test_it_is_the_network_of_timm(name, width):
    timm = pytest.importorskip("timm")
    theirs = randomised(timm.create_model(f"mobilenetv1_{name}"))
    ours = mobilenet_v1(width).eval()
    assert parameter_count(ours) == parameter_count(theirs)
    x = 10 * torch.randn(1, 3, 64, 65)  # ReLU6 has something to clip
    assert count_macs(ours, x).total == count_macs(theirs, x).total

    load_in_order_(ours, theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("width", "size", "millions_of_macs", "millions_of_weights"),
    [
        (1.0, 224, 569, 4.2),
        (0.75, 224, 325, 2.6),
        (0.5, 224, 149, 1.3),
        (0.25, 224, 41, 0.5),
        (1.0, 192, 418, 4.2),
        (1.0, 160, 290, 4.2),
        (1.0, 128, 186, 4.2),
    ],
)
def test_widths_and_resolutions_as_published(
    width, size, millions_of_macs, millions_of_weights
):
    """Tables 6 and 7. Of the 290.7 at 160 pixels the paper prints 290."""
    net, macs = _on_paper(lambda: mobilenet_v1(width), size)
    assert macs.total() / 1e6 == pytest.approx(millions_of_macs, abs=0.75)
    assert round(parameter_count(net) / 1e6, 1) == millions_of_weights


def test_ordinary_convolutions_in_place_of_the_blocks_cost_what_the_paper_says():
    """29.3 million weights; 4866 million MACs, which leave the linear layer out."""

    def ordinary(in_channels, out_channels, *, stride):
        return conv_bn(in_channels, out_channels, 3, stride=stride)

    net, macs = _on_paper(lambda: MobileNetV1(MOBILENET_V1, block=ordinary), 224)
    separable, few = _on_paper(mobilenet_v1, 224)
    assert round(parameter_count(net) / 1e6, 1) == 29.3
    assert (macs.total() - 1024 * 1000) // 10**6 == 4866
    assert parameter_count(net) / parameter_count(separable) == pytest.approx(
        7, abs=0.1
    )
    assert macs.total() / few.total() == pytest.approx(8.6, abs=0.05)


def test_share_of_the_layers_as_published():
    """Table 2: 94.86 % of the MACs are pointwise, 3.06 % depthwise."""
    _, macs = _on_paper(mobilenet_v1, 224)
    shares = {kind: round(100 * n / macs.total(), 2) for kind, n in macs.items()}
    assert (shares["(1, 1)"], shares["depthwise"]) == (94.86, 3.06)


@pytest.mark.parametrize(("c", "n"), [(32, 64), (64, 128)])
def test_block_saves_what_the_formula_says(c, n):
    _, ordinary = _on_paper(lambda: conv_bn(c, n, 3), 6)
    _, separable = _on_paper(lambda: SeparableBlock(c, n), 6)
    saving = ordinary.total() / separable.total()
    assert saving == pytest.approx(separable_saving(n, 3))


def test_half_the_resolution_takes_a_quarter_of_the_macs():
    (_, full), (_, half) = (_on_paper(mobilenet_v1, size) for size in (128, 64))
    assert full["()"] == half["()"] == 1024 * 1000  # the linear layer
    assert full.total() - full["()"] == 4 * (half.total() - half["()"])


@pytest.mark.parametrize("builder", [mobilenet_v1, small_mobilenet_v1])
def test_reduction_is_what_the_maps_show(builder):
    net, _ = _on_paper(builder, 64)
    channels = net.features[0][0].in_channels
    maps = net.features(torch.zeros(1, channels, 64, 64, device="meta"))
    assert maps.shape[2:] == (64 // net.reduction, 64 // net.reduction)
    assert net.reduction == (32 if builder is mobilenet_v1 else 4)


def test_only_the_first_block_of_a_stage_strides():
    net = MobileNetV1((Stage(4, 3, 2), Stage(8, 2, 1)), stem=2, stem_stride=1)
    convs = [block.depthwise[0] for block in net.features[1:]]
    assert [conv.stride[0] for conv in convs] == [2, 1, 1, 1, 1]
    assert [conv.in_channels for conv in convs] == [2, 4, 4, 4, 8]


def test_width_scales_every_channel_but_the_image_and_the_classes():
    convs = [m for m in mobilenet_v1(0.5).modules() if isinstance(m, nn.Conv2d)]
    pointwise_convs = [m for m in convs[1:] if m.groups == 1]
    assert (convs[0].in_channels, convs[0].out_channels) == (3, 16)
    assert [(m.in_channels, m.out_channels) for m in pointwise_convs] == [
        (c // 2, n // 2) for c, n in CHANNELS
    ]


def test_small_network_costs_what_it_should():
    net, macs = _on_paper(small_mobilenet_v1, 16)
    assert 400_000 <= macs.total() <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 500_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    guess = (budget / 425_000) ** 0.5
    widths = [guess * (0.92 + 0.02 * step) for step in range(9)]
    macs = [_on_paper(lambda w=w: small_mobilenet_v1(w), 16)[1] for w in widths]
    assert min(abs(m.total() / budget - 1) for m in macs) < 0.05


def test_other_images_and_classes_are_possible():
    net = small_mobilenet_v1(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    assert mobilenet_v1(0.25, in_channels=1, classes=5)(
        torch.randn(2, 1, 32, 32)
    ).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_mobilenet_v1()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    batch = moved_digits(n_train=100, n_validation=1, n_test=1).train
    losses = train_classifier(small_mobilenet_v1(), batch, epochs=15)
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mobilenet_v1(0.01), "width must leave at least one of 64 channels"),
        (lambda: small_mobilenet_v1(0.0), "width must leave at least one of 32"),
        (lambda: mobilenet_v1(classes=0), "classes must be at least 1, got 0"),
        (lambda: mobilenet_v1(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: MobileNetV1([], stem=0), "stem must be at least 1, got 0"),
        (lambda: MobileNetV1([], stem_stride=0), "stem_stride must be at least 1"),
        (lambda: MobileNetV1([Stage(8, 0, 1)]), "blocks must be at least 1, got 0"),
        (lambda: MobileNetV1([Stage(0, 1, 1)]), "channels must be at least 1, got 0"),
        (lambda: MobileNetV1([Stage(8, 1, 0)]), "stride must be at least 1, got 0"),
        (lambda: SeparableBlock(0, 8), "in_channels must be at least 1, got 0"),
        (lambda: SeparableBlock(8, 0), "out_channels must be at least 1, got 0"),
        (lambda: SeparableBlock(4, 8)(torch.zeros(1, 3, 5, 5)), "x must have 4 chan"),
        (
            lambda: mobilenet_v1(0.25)(torch.zeros(1, 3, 64, 31)),
            "x must have 32 x 32 pixels or more, got 64 x 31",
        ),
        (
            lambda: small_mobilenet_v1()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_mobilenet_v1()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _on_paper(build, size):
    """Return a network without numbers, and its MACs by kind: only shapes are computed.

    A layer takes as many MACs as it has outputs, times the weights of one of them.
    """
    with torch.device("meta"):
        net = build()
    macs = Counter()

    def count(layer, _, y):
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
        kind = "depthwise" if depthwise else str(tuple(layer.weight.shape[2:]))
        macs[kind] += y.numel() * layer.weight[0].numel()

    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    net(torch.zeros(1, first.in_channels, size, size, device="meta"))
    return net, macs


def _normalised(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    return x * scale[:, None, None] + shift[:, None, None]
