"""ShuffleNetV2 against its equations, torchvision, and guideline G1 by brute force."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.channel_shuffle import channel_shuffle
from effdl.conv.cost import conv_cost
from effdl.conv.depthwise import depthwise
from effdl.conv.pointwise import pointwise
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.shufflenet_v1 import Stage, shufflenet_v1
from effdl.nets.shufflenet_v2 import (
    BasicUnit,
    DownUnit,
    ShuffleNetV2,
    least_memory_access,
    shufflenet_v2,
    small_shufflenet_v2,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import counted_on_paper, randomised


def test_basic_unit_is_the_equations():
    unit, x = randomised(BasicUnit(12)), torch.randn(2, 12, 7, 8)
    worked = _branch(unit.branch, x[:, 6:], stride=1)
    expected = channel_shuffle(torch.cat((x[:, :6], worked), dim=1), 2)
    torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_down_unit_is_the_equations(stride):
    unit, x = randomised(DownUnit(5, 12, stride=stride)), torch.randn(2, 5, 7, 8)
    (depth, norm), (mix, mix_norm, _) = unit.shortcut
    y = _normalised(depthwise(x, depth.weight)[:, :, ::stride, ::stride], norm)
    y = F.relu(_normalised(pointwise(y, mix.weight[:, :, 0, 0]), mix_norm))
    joined = torch.cat((y, _branch(unit.branch, x, stride)), dim=1)
    torch.testing.assert_close(unit(x), channel_shuffle(joined, 2))


def test_units_by_hand():
    """116 channels: half of them, 58, meet two 58 x 58 tables and nine taps each."""
    basic, down = BasicUnit(116), DownUnit(24, 116)
    assert _weights(basic) == 2 * 58 * 58 + 9 * 58 == 7250
    assert _weights(down) == (9 * 24 + 24 * 58) + (24 * 58 + 9 * 58 + 58 * 58) == 6886


def test_bound_by_hand():
    """64 to 64 channels on 56 x 56: 3136 * 128 + 4096 numbers; 32 to 128: 20 % more."""
    macs = 3136 * 64 * 64
    assert least_memory_access(macs, 56) == 3136 * 128 + 4096 == 405_504
    assert conv_cost(32, 128, 1, 56).memory_access == 3136 * 160 + 4096
    assert least_memory_access(macs, (28, 112)) == least_memory_access(macs, 56)


@pytest.mark.parametrize("stride", [1, 2])
def test_units_agree_with_torchvision(stride):
    models = pytest.importorskip("torchvision.models.shufflenetv2")
    theirs = randomised(models.InvertedResidual(12, 12, stride))
    ours = (BasicUnit(12) if stride == 1 else DownUnit(12, 12)).eval()
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 12, 7, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("width", "parameters", "macs", "published"),
    [
        (0.5, 1_366_792, 40.5, 41),
        (1.0, 2_278_604, 144.9, 146),
        (1.5, 3_503_624, 295.8, 299),
        (2.0, 7_393_996, 583.3, 591),
    ],
)
def test_it_is_the_network_of_torchvision(width, parameters, macs, published):
    """MACs in millions. The authors' first unit has (half - stem)^2 more a pixel."""
    models = pytest.importorskip("torchvision.models")
    name = f"shufflenet_v2_x{str(width).replace('.', '_')}"
    theirs, ours = randomised(getattr(models, name)()), shufflenet_v2(width).eval()
    assert parameter_count(ours) == parameter_count(theirs) == parameters
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 3, 64, 65)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))

    _, counted = _network(width)
    assert counted == counted_on_paper(lambda: getattr(models, name)(), 224)[1]
    assert round(counted / 1e6, 1) == macs
    half = ours.features[2].branch[0][0].out_channels
    authors = counted + (half - 24) ** 2 * 28**2
    assert authors / 1e6 == pytest.approx(published, abs=0.6)


def test_a_traced_count_agrees_with_the_count_of_shapes():
    """The two counters share no code."""
    counted = count_macs(shufflenet_v2(0.5), torch.zeros(1, 3, 64, 64)).total
    assert counted == counted_on_paper(lambda: shufflenet_v2(0.5), 64)[1]


