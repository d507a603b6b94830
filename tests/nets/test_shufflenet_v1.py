"""ShuffleNetV1 against its equations, its table written out, and published counts."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.channel_shuffle import channel_shuffle, shuffle_order
from effdl.conv.group import group_conv
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs, torch_flops
from effdl.nets.shufflenet_v1 import (
    ShuffleNetV1,
    ShuffleUnit,
    Stage,
    shufflenet_v1,
    small_shufflenet_v1,
)
from effdl.train import train_classifier
from on_paper import counted_on_paper, randomised

# Channels of stage 2 for each g, Table 1 of the paper; the others double them.
PAPER = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize(("in_channels", "stride"), [(24, 1), (6, 2)])
def test_unit_is_the_equations(groups, in_channels, stride):
    """Groups convolved one by one, a table transposed, nine pixels averaged."""
    unit = randomised(ShuffleUnit(in_channels, 24, groups=groups, stride=stride))
    (squeeze, norm_1, _), _, (depth, norm_2), (expand, norm_3) = unit.branch
    x = torch.randn(2, in_channels, 7, 8)

    y = F.relu(_normalised(group_conv(x, squeeze.weight, groups), norm_1))
    y = channel_shuffle(y, groups)
    y = group_conv(y, depth.weight, y.shape[1])[:, :, ::stride, ::stride]
    y = group_conv(_normalised(y, norm_2), expand.weight, groups)
    y = _normalised(y, norm_3)
    if stride == 1:
        expected = F.relu(x + y)
    else:
        nine = F.unfold(x, 3, padding=1, stride=2).unflatten(1, (in_channels, 9))
        mean = nine.mean(dim=2).unflatten(2, (4, 4))
        expected = F.relu(torch.cat((mean, y), dim=1))
    torch.testing.assert_close(unit(x), expected)


def test_unit_by_hand():
    """240 channels, g = 3, a bottleneck of 60 on 28 x 28 pixels: 8 million MACs."""
    unit = ShuffleUnit(240, 240)
    macs = torch_flops(unit, torch.zeros(1, 240, 28, 28)) // 2
    assert macs == 28 * 28 * (2 * 240 * 60 // 3 + 9 * 60) == 7_949_760
    weights = sum(conv.weight.numel() for conv in _convs(unit))
    assert weights == 240 * 20 + 60 * 9 + 60 * 80 == 10_140


@pytest.mark.parametrize(
    ("width", "groups", "stem", "parameters", "macs"),
    [
        (0.5, 3, 12, 718_324, 37_589_856),
        (1.0, 3, 24, 1_865_728, 137_460_672),
        (1.5, 3, 24, 3_442_168, 292_443_552),
        (2.0, 3, 48, 5_450_776, 524_045_184),
        (0.5, 8, 16, 1_011_448, 40_469_760),
        (1.0, 8, 24, 2_434_768, 138_365_952),
        (1.5, 8, 24, 4_269_952, 290_188_800),
        (2.0, 8, 48, 6_522_232, 521_942_016),
        (1.0, 1, 24, 1_531_936, 143_078_976),
        (1.0, 2, 24, 1_733_848, 140_836_512),
        (1.0, 4, 24, 1_968_344, 134_339_776),
    ],
)
def test_cost_is_that_of_the_table_written_out(width, groups, stem, parameters, macs):
    """A closed form that shares no code: for each layer its weights and its pixels."""
    first = int(PAPER[groups] * width)
    assert _closed_form(stem, first, groups) == (parameters, macs)
    net, found = _network(width, groups)
    assert (parameter_count(net), found) == (parameters, macs)


@pytest.mark.parametrize(
    ("width", "groups", "published_macs", "published_parameters"),
    [
        (0.5, 3, 38, 0.7),
        (1.0, 3, 138, 1.9),
        (1.5, 3, 292, 3.4),
        (2.0, 3, 524, 5.4),
        (0.5, 8, 40, 1.0),
        (1.0, 8, 138, 2.4),
        (1.5, 8, 290, 4.3),
        (2.0, 8, 522, 6.5),
    ],
)
def test_counts_are_the_published_ones(
    width, groups, published_macs, published_parameters
):
    """The authors' list of models; their last layer has no bias."""
    net, macs = _network(width, groups)
    assert macs / 1e6 == pytest.approx(published_macs, abs=0.6)
    assert round((parameter_count(net) - 1000) / 1e6, 1) == published_parameters


