"""The Ghost bottleneck against its layers written out, timm's, and its limits."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.ghost import GhostConv2d
from effdl.nets.ghost_bottleneck import GhostBottleneck
from effdl.nets.weights import load_in_order_
from on_paper import randomised


def test_output_is_the_layers_written_out():
    """Expand, halve, gate, project; the shortcut halved and widened beside it."""
    block = GhostBottleneck(6, 16, 8, 5, stride=2, squeeze=0.25).eval()
    randomised(block)
    x = torch.randn(2, 6, 8, 8)
    expand, halve, gate, project = block.branch

    wide = expand(x)
    small = _norm(halve[1], F.conv2d(wide, halve[0].weight, None, 2, 2, groups=16))
    means = small.mean(dim=(2, 3))
    reduce, _, restore, _ = gate.gate
    hidden = means @ reduce.weight[:, :, 0, 0].T + reduce.bias
    hidden = torch.where(hidden > 0, hidden, 0)
    s = hidden @ restore.weight[:, :, 0, 0].T + restore.bias
    s = torch.clamp(s + 3, 0, 6) / 6
    branch = project(small * s[:, :, None, None])

    (depthwise, norm), (pointwise, last_norm) = block.shortcut
    beside = _norm(norm, F.conv2d(x, depthwise.weight, None, 2, 2, groups=6))
    beside = _norm(last_norm, F.conv2d(beside, pointwise.weight))
    torch.testing.assert_close(block(x), branch + beside)


@pytest.mark.parametrize(
    ("channels", "share", "hidden"),
    [(72, 0.25, 20), (120, 0.25, 32), (480, 0.25, 120), (64, 0.5, 32), (2, 0.25, 4)],
)
def test_hidden_units_by_hand(channels, share, hidden):
    """18, 30, 120, 32 and less than one, to multiples of 4, never a tenth less."""
    gate = GhostBottleneck(8, channels, 8, squeeze=share).branch[1].gate
    assert gate[0].weight.shape == (hidden, channels, 1, 1)
    assert gate[2].weight.shape == (channels, hidden, 1, 1)


@pytest.mark.parametrize(
    ("sizes", "stride", "squeeze"),
    [
        ((6, 16, 6, 3), 1, 0),
        ((6, 16, 6, 3), 1, 0.25),
        ((6, 16, 6, 3), 2, 0),
        ((6, 16, 10, 5), 1, 0.5),
        ((5, 13, 7, 5), 2, 0.25),
        ((5, 13, 5, 7), 3, 0.25),
    ],
)
def test_agrees_with_timm(sizes, stride, squeeze):
    """Odd channels too, and odd maps."""
    ghostnet = pytest.importorskip("timm.models.ghostnet")
    theirs = ghostnet.GhostBottleneck(*sizes, stride=stride, se_ratio=squeeze)
    ours = GhostBottleneck(*sizes, stride=stride, squeeze=squeeze)
    randomised(theirs)
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, sizes[0], 9, 8)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    torch.testing.assert_close(ours.train()(x), theirs.train()(x))


def test_only_a_stride_puts_a_depthwise_layer_into_the_branch():
    plain, strided = (
        GhostBottleneck(8, 24, 8, 5),
        GhostBottleneck(8, 24, 8, 5, stride=2),
    )
    kernels = [
        {m.kernel_size for m in block.branch.modules() if isinstance(m, nn.Conv2d)}
        for block in (plain, strided)
    ]
    assert kernels == [{(1, 1), (3, 3)}, {(1, 1), (3, 3), (5, 5)}]


@pytest.mark.parametrize(
    ("out_channels", "stride", "identity"),
    [(8, 1, True), (10, 1, False), (8, 2, False)],
)
def test_the_shortcut_is_x_itself_where_shapes_agree(out_channels, stride, identity):
    block = GhostBottleneck(8, 24, out_channels, stride=stride).eval()
    assert isinstance(block.shortcut, nn.Identity) == identity
    x = torch.randn(2, 8, 7, 7)
    beside = block(x) - block.branch(x)
    assert torch.allclose(beside, x, atol=1e-5) if identity else beside.shape != x.shape
    assert block(x).shape == (2, out_channels, -(-7 // stride), -(-7 // stride))


@pytest.mark.parametrize(("shift", "passes"), [(-50.0, False), (50.0, True)])
def test_the_gate_is_exactly_shut_or_open_beyond_three(shift, passes):
    block = GhostBottleneck(8, 24, 8, squeeze=0.25).eval()
    twin = GhostBottleneck(8, 24, 8).eval()
    load_in_order_(twin.branch[0], block.branch[0].state_dict())
    load_in_order_(twin.branch[1], block.branch[2].state_dict())
    nn.init.constant_(block.branch[1].gate[2].bias, shift)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(block(x), twin(x) if passes else x)


def test_nothing_but_the_expanding_layer_ends_in_an_activation():
    block = GhostBottleneck(8, 24, 10, stride=2)
    x = torch.randn(4, 8, 8, 8)
    wide = block.branch[0](x)
    assert (wide >= 0).all()
    assert (block.branch[1](wide) < 0).any()
    assert (block.branch(x) < 0).any()
    assert (block.shortcut(x) < 0).any()
    assert (block.shortcut[0](x) < 0).any()


def test_the_first_layer_is_what_it_is_given():
    calls = []

    def expand(in_channels, out_channels):
        calls.append((in_channels, out_channels))
        return GhostConv2d(in_channels, out_channels, 3)

    block = GhostBottleneck(8, 24, 10, expand=expand)
    assert calls == [(8, 24)]
    assert block.branch[0].primary[0].kernel_size == (3, 3)


@pytest.mark.parametrize(("stride", "squeeze"), [(1, 0), (2, 0.25)])
def test_every_parameter_learns(stride, squeeze):
    block = GhostBottleneck(8, 24, 8, stride=stride, squeeze=squeeze)
    block(torch.randn(8, 8, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"expanded": 0}, "out_channels must be at least 1, got 0"),
        ({"out_channels": 1}, r"ratio must be in 2..out_channels \(1\), got 2"),
        ({"kernel_size": 4, "stride": 2}, "kernel_size must be odd, got 4"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    valid = {"in_channels": 8, "expanded": 24, "out_channels": 8}
    with pytest.raises(ValueError, match=message):
        GhostBottleneck(**valid | arguments)


def test_other_channels_are_named():
    with pytest.raises(
        ValueError, match="x must have 8 channels in dimension 1, got 3"
    ):
        GhostBottleneck(8, 24, 8)(torch.zeros(2, 3, 8, 8))


def _norm(layer: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """Return batch norm of (N, C, H, W) by its formula."""
    mean, var, scale, shift = (
        v[:, None, None]
        for v in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / (var + layer.eps).sqrt() * scale + shift
