"""Candidate blocks and chains of them."""

import pytest
import torch
from torch import nn

from effdl.conv.squeeze_excite import SqueezeExcite
from effdl.quant.graph import fold_batch_norm
from effdl.quant.int8_blocks import (
    Choice,
    chain_net,
    conv_hardswish,
    conv_relu,
    conv_squeeze_excite,
    depthwise_relu,
)

BLOCKS = [conv_relu, depthwise_relu, conv_hardswish, conv_squeeze_excite]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_has_the_channels_and_the_stride_asked_for(block):
    made = block(4, 8, 2)
    assert made(torch.rand(3, 4, 9, 9)).shape == (3, 8, 5, 5)
    assert block(4, 8, 1)(torch.rand(3, 4, 9, 9)).shape == (3, 8, 9, 9)
    kernels = [m.kernel_size for m in made.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == ([(3, 3), (1, 1)] if block is depthwise_relu else [(3, 3)])


def test_the_blocks_differ_in_what_their_names_say():
    kinds = {b: [type(m) for m in b(4, 8, 1).modules()] for b in BLOCKS}
    assert [nn.Hardswish in kinds[b] for b in BLOCKS] == [False, False, True, False]
    assert [SqueezeExcite in kinds[b] for b in BLOCKS] == [False, False, False, True]
    assert [kinds[b].count(nn.ReLU) for b in BLOCKS] == [1, 2, 0, 1]
    groups = [
        m.groups for m in depthwise_relu(4, 8, 1).modules() if hasattr(m, "groups")
    ]
    assert groups == [4, 1]
    strides = [
        m.stride for m in depthwise_relu(4, 8, 2).modules() if hasattr(m, "groups")
    ]
    assert strides == [(2, 2), (1, 1)]


def test_weights_by_hand():
    """Convolution 4 * 8 * 9; depthwise 4 * 9 + 4 * 8; gate 8 * 2 + 2 + 2 * 8 + 8."""

    def weights(block):
        folded = fold_batch_norm(block(4, 8, 1).eval())
        return sum(p.numel() for p in folded.parameters())

    assert weights(conv_relu) == weights(conv_hardswish) == 288 + 8
    assert weights(depthwise_relu) == 36 + 4 + 32 + 8
    assert weights(conv_squeeze_excite) == 296 + 42


def test_a_chain_halves_the_resolution_in_every_stage():
    net = chain_net([Choice(b, w) for b, w in zip(BLOCKS, (8, 16, 8, 4), strict=True)])
    shapes = []
    for layer in net:
        layer.register_forward_hook(lambda m, i, o: shapes.append(tuple(o.shape[1:])))
    assert net(torch.rand(2, 1, 16, 16)).shape == (2, 10)
    assert shapes[:5] == [(8, 16, 16), (8, 8, 8), (16, 4, 4), (8, 2, 2), (4, 1, 1)]


def test_stem_channels_and_classes_are_those_asked_for():
    net = chain_net([Choice(conv_relu, 4)], stem=6, in_channels=3, classes=5)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    assert net[0][0].out_channels == 6


@pytest.mark.parametrize("block", BLOCKS)
def test_a_chain_learns_in_all_its_weights(block):
    net = chain_net([Choice(block, 8), Choice(block, 8)])
    net(torch.rand(4, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="net is empty; give one choice for each"):
        chain_net([])
    with pytest.raises(ValueError, match="out_channels must be at least 1, got 0"):
        chain_net([Choice(conv_relu, 0)])
    with pytest.raises(ValueError, match="must divide"):
        conv_squeeze_excite(4, 6, 1)