def test_it_costs_what_the_first_version_costs():
    """The survey: 72.6 against 71.5 % under comparable FLOPs, 299 against 292 M."""
    _, second = _network(1.5)
    _, first = counted_on_paper(lambda: shufflenet_v1(1.5), 224)
    assert second / first == pytest.approx(1.01, abs=0.005)
    assert round(72.6 - 71.5, 1) == 1.1


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (14, 28)])
def test_equal_widths_move_least_of_all_with_as_many_macs(size):
    """Guideline G1, over all pairs of widths whose product is 3600."""
    area, product = math.prod(size), 3600
    bound = least_memory_access(product * area, size)
    moved = {
        c: conv_cost(c, product // c, 1, size).memory_access
        for c in range(1, product + 1)
        if product % c == 0
    }
    assert min(moved, key=moved.get) == 60
    assert moved[60] == pytest.approx(bound, rel=1e-12)
    assert all(numbers > bound for c, numbers in moved.items() if c != 60)


def test_no_widths_at_all_move_less_than_the_bound():
    for c in range(1, 40):
        for n in range(1, 40):
            cost = conv_cost(c, n, 1, 5)
            assert cost.memory_access >= least_memory_access(cost.macs, 5) - 1e-9


def test_groups_move_more_at_equal_macs():
    """Guideline G2: with g groups, g times the outputs for the same MACs."""
    costs = [conv_cost(64, 64 * g, 1, 28, groups=g) for g in (1, 2, 4, 8)]
    assert len({cost.macs for cost in costs}) == 1
    moved = [cost.memory_access for cost in costs]
    assert moved == sorted(set(moved))


def test_half_of_the_input_comes_out_of_a_basic_unit_untouched():
    unit, x = BasicUnit(12).eval(), torch.randn(1, 12, 5, 5)
    assert torch.equal(unit(x)[:, ::2], x[:, :6])


def test_stages_have_the_channels_and_sizes_of_the_table():
    net, _ = _network(1.5)
    x, shapes = torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in net.features:
        x = layer(x)
        shapes.append((x.shape[1], x.shape[2]))
    stages = [(176, 28)] * 4 + [(352, 14)] * 8 + [(704, 7)] * 4
    assert shapes == [(24, 112), (24, 56), *stages, (1024, 7)]


def test_no_layer_has_groups_but_depthwise():
    """What the second version gives up of the first."""
    net, _ = _network(1.0)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.groups == (1 if m.kernel_size == (1, 1) else m.in_channels)
               for m in convs[1:])  # fmt: skip


@pytest.mark.parametrize("builder", [shufflenet_v2, small_shufflenet_v2])
def test_reduction_is_what_the_maps_show(builder):
    net, _ = counted_on_paper(builder, 64)
    channels = net.features[0][0].in_channels
    maps = net.features(torch.zeros(1, channels, 64, 64, device="meta"))
    assert maps.shape[2:] == (64 // net.reduction, 64 // net.reduction)
    assert net.reduction == (32 if builder is shufflenet_v2 else 4)


def test_small_network_costs_what_it_should():
    net, macs = counted_on_paper(small_shufflenet_v2, 16)
    assert 400_000 <= macs <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 500_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    """MACs grow about as the square of the width: begin there and look around."""
    _, macs = counted_on_paper(small_shufflenet_v2, 16)
    widths = [(budget / macs) ** 0.5 * (1 + s / 50) for s in (0, -2, 2, -4, 4, -6)]
    found = (
        counted_on_paper(lambda w=w: small_shufflenet_v2(w), 16)[1] for w in widths
    )
    assert any(macs == pytest.approx(budget, rel=0.05) for macs in found)


def test_other_images_and_classes_are_possible():
    net = small_shufflenet_v2(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = shufflenet_v2(0.5, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_shufflenet_v2()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    net, split = small_shufflenet_v2(), moved_digits(n_train=200).train
    losses = train_classifier(net, split, epochs=4, batch_size=20)
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shufflenet_v2(0.7), r"width must be in \[0.5, .*, got 0.7; Shuffle"),
        (lambda: small_shufflenet_v2(0.0), "width must leave at least one of 32 cha"),
        (lambda: shufflenet_v2(classes=0), "classes must be at least 1, got 0"),
        (lambda: shufflenet_v2(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: ShuffleNetV2([], stem=0), "out_channels must be at least 1, got 0"),
        (lambda: ShuffleNetV2([Stage(48, 0)]), "units must be at least 1, got 0"),
        (lambda: ShuffleNetV2([Stage(49, 1)]), "parts=2 must divide out_channels, go"),
        (lambda: DownUnit(0, 48), "in_channels must be at least 1, got 0"),
        (lambda: DownUnit(24, 0), "out_channels must be at least 1, got 0"),
        (lambda: DownUnit(24, 48, stride=0), "stride must be at least 1, got 0"),
        (lambda: BasicUnit(7), "parts=2 must divide channels, got 7; use 6 or 8"),
        (lambda: BasicUnit(8)(torch.zeros(1, 8, 5)), r"x must be \(N, C, H, W\)"),
        (lambda: least_memory_access(0, 7), "macs must be at least 1, got 0"),
        (
            lambda: shufflenet_v2(0.5)(torch.zeros(1, 3, 64, 31)),
            "x must have 32 x 32 pixels or more, got 64 x 31",
        ),
        (
            lambda: small_shufflenet_v2()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_shufflenet_v2()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _branch(branch, x, stride):
    """Return pointwise, depthwise, pointwise; ReLU after the first and the last."""
    (first, norm_1, _), (depth, norm_2), (last, norm_3, _) = branch
    y = F.relu(_normalised(pointwise(x, first.weight[:, :, 0, 0]), norm_1))
    y = _normalised(depthwise(y, depth.weight)[:, :, ::stride, ::stride], norm_2)
    return F.relu(_normalised(pointwise(y, last.weight[:, :, 0, 0]), norm_3))


def _weights(net):
    return sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d))


@functools.cache
def _network(width):
    return counted_on_paper(lambda: shufflenet_v2(width), 224)


def _normalised(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    return x * scale[:, None, None] + shift[:, None, None]
