"""The space on MobileNetV2 against its block, torchvision, the authors' geometry."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nas.block_space import ChoiceStage
from effdl.nas.mbconv_space import (
    EXPANSIONS,
    KERNELS,
    STAGES,
    MBConv,
    mbconv_layer,
    mbconv_space,
    proxyless_supernet,
    small_mbconv_supernet,
)
from effdl.nets.inverted_residual import InvertedResidual
from effdl.nets.weights import load_in_order_
from on_paper import on_paper, randomised


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n", "stride"), [(8, 1), (12, 1), (8, 2)])
def test_block_is_expand_look_around_project(kernel, n, stride):
    block = randomised(MBConv(8, n, kernel, stride=stride, expansion=3))
    x = torch.randn(2, 8, 9, 9)
    (expand, e_norm, _), (depth, d_norm, _), (project, p_norm) = block.layers
    with torch.no_grad():
        depth.weight.mul_(10)  # so that much is above 6
    y = F.relu6(e_norm(F.conv2d(x, expand.weight)))
    pad = kernel // 2
    y = F.conv2d(y, depth.weight, stride=stride, padding=pad, groups=24)
    y = p_norm(F.conv2d(F.relu6(d_norm(y)), project.weight))
    assert depth.kernel_size == (kernel, kernel)
    torch.testing.assert_close(block(x), x + y if (n, stride) == (8, 1) else y)


@pytest.mark.parametrize("expansion", [1, 6])
def test_with_a_3x3_kernel_it_is_mobilenet_v2s_block(expansion):
    theirs = randomised(InvertedResidual(8, 8, expansion=expansion))
    ours = MBConv(8, 8, 3, expansion=expansion).eval()
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 8, 7, 7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_it_agrees_with_torchvision():
    models = pytest.importorskip("torchvision.models.mobilenetv2")
    theirs = randomised(models.InvertedResidual(8, 16, stride=2, expand_ratio=6))
    ours = MBConv(8, 16, 3, stride=2).eval()
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 8, 7, 7)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("kernel", KERNELS)
def test_macs_by_the_formula(kernel):
    """H W t c c + (H W / s^2) t c (k^2 + n)."""
    block = MBConv(8, 12, kernel, stride=2, expansion=3)
    expected = 100 * 24 * 8 + 25 * 24 * (kernel**2 + 12)
    assert count_macs(block, torch.zeros(1, 8, 10, 10)).total == expected


def test_a_layer_has_six_blocks_and_perhaps_skip():
    names = [f"k{k} e{t}" for k in (3, 5, 7) for t in (3, 6)]
    assert list(mbconv_layer(16, 16)) == [*names, "skip"]
    assert list(mbconv_layer(16, 24)) == names
    assert list(mbconv_layer(16, 16, stride=2)) == names
    assert len(KERNELS) * len(EXPANSIONS) == 6


def test_candidates_are_what_their_names_say():
    for name, make in mbconv_layer(8, 8).items():
        block = make()
        if name == "skip":
            assert isinstance(block, nn.Identity)
        else:
            middle = block.layers[1][0]
            found = f"k{middle.kernel_size[0]} e{middle.out_channels // 8}"
            assert found == name


def test_the_space_of_proxylessnas_by_hand():
    """21 layers; 6 change the shape, the first of each stage, 15 can be skipped."""
    space = mbconv_space(16, STAGES)
    assert space.sizes == (6, 7, 7, 7) * 5 + (6,)
    assert space.size == 6**6 * 7**15 == 221_502_229_807_900_608
    assert space.candidates == 6 * 6 + 15 * 7 == 141


def test_widths_and_strides_are_the_authors():
    """The defaults of their search: widths, layers and strides of the six stages."""
    assert [s.channels for s in STAGES] == [24, 40, 80, 96, 192, 320]
    assert [s.layers for s in STAGES] == [4, 4, 4, 4, 4, 1]
    assert [s.stride for s in STAGES] == [2, 2, 2, 1, 2, 1]


@pytest.mark.parametrize("choice", [0, 3, 5])
def test_every_path_of_the_large_supernet_has_the_same_maps(choice):
    net = _large()
    y, sizes = net.stem(torch.zeros(1, 3, 224, 224, device="meta")), []
    for block in net.blocks((choice,) * 21):
        y = block(y)
        sizes.append((y.shape[1], y.shape[2]))
    widths = [(24, 56), (40, 28), (80, 14), (96, 14), (192, 7)]
    assert sizes == [w for w in widths for _ in range(4)] + [(320, 7)]
    assert net.head(y).shape == (1, 1000)


def test_skipping_all_that_can_be_leaves_six_layers():
    net = _large()
    shortest = tuple(size - 1 if size == 7 else 0 for size in net.space.sizes)
    kinds = [type(block) for block in net.blocks(shortest)]
    assert kinds.count(MBConv) == 6
    assert kinds.count(nn.Identity) == 15


def test_with_mobilenets_stages_the_path_of_mobilenets_blocks_is_mobilenet_v2():
    """Kernel 3 and expansion 6 everywhere: 3,504,872 parameters."""
    mobilenet = [
        ChoiceStage(24, 2, 2),
        ChoiceStage(32, 3, 2),
        ChoiceStage(64, 4, 2),
        ChoiceStage(96, 3, 1),
        ChoiceStage(160, 3, 2),
        ChoiceStage(320, 1, 1),
    ]
    space, large = mbconv_space(16, mobilenet), _large()
    blocks = on_paper(
        lambda: nn.Sequential(*(layer["k3 e6"]() for layer in space.layers))
    )
    net = nn.Sequential(large.stem, blocks, large.head)
    assert parameter_count(net) == 3_504_872


@pytest.mark.parametrize("size", [12, 16])
def test_the_small_supernet_takes_digit_scenes(size):
    net = small_mbconv_supernet()
    assert net.space.size == 6**2 * 7**4 == 86_436
    for choice in (0, 5):
        assert net(torch.randn(2, 1, size, size), (choice,) * 6).shape == (2, 10)
    other = small_mbconv_supernet(in_channels=3, classes=7)
    assert other(torch.randn(2, 3, size, size), (0,) * 6).shape == (2, 7)


def test_every_parameter_of_a_path_gets_a_gradient():
    path = small_mbconv_supernet().path((0, 3, 6, 5, 1, 2))
    path(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in path.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MBConv(8, 8, 4), "kernel_size must be odd, got 4; use 3 or 5"),
        (lambda: MBConv(0, 8, 3), "in_channels must be at least 1, got 0"),
        (lambda: MBConv(8, 8, 3, expansion=0), "expansion must be at least 1, got 0"),
        (lambda: mbconv_layer(8, 0), "out_channels must be at least 1, got 0"),
        (lambda: mbconv_layer(8, 8, stride=0), "stride must be at least 1, got 0"),
        (lambda: mbconv_space(8, []), "layers is empty"),
        (lambda: mbconv_space(8, [ChoiceStage(8, 0, 1)]), "layers must be at least 1"),
        (
            lambda: MBConv(8, 8, 3)(torch.zeros(1, 4, 5, 5)),
            "x must have 8 channels in dimension 1, got 4",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@functools.cache
def _large():
    return on_paper(proxyless_supernet)
