"""The residual blocks against their equation, torchvision and timm."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.nets.residual import (
    BasicBlock,
    Bottleneck,
    ResidualBlock,
    ZeroPadShortcut,
    projection_shortcut,
    zero_last_batch_norm_,
)
from effdl.nets.weights import load_in_order_
from on_paper import randomised


@pytest.mark.parametrize("stride", [1, 2])
def test_a_basic_block_is_its_equation(stride):
    """relu(BN(3x3 relu(BN(3x3 x))) + BN(1x1 x)), batch norm written out."""
    block = randomised(BasicBlock(4, 6, stride=stride))
    (conv_1, bn_1, _), (conv_2, bn_2) = block.residual
    conv_s, bn_s = block.shortcut
    x = torch.randn(2, 4, 7, 8)
    hidden = F.relu(_norm(bn_1, F.conv2d(x, conv_1.weight, None, stride, 1)))
    residual = _norm(bn_2, F.conv2d(hidden, conv_2.weight, None, 1, 1))
    shortcut = _norm(bn_s, F.conv2d(x, conv_s.weight, None, stride, 0))
    torch.testing.assert_close(block(x), F.relu(residual + shortcut))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_bottleneck_is_its_equation(stride):
    """The 1x1, 3x3, 1x1 residual; the stride is in the middle (v1.5)."""
    block = randomised(Bottleneck(6, 8, stride=stride))
    (conv_1, bn_1, _), (conv_2, bn_2, _), (conv_3, bn_3) = block.residual
    conv_s, bn_s = block.shortcut
    assert conv_2.weight.shape == (2, 2, 3, 3)  # a quarter of 8
    x = torch.randn(2, 6, 7, 8)
    hidden = F.relu(_norm(bn_1, F.conv2d(x, conv_1.weight)))
    hidden = F.relu(_norm(bn_2, F.conv2d(hidden, conv_2.weight, None, stride, 1)))
    residual = _norm(bn_3, F.conv2d(hidden, conv_3.weight))
    shortcut = _norm(bn_s, F.conv2d(x, conv_s.weight, None, stride, 0))
    torch.testing.assert_close(block(x), F.relu(residual + shortcut))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_option_a_pixel_by_pixel(stride):
    x = torch.randn(2, 3, 7, 5)
    y = ZeroPadShortcut(3, 5, stride)(x)
    expected = torch.zeros(2, 5, -(-7 // stride), -(-5 // stride))
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            expected[:, :3, row, column] = x[:, :, row * stride, column * stride]
    assert torch.equal(y, expected)


def test_weights_by_hand():
    """Basic: 18 c^2 and 4 c for batch norm; bottleneck: 17 m^2, and 12 m."""
    c, m = 12, 3
    assert parameter_count(BasicBlock(c, c)) == 18 * c**2 + 4 * c
    assert parameter_count(Bottleneck(c, c)) == 17 * m**2 + 12 * m


def test_only_option_b_has_weights():
    """16 to 32 channels: 512 weights, and 64 for batch norm."""
    a = BasicBlock(16, 32, stride=2, shortcut=ZeroPadShortcut)
    b = BasicBlock(16, 32, stride=2)
    assert parameter_count(b) - parameter_count(a) == 512 + 64
    assert parameter_count(projection_shortcut(16, 32, 2)) == 512 + 64


@pytest.mark.parametrize("module", ["torchvision.models.resnet", "timm.models.resnet"])
@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (16, 2)])
def test_blocks_are_those_of_the_libraries(module, channels, stride):
    """Theirs take the shortcut as a module, and m instead of the bottleneck's c."""
    library = pytest.importorskip(module)
    for ours, theirs, planes in [
        (BasicBlock, library.BasicBlock, channels),
        (Bottleneck, library.Bottleneck, channels // 4),
    ]:
        shortcut = None
        if channels != 8:
            conv = nn.Conv2d(8, channels, 1, stride=stride, bias=False)
            shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))
        reference = theirs(8, planes, stride=stride, downsample=shortcut)
        randomised(reference)
        block = ours(8, channels, stride=stride).eval()
        load_in_order_(block, reference.state_dict())
        x = torch.randn(2, 8, 9, 9)
        torch.testing.assert_close(block(x), reference(x.clone()))


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_zero_residual_makes_the_block_the_identity_after_relu(block):
    net = nn.Sequential(block(8, 8), block(8, 8))
    zero_last_batch_norm_(net)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(net(x), F.relu(x))  # twice relu is relu
    before = net[0].residual(torch.randn(2, 8, 6, 6))
    assert torch.equal(before, torch.zeros_like(before))