@pytest.mark.parametrize(
    ("groups", "published"), [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)]
)
def test_every_number_of_groups_has_the_complexity_of_the_table(groups, published):
    """Table 1 of the paper: the same budget, whatever g. Ours are up to 1 % above."""
    _, macs = _network(1.0, groups)
    assert macs / 1e6 == pytest.approx(published, rel=0.012)


def test_a_traced_count_agrees_with_the_count_of_shapes():
    """The two counters share no code."""
    counted = count_macs(shufflenet_v1(0.5), torch.zeros(1, 3, 64, 64)).total
    assert counted == counted_on_paper(lambda: shufflenet_v1(0.5), 64)[1]


def test_it_costs_half_of_the_mobilenet_it_is_compared_with():
    """The survey calls 292 million comparable with MobileNetV1's 569 million.

    So the 0.9 points more, 71.5 % against 70.6 %, come at half the cost.
    """
    timm = pytest.importorskip("timm")
    _, ours = _network(1.5, 3)
    with torch.device("meta"):
        theirs = timm.create_model("mobilenetv1_100")
        macs = torch_flops(theirs, torch.zeros(1, 3, 224, 224)) // 2
    assert ours / macs == pytest.approx(0.514, abs=1e-3)
    assert round(71.5 - 70.6, 1) == 0.9


def test_shuffling_after_the_depthwise_layer_gives_the_same_function():
    """The order of the authors' code, once the depthwise weights have moved."""
    unit = randomised(ShuffleUnit(12, 12, groups=3))
    squeeze, _, (depth, norm), expand = unit.branch
    x = torch.randn(2, 12, 5, 6)

    back = torch.argsort(shuffle_order(depth.out_channels, 3))
    y = F.conv2d(squeeze(x), depth.weight[back], padding=1, groups=len(back))
    order = shuffle_order(len(back), 3)
    theirs = F.relu(x + expand(norm(y[:, order])))
    torch.testing.assert_close(unit(x), theirs)


def test_without_the_shuffle_the_groups_stay_apart():
    unit = ShuffleUnit(72, 72, groups=3)
    assert _seen_by_the_first_group(unit.branch) == [True] * 72
    unit.branch[1] = nn.Identity()
    assert _seen_by_the_first_group(unit.branch) == [True] * 24 + [False] * 48


def test_only_the_very_first_pointwise_layer_is_not_in_groups():
    net, _ = _network(1.0, 3)
    pointwise = [m for m in _convs(net) if m.kernel_size == (1, 1)]
    assert [m.groups for m in pointwise] == [1] + [3] * 31
    depthwise = [m for m in _convs(net)[1:] if m.kernel_size == (3, 3)]
    assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)


def test_stages_have_the_channels_and_sizes_of_the_table():
    net, _ = _network(1.0, 3)
    x, shapes = torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in net.features:
        x = layer(x)
        shapes.append((x.shape[1], x.shape[2]))
    stages = [(240, 28)] * 4 + [(480, 14)] * 8 + [(960, 7)] * 4
    assert shapes == [(24, 112), (24, 56), *stages]


def test_a_strided_unit_keeps_the_mean_of_its_input_in_front():
    unit, x = ShuffleUnit(6, 24, stride=2).eval(), torch.rand(1, 6, 8, 8)
    torch.testing.assert_close(unit(x)[:, :6], F.avg_pool2d(x, 3, 2, 1))


def test_bottleneck_is_rounded_to_whole_groups():
    """100 / 4 = 25 is odd: 24. And a group has at least one channel."""
    assert ShuffleUnit(100, 100, groups=2).branch[0][0].out_channels == 24
    assert ShuffleUnit(3, 3, groups=3).branch[0][0].out_channels == 3
    assert counted_on_paper(lambda: shufflenet_v1(0.5, groups=2), 64)[0].reduction == 32


