"""Widths as masks: a masked block is the narrow one, with shared weights."""

import pytest
import torch
from torch import nn

from effdl.blocks import conv_bn, mean_linear
from effdl.measure.count import parameter_count
from effdl.nas.block_space import BlockSpace
from effdl.nas.gradient.mixed_net import prepare_for_search_
from effdl.nas.hardware.scaled_channels import (
    ScaledMBConv,
    channel_mask,
    scaled_layer,
)
from effdl.nas.mbconv_space import MBConv
from effdl.nas.supernet import SuperNet


def narrow(wide, middle, *, stride=1):
    """Return the block whose middle has so many channels, with the wide one's weights.

    Made from a wide one, whose middle convolutions are exchanged.
    """
    c, n = wide.in_channels, wide.layers[-1][0].out_channels
    side = wide.layers[1][0].kernel_size[0]
    own = MBConv(c, n, side, stride=stride)
    relu = nn.ReLU6
    own.layers[0] = conv_bn(c, middle, 1, activation=relu)
    own.layers[1] = conv_bn(
        middle, middle, side, stride=stride, groups=middle, activation=relu
    )
    own.layers[2] = conv_bn(middle, n, 1, activation=None)
    prepare_for_search_(own, MBConv)
    with torch.no_grad():
        own.layers[0][0].weight.copy_(wide.layers[0][0].weight[:middle])
        own.layers[1][0].weight.copy_(wide.layers[1][0].weight[:middle])
        own.layers[2][0].weight.copy_(wide.layers[2][0].weight[:, :middle])
    return own


@pytest.mark.parametrize(("factor", "middle"), [(1 / 6, 4), (0.5, 12), (1.0, 24)])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (5, 2)])
def test_a_masked_block_is_the_narrow_block(factor, middle, side, stride):
    wide = MBConv(4, 4, side, stride=stride)
    prepare_for_search_(wide, MBConv)
    x = torch.randn(3, 4, 7, 7)
    masked = ScaledMBConv(wide, factor)(x)
    torch.testing.assert_close(masked, narrow(wide, middle, stride=stride)(x))


def test_a_scale_and_shift_in_the_middle_do_not_bring_dropped_channels_back():
    wide = MBConv(4, 8, 3)
    for layer in wide.layers[:2]:
        nn.init.uniform_(layer[1].weight, 0.5, 1.5)
        nn.init.normal_(layer[1].bias)
    x = torch.randn(2, 4, 6, 6)
    before = ScaledMBConv(wide, 0.5)(x)
    with torch.no_grad():
        wide.layers[1][0].weight[12:].normal_()
        wide.layers[0][0].weight[12:].normal_()
    torch.testing.assert_close(ScaledMBConv(wide, 0.5)(x), before)


@pytest.mark.parametrize(
    ("channels", "factor", "kept"),
    [(8, 0.5, 4), (8, 0.01, 1), (7, 1.0, 7), (9, 0.6, 5)],
)
def test_the_first_channels_are_kept(channels, factor, kept):
    mask = channel_mask(channels, factor)
    assert mask.tolist() == [1.0] * kept + [0.0] * (channels - kept)


def test_the_candidates_of_a_kernel_are_one_block():
    layer = scaled_layer(4, 4, kernels=(3, 5), factors=(0.25, 0.5, 1.0))
    assert list(layer) == [f"k{k} x{f:.2f}" for k in (3, 5) for f in (0.25, 0.5, 1.0)]
    made = [make() for make in layer.values()]
    assert made[0].wide is made[1].wide is made[2].wide
    assert made[3].wide is made[5].wide is not made[0].wide
    sides = [block.wide.layers[1][0].kernel_size[0] for block in made]
    assert sides == [3, 3, 3, 5, 5, 5]
    together = parameter_count(nn.ModuleList(made))
    assert together == parameter_count(made[0].wide) + parameter_count(made[3].wide)
    assert [int(m.mask.sum()) for m in made] == [6, 12, 24] * 2


def test_a_step_on_a_narrow_path_moves_the_wide_ones_first_channels_only():
    space = BlockSpace((scaled_layer(4, 4, kernels=(3,), factors=(0.5, 1.0)),))
    net = SuperNet(conv_bn(1, 4, 3), space, mean_linear(4, 10))
    net(torch.randn(8, 1, 6, 6), (0,)).square().sum().backward()
    wide = net.candidates(0)[1].wide
    for layer in wide.layers[:2]:
        slopes = layer[0].weight.grad.flatten(1).abs().sum(dim=1)
        assert (slopes[:12] > 0).all()
        assert not slopes[12:].any()


def test_stride_and_batch_norms_are_as_asked_for():
    [make] = scaled_layer(4, 8, stride=2, kernels=(5,), factors=(0.5,)).values()
    block = make()
    assert block(torch.zeros(2, 4, 7, 7)).shape == (2, 8, 4, 4)
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.running_mean is None and norm.weight is None for norm in norms)


def test_what_cannot_be_is_named():
    for factor in (0.0, 1.5):
        with pytest.raises(ValueError, match="factor"):
            channel_mask(8, factor)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        channel_mask(0, 0.5)
