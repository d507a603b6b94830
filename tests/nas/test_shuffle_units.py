"""Units with a free branch against torchvision, the equations, and each other."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.channel_shuffle import channel_shuffle
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nas.shuffle_units import (
    BRANCHES,
    StridedUnit,
    inherit_first_,
    shuffle_branch,
    shuffle_unit,
    xception_branch,
)
from effdl.nets.weights import load_in_order_
from on_paper import randomised

SHAPES = [(12, 12, 1), (12, 12, 2), (8, 12, 1), (7, 12, 3)]  # in, out, stride


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_branch_is_the_equation(kernel):
    branch = randomised(shuffle_branch(6, 8, 4, 2, kernel))
    x = torch.randn(2, 6, 9, 9)
    (first, norm_1, _), (depth, norm_2), (last, norm_3, _) = branch
    y = F.relu(norm_1(F.conv2d(x, first.weight)))
    y = F.conv2d(y, depth.weight, stride=2, padding=kernel // 2, groups=4)
    y = F.relu(norm_3(F.conv2d(norm_2(y), last.weight)))
    torch.testing.assert_close(branch(x), y)


def test_xception_branch_is_three_separable_convolutions():
    branch = randomised(xception_branch(6, 8, 16, 2))
    x = y = 10 * torch.randn(2, 6, 9, 9)
    for pair, stride in ((0, 2), (2, 1), (4, 1)):
        (depth, norm), (mix, mix_norm, _) = branch[pair : pair + 2]
        groups = depth.in_channels
        y = F.conv2d(y, depth.weight, stride=stride, padding=1, groups=groups)
        y = F.relu(mix_norm(F.conv2d(norm(y), mix.weight)))
    assert len(branch) == 6
    assert y.std(dim=(2, 3)).max() > 0.1  # not all of it is dead
    torch.testing.assert_close(branch(x), y)


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_a_unit_that_keeps_the_shape_works_on_half(branch):
    unit, x = randomised(shuffle_unit(branch, 12, 12)), torch.randn(2, 12, 7, 8)
    joined = torch.cat((x[:, :6], unit.branch(x[:, 6:])), dim=1)
    torch.testing.assert_close(unit(x), channel_shuffle(joined, 2))


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_a_unit_that_does_not_works_on_all(branch):
    unit = randomised(shuffle_unit(branch, 7, 12, stride=2))
    x = torch.randn(2, 7, 9, 9)
    (depth, norm), (mix, mix_norm, _) = unit.shortcut
    short = norm(F.conv2d(x, depth.weight, stride=2, padding=1, groups=7))
    short = F.relu(mix_norm(F.conv2d(short, mix.weight)))
    joined = torch.cat((short, unit.branch(x)), dim=1)
    torch.testing.assert_close(unit(x), channel_shuffle(joined, 2))


def test_macs_by_hand():
    """12 channels on 10 x 10: half go 6 to 6, depthwise, 6 to 6; xception 3 times."""
    x = torch.zeros(1, 12, 10, 10)
    for kernel in (3, 5, 7):
        unit = shuffle_unit(BRANCHES[f"{kernel}x{kernel}"], 12, 12)
        assert count_macs(unit, x).total == 100 * (36 + 6 * kernel**2 + 36)
    unit = shuffle_unit(xception_branch, 12, 12)
    assert count_macs(unit, x).total == 100 * 3 * (6 * 9 + 36)
    unit = shuffle_unit(shuffle_branch, 12, 12, width=0.5)
    assert count_macs(unit, x).total == 100 * (6 * 3 + 3 * 9 + 3 * 6)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_3x3_unit_is_that_of_torchvision(stride):
    models = pytest.importorskip("torchvision.models.shufflenetv2")
    theirs = randomised(models.InvertedResidual(12, 12, stride))
    ours = shuffle_unit(shuffle_branch, 12, 12, stride=stride).eval()
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 12, 7, 8)
    torch.testing.assert_close(ours(x), theirs(x))
    assert count_macs(ours, x).total == count_macs(theirs, x).total
    assert parameter_count(ours) == parameter_count(theirs)


@pytest.mark.parametrize(("c", "n", "stride"), SHAPES)
@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_all_branches_give_the_same_shape(branch, c, n, stride):
    for width in (0.2, 1):
        unit = shuffle_unit(branch, c, n, stride=stride, width=width)
        side = -(-9 // stride)
        assert unit(torch.randn(2, c, 9, 9)).shape == (2, n, side, side)


@pytest.mark.parametrize(
    ("width", "middle"), [(0.1, 3), (0.25, 8), (0.5, 16), (0.75, 24), (1.0, 32)]
)
def test_width_is_a_share_of_half_of_the_channels(width, middle):
    unit = shuffle_unit(shuffle_branch, 64, 64, width=width)
    assert unit.branch[0][0].out_channels == middle
    assert unit.branch[2][0].out_channels == 32


def test_a_narrow_heir_is_the_wide_unit_with_channels_set_to_zero():
    """Slicing the weights and masking the channels are the same function."""
    wide = randomised(shuffle_unit(shuffle_branch, 16, 16))
    narrow = shuffle_unit(shuffle_branch, 16, 16, width=0.5).eval()
    inherit_first_(narrow, wide)
    mask = torch.zeros(1, 8, 1, 1)
    mask[:, :4] = 1
    wide.branch[1].register_forward_hook(lambda _m, _x, y: y * mask)
    x = torch.randn(2, 16, 5, 5)
    torch.testing.assert_close(narrow(x), wide(x))
    assert narrow.branch(x[:, 8:]).std(dim=(2, 3)).max() > 0.1  # not all is dead


def test_a_narrow_xception_heir_too():
    wide = randomised(shuffle_unit(xception_branch, 8, 64, stride=2))
    narrow = shuffle_unit(xception_branch, 8, 64, stride=2, width=0.5).eval()
    inherit_first_(narrow, wide)
    mask = torch.zeros(1, 32, 1, 1)
    mask[:, :16] = 1
    for layer in (1, 2, 3, 4):  # wherever there are middle channels
        wide.branch[layer].register_forward_hook(lambda _m, _x, y: y * mask)
    x = 10 * torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(narrow(x), wide(x))
    assert narrow.branch(x).std(dim=(2, 3)).max() > 0.1  # not all of it is dead


def test_inheriting_leaves_the_wide_unit_alone():
    wide = shuffle_unit(shuffle_branch, 16, 16)
    before = {name: t.clone() for name, t in wide.state_dict().items()}
    narrow = shuffle_unit(shuffle_branch, 16, 16, width=0.5)
    inherit_first_(narrow, wide)
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.add_(1)
    assert all(torch.equal(t, before[name]) for name, t in wide.state_dict().items())


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_every_parameter_gets_a_gradient(branch):
    unit = shuffle_unit(branch, 6, 12, stride=2)
    unit(torch.randn(8, 6, 9, 9)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in unit.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shuffle_unit(shuffle_branch, 0, 8), "in_channels must be at least 1"),
        (lambda: shuffle_unit(shuffle_branch, 8, 7), "parts=2 must divide out_chan"),
        (
            lambda: shuffle_unit(shuffle_branch, 8, 8, width=2),
            "width must be above 0 and at most 1, got 2",
        ),
        (
            lambda: shuffle_unit(shuffle_branch, 8, 8, width=0.1),
            "width must leave at least one of 4 channels, got 0.1",
        ),
        (
            lambda: shuffle_unit(shuffle_branch, 8, 8)(torch.zeros(1, 7, 5, 5)),
            "parts=2 must divide channels, got 7",
        ),
        (
            lambda: inherit_first_(
                shuffle_unit(xception_branch, 8, 8), shuffle_unit(shuffle_branch, 8, 8)
            ),
            "narrow and wide differ in kind; give both the same branch",
        ),
        (
            lambda: inherit_first_(
                shuffle_unit(shuffle_branch, 8, 8),
                shuffle_unit(shuffle_branch, 8, 8, width=0.5),
            ),
            "narrow must not be wider than wide; swap the two",
        ),
        (
            lambda: StridedUnit(8, 12, 0, nn.Identity()),
            "stride must be at least 1, got 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
