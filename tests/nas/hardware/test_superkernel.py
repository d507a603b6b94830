"""The superkernel: at the limits of its thresholds it is each of the five blocks."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.gradient.mixed_net import prepare_for_search_
from effdl.nas.hardware.superkernel import SuperKernel, SuperKernelBlock, indicator
from effdl.nas.mbconv_space import MBConv

LIMITS = {  # t_5, t_3, t_6
    "k5 e6": (-math.inf, -math.inf, -math.inf),
    "k3 e6": (math.inf, -math.inf, -math.inf),
    "k5 e3": (-math.inf, -math.inf, math.inf),
    "k3 e3": (math.inf, -math.inf, math.inf),
    "skip": (-math.inf, math.inf, -math.inf),
}
BLOCKS = [name for name in LIMITS if name != "skip"]


def set_thresholds(kernel, values):
    with torch.no_grad():
        kernel.thresholds.copy_(torch.tensor(values))


def stand_alone(block, name, *, stride):
    """Return the block of MobileNetV2 with the weights that the superkernel has."""
    side, expansion = int(name[1]), int(name[-1])
    c, n = block.expand[0].in_channels, block.project[0].out_channels
    own = MBConv(c, n, side, stride=stride, expansion=expansion)
    prepare_for_search_(own, MBConv)
    wide, cut = expansion * c, (5 - side) // 2
    expand, depthwise, project = (own.layers[i][0].weight for i in range(3))
    with torch.no_grad():
        expand.copy_(block.expand[0].weight[:wide])
        depthwise.copy_(block.kernel.weight[:wide, :, cut : 5 - cut, cut : 5 - cut])
        project.copy_(block.project[0].weight[:, :wide])
    return own


@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", BLOCKS)
def test_at_the_limits_the_block_is_the_stand_alone_one(name, stride, visible):
    block = SuperKernelBlock(6, 6, stride=stride, visible=visible)
    set_thresholds(block.kernel, LIMITS[name])
    own = stand_alone(block, name, stride=stride)
    assert block.kernel.choice() == name
    for x in (torch.randn(4, 6, 8, 8), torch.randn(3, 6, 7, 7)):
        torch.testing.assert_close(block(x), own(x), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(block.eval()(x), own.eval()(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("visible", [True, False])
def test_at_the_limit_of_no_block_the_input_comes_back(visible):
    block = SuperKernelBlock(6, 6, visible=visible)
    set_thresholds(block.kernel, LIMITS["skip"])
    x = torch.randn(4, 6, 8, 8)
    assert torch.equal(block(x), x)
    assert block.kernel.choice() == "skip"


def add_shift(norm):
    norm.affine = True
    norm.weight = nn.Parameter(torch.ones(norm.num_features))
    norm.bias = nn.Parameter(torch.ones(norm.num_features))


def test_a_shift_in_dropped_channels_is_a_constant_that_the_last_norm_removes():
    block = SuperKernelBlock(6, 6, visible=False)
    set_thresholds(block.kernel, LIMITS["k5 e3"])
    own = stand_alone(block, "k5 e3", stride=1)
    for norm in (block.norm[0], own.layers[1][1]):
        add_shift(norm)
    x = torch.randn(4, 6, 8, 8)
    torch.testing.assert_close(block(x), own(x), atol=1e-5, rtol=1e-5)


def test_a_shift_behind_the_last_norm_would_be_left_of_a_skipped_block():
    block = SuperKernelBlock(6, 6, visible=False)
    set_thresholds(block.kernel, LIMITS["skip"])
    add_shift(block.project[1])
    x = torch.randn(4, 6, 8, 8)
    torch.testing.assert_close(block(x), x + 1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", LIMITS)
def test_the_masked_kernel_is_the_definition(name, stride):
    """Kept where the distance to the centre and the number of the channel allow it."""
    kernel = SuperKernel(8, stride=stride)
    set_thresholds(kernel, LIMITS[name])
    wanted = torch.zeros(8, 1, 5, 5)
    for channel, u, v in itertools.product(range(8), range(5), range(5)):
        inside = max(abs(u - 2), abs(v - 2)) <= 1
        kept = name != "skip" and ("k5" in name or inside)
        if kept and ("e6" in name or channel < 4):
            wanted[channel, 0, u, v] = kernel.weight[channel, 0, u, v]
    assert torch.equal(kernel.masked()[0], wanted)
    x = torch.randn(2, 8, 6, 6)
    own = F.conv2d(x, wanted, stride=stride, padding=2, groups=8)
    torch.testing.assert_close(kernel(x), own)


def test_the_decisions_of_a_kernel_by_hand():
    """Two channels, of ones and of twos, inner part and ring; units 1.

    Ring: 16 (1 + 4) = 80. First half with ring: 25, without: 9. Second: 100 or 36.
    """
    kernel = SuperKernel(2)
    kernel.units.fill_(1.0)
    with torch.no_grad():
        kernel.weight.copy_(torch.tensor([1.0, 2.0])[:, None, None, None])
    for thresholds, choice in (
        ((80.0, 25.0, 100.0), "k5 e6"),  # reached is enough
        ((80.1, 9.0, 36.0), "k3 e6"),
        ((80.1, 9.0, 36.1), "k3 e3"),
        ((80.1, 9.1, 36.0), "skip"),
        ((80.0, 9.1, 100.1), "k5 e3"),
    ):
        set_thresholds(kernel, thresholds)
        assert kernel.choice() == choice


def test_the_indicator_has_the_slope_of_the_sigmoid():
    x = torch.tensor([-3.0, -1e-6, 0.0, 2.0, math.inf, -math.inf], requires_grad=True)
    y = indicator(x)
    assert y.tolist() == [0, 0, 1, 1, 1, 0]
    [slope] = torch.autograd.grad(y.sum(), x)
    wanted = [math.exp(-v) / (1 + math.exp(-v)) ** 2 for v in (-3.0, -1e-6, 0.0, 2.0)]
    torch.testing.assert_close(slope, torch.tensor([*wanted, 0.0, 0.0]))


def test_every_decision_begins_at_one_with_a_slope():
    """The squares in their own units are 1, and sigmoid'(1) = 0.1966."""
    kernel = SuperKernel(48)
    _, decisions = kernel.masked()
    assert [d.item() for d in decisions] == [1, 1, 1]
    for number, decision in enumerate(decisions):
        [slope] = torch.autograd.grad(decision, kernel.thresholds, retain_graph=True)
        assert slope[number] == pytest.approx(-0.19661, rel=1e-4)