@pytest.mark.parametrize("shortcut", [ZeroPadShortcut, projection_shortcut])
def test_a_zero_residual_leaves_the_shortcut(shortcut):
    """The shortcut's own batch norm is not touched."""
    block = randomised(BasicBlock(4, 6, stride=2, shortcut=shortcut))
    kept = {k: v.clone() for k, v in block.state_dict().items()}
    zero_last_batch_norm_(block)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(x), F.relu(block.shortcut(x)))
    changed = {k for k, v in block.state_dict().items() if not torch.equal(v, kept[k])}
    assert changed == {"residual.1.1.weight", "residual.1.1.bias"}


def test_the_gradient_passes_a_block_that_computes_nothing():
    block = BasicBlock(4, 4)
    zero_last_batch_norm_(block)
    x = torch.rand(2, 4, 6, 6, requires_grad=True)
    block(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
    assert block.residual[-1][-1].weight.grad.any()  # the way out of zero


@pytest.mark.parametrize("shortcut", [ZeroPadShortcut, projection_shortcut])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_shortcut_is_made_only_where_shapes_change(block, shortcut):
    same = block(8, 8, shortcut=shortcut).shortcut
    assert isinstance(same, nn.Identity)
    for channels, stride in [(12, 1), (8, 2), (12, 2)]:
        made = block(8, channels, stride=stride, shortcut=shortcut)
        assert not isinstance(made.shortcut, nn.Identity)
        for size in (7, 8):
            y = made(torch.randn(2, 8, size, size))
            assert y.shape == (2, channels, -(-size // stride), -(-size // stride))


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_every_parameter_gets_a_gradient(block):
    layer = block(4, 8, stride=2)
    layer(torch.randn(4, 4, 6, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BasicBlock(0, 4), "in_channels must be at least 1, got 0"),
        (lambda: BasicBlock(4, 0), "out_channels must be at least 1, got 0"),
        (lambda: BasicBlock(4, 4, stride=0), "stride must be at least 1, got 0"),
        (lambda: Bottleneck(4, 0), "out_channels must be at least 1, got 0"),
        (
            lambda: Bottleneck(4, 10),
            "expansion=4 must divide out_channels, got 10; use 8 or 12",
        ),
        (
            lambda: BasicBlock(8, 4, shortcut=ZeroPadShortcut),
            r"at least in_channels \(8\), got 4; use projection_shortcut",
        ),
        (lambda: ZeroPadShortcut(0, 4, 1), "in_channels must be at least 1, got 0"),
        (lambda: ZeroPadShortcut(4, 4, 0), "stride must be at least 1, got 0"),
        (
            lambda: BasicBlock(4, 8)(torch.zeros(1, 3, 6, 6)),
            "x must have 4 channels in dimension 1, got 3",
        ),
        (
            lambda: ResidualBlock(nn.Identity(), 4, 4)(torch.zeros(4, 6, 6)),
            r"x must be \(N, C, H, W\), got shape \(4, 6, 6\)",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _norm(bn, x):
    """Return batch norm in evaluation, from its definition."""
    shape = (1, -1, 1, 1)
    mean, variance = bn.running_mean.view(shape), bn.running_var.view(shape)
    scaled = (x - mean) / (variance + bn.eps).sqrt()
    return scaled * bn.weight.view(shape) + bn.bias.view(shape)