@pytest.mark.parametrize("builder", [shufflenet_v1, small_shufflenet_v1])
def test_reduction_is_what_the_maps_show(builder):
    net, _ = counted_on_paper(builder, 64)
    channels = net.features[0][0].in_channels
    maps = net.features(torch.zeros(1, channels, 64, 64, device="meta"))
    assert maps.shape[2:] == (64 // net.reduction, 64 // net.reduction)
    assert net.reduction == (32 if builder is shufflenet_v1 else 4)


def test_small_network_costs_what_it_should():
    net, macs = counted_on_paper(small_shufflenet_v1, 16)
    assert 400_000 <= macs <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 500_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    """MACs grow about as the square of the width: begin there and look around."""
    _, macs = counted_on_paper(small_shufflenet_v1, 16)
    widths = [(budget / macs) ** 0.5 * (1 + s / 50) for s in (0, -2, 2, -4, 4, -6)]
    found = (
        counted_on_paper(lambda w=w: small_shufflenet_v1(w), 16)[1] for w in widths
    )
    assert any(macs == pytest.approx(budget, rel=0.05) for macs in found)


def test_other_images_and_classes_are_possible():
    net = small_shufflenet_v1(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = shufflenet_v1(0.5, groups=8, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_shufflenet_v1()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    """At a fifth of the usual rate, which needs more steps than these to settle."""
    net, split = small_shufflenet_v1(), moved_digits(n_train=200).train
    losses = train_classifier(net, split, epochs=4, batch_size=20, learning_rate=0.02)
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shufflenet_v1(0.7), r"width must be in \[0.5, 1.0, 1.5, 2.0\] and "),
        (lambda: shufflenet_v1(groups=5), "groups in .*, got 1.0 and 5; ShuffleNetV1"),
        (lambda: small_shufflenet_v1(0.0), "width must leave at least one of 8 channe"),
        (lambda: shufflenet_v1(classes=0), "classes must be at least 1, got 0"),
        (lambda: shufflenet_v1(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: ShuffleNetV1([], stem=0), "out_channels must be at least 1, got 0"),
        (lambda: ShuffleNetV1([Stage(48, 0)]), "units must be at least 1, got 0"),
        (lambda: ShuffleNetV1([Stage(50, 1)]), "groups=3 must divide out_channels, go"),
        (lambda: ShuffleNetV1([Stage(48, 1)], stem=20), "groups=3 must divide in_chan"),
        (lambda: ShuffleUnit(24, 24, groups=0), "groups must be at least 1, got 0"),
        (lambda: ShuffleUnit(24, 24, first_groups=0), "groups must be at least 1, got"),
        (lambda: ShuffleUnit(24, 48), "stride must be 1, .*; got 1 with 24 to 48"),
        (lambda: ShuffleUnit(24, 24, stride=2), "got 2 with 24 to 24 channels"),
        (lambda: ShuffleUnit(48, 24, stride=2), "got 2 with 48 to 24 channels"),
        (lambda: ShuffleUnit(24, 48, stride=3), "got 3 with 24 to 48 channels"),
        (
            lambda: shufflenet_v1(0.5)(torch.zeros(1, 3, 64, 31)),
            "x must have 32 x 32 pixels or more, got 64 x 31",
        ),
        (
            lambda: small_shufflenet_v1()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_shufflenet_v1()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _closed_form(stem, first, groups):
    """Return parameters and MACs, batch norm among the former only."""
    parameters = 27 * stem + 2 * stem
    macs = 27 * stem * 112**2
    c, side = stem, 56
    for channels, units in ((first, 4), (2 * first, 8), (4 * first, 4)):
        m = channels // 4
        for unit in range(units):
            made = channels - c if unit == 0 else channels
            squeeze = c * m // (1 if c == stem else groups)
            expand = m * made // groups
            parameters += squeeze + 9 * m + expand + 2 * (m + m + made)
            macs += squeeze * side**2
            side = side // 2 if unit == 0 else side
            macs += (9 * m + expand) * side**2
            c = channels
    return parameters + 1000 * c + 1000, macs + 1000 * c


@functools.cache
def _network(width, groups):
    return counted_on_paper(lambda: shufflenet_v1(width, groups=groups), 224)


def _convs(net):
    return [m for m in net.modules() if isinstance(m, nn.Conv2d)]


def _seen_by_the_first_group(branch):
    x = torch.randn(1, 72, 5, 5, requires_grad=True)
    branch.eval()(x)[:, :24].square().sum().backward()
    return x.grad.abs().amax(dim=(0, 2, 3)).gt(0).tolist()


def _normalised(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    return x * scale[:, None, None] + shift[:, None, None]