def test_in_the_papers_units_the_slope_is_nothing_at_all():
    kernel = SuperKernel(48)
    kernel.units.fill_(1.0)
    kernel.masked()[1].ring.backward()
    assert torch.equal(kernel.thresholds.grad, torch.zeros(3))


def test_a_norm_behind_the_kernel_hides_the_channels_from_the_loss():
    """Relative to what is seen once the decisions multiply behind the norms, too."""
    slopes = {}
    for visible in (True, False):
        torch.manual_seed(0)
        block = SuperKernelBlock(8, 8, visible=visible)
        x = torch.randn(16, 8, 6, 6)
        y = block(x)
        (y * torch.randn_like(y)).sum().backward()
        slopes[visible] = block.kernel.thresholds.grad.abs()
    assert (slopes[False][1:] < 1e-2 * slopes[True][1:]).all()
    assert slopes[False][0] > 1e-3  # the ring changes the shape of the kernel


def test_a_block_that_changes_the_shape_cannot_be_skipped():
    block = SuperKernelBlock(4, 8)
    set_thresholds(block.kernel, LIMITS["skip"])
    assert block.kernel.choice() == "k5 e6"
    assert block(torch.randn(2, 4, 6, 6)).shape == (2, 8, 6, 6)


def test_weights_and_thresholds_learn():
    block = SuperKernelBlock(6, 6)
    y = block(torch.randn(8, 6, 6, 6))
    (y * torch.randn_like(y)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


def test_the_kernel_starts_with_variance_two_over_its_weights():
    kernel = SuperKernel(2000)
    assert kernel.weight.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.02)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="channels must be even, got 7"):
        SuperKernel(7)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        SuperKernel(8, stride=0)
