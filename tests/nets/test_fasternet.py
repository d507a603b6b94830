"""FasterNet against its equation, timm, and the counts that its authors publish."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.cost import conv_cost
from effdl.conv.partial import partial_conv
from effdl.conv.pointwise import pointwise
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs, torch_flops
from effdl.measure.roofline import layer_costs
from effdl.nets.fasternet import (
    T0,
    T1,
    T2,
    FasterBlock,
    FasterNet,
    L,
    M,
    S,
    Stage,
    fasternet,
    small_fasternet,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import counted_on_paper, randomised


@pytest.mark.parametrize(("activation", "f"), [(nn.ReLU, F.relu), (nn.GELU, F.gelu)])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_block_is_the_equation(activation, f, share):
    block = randomised(FasterBlock(8, share=share, activation=activation))
    widen, norm, _, narrow = block.mix
    x = torch.randn(2, 8, 6, 7)
    y = partial_conv(x, block.partial.conv.weight)
    y = f(_normalised(pointwise(y, widen.weight[:, :, 0, 0]), norm))
    expected = x + pointwise(y, narrow.weight[:, :, 0, 0])
    torch.testing.assert_close(block(x), expected)
    assert block.partial.conv.in_channels == 8 * share


def test_patches_are_matrix_products_with_what_lies_in_them():
    net = FasterNet([Stage(6, 1)], patch=3, in_channels=2)
    x = torch.randn(1, 2, 7, 9)  # the last row fills no patch
    conv = net.features[0][0]
    columns = F.unfold(x, 3, stride=3)  # (1, 18, 6)
    expected = (conv.weight.flatten(1) @ columns).unflatten(2, (2, 3))
    torch.testing.assert_close(conv(x), expected)


def test_block_by_hand():
    """64 channels on 56 x 56: 9 * 16^2 + 4 * 64^2 weights, and as many MACs a pixel."""
    with torch.device("meta"):
        block, x = FasterBlock(64), torch.zeros(1, 64, 56, 56)
    weights = 9 * 16**2 + 4 * 64**2
    assert parameter_count(block) == weights + 2 * 128 == 18_944
    assert torch_flops(block, x) // 2 == 56**2 * weights == 58_605_568


@pytest.mark.parametrize(
    ("size", "name", "parameters", "macs"),
    [
        (T0, "t0", 3_905_500, 335.4),
        (T1, "t1", 7_595_368, 850.5),
        (T2, "t2", 14_982_888, 1904.3),
        (S, "s", 31_181_032, 4549.7),
        (M, "m", 53_521_464, 8721.9),
        (L, "l", 93_465_192, 15494.4),
    ],
)
def test_parameters_and_macs_are_those_of_timm(size, name, parameters, macs):
    """MACs in millions. Nothing is computed but shapes."""
    timm = pytest.importorskip("timm")
    ours, counted = _network(size)
    theirs, expected = counted_on_paper(
        lambda: timm.create_model(f"fasternet_{name}"), 224
    )
    assert parameter_count(ours) == parameter_count(theirs) == parameters
    assert counted == expected
    assert round(counted / 1e6, 1) == macs


@pytest.mark.parametrize(("size", "name"), [(T0, "t0"), (T2, "t2")])
def test_it_is_the_network_of_timm(size, name):
    """The one size with GELU, the other with ReLU."""
    timm = pytest.importorskip("timm")
    theirs = randomised(timm.create_model(f"fasternet_{name}"))
    ours, x = fasternet(size).eval(), torch.randn(1, 3, 64, 96)
    load_in_order_(ours, _in_order_of_the_calls(theirs, x))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("size", "parameters", "macs"),
    [
        (T0, 3.9, 0.34),
        (T1, 7.6, 0.85),
        (T2, 15.0, 1.90),
        (S, 31.1, 4.55),
        (M, 53.5, 8.72),
        (L, 93.4, 15.49),
    ],
)
def test_counts_are_the_published_ones(size, parameters, macs):
    """Millions and billions; 31.18 and 93.47 stand there as 31.1 and 93.4."""
    net, counted = _network(size)
    assert parameter_count(net) / 1e6 == pytest.approx(parameters, abs=0.09)
    assert round(counted / 1e9, 2) == macs


def test_a_traced_count_and_the_sum_over_layers_agree_with_the_count_of_shapes():
    """The partial convolution is a layer like any other."""
    net, x = fasternet(T0), torch.zeros(1, 3, 64, 64)
    _, macs = counted_on_paper(lambda: fasternet(T0), 64)
    assert count_macs(net, x).total == macs
    assert sum(cost.macs for cost in layer_costs(net, x)) == macs


def test_t0_costs_no_more_than_the_networks_of_figure_3():
    """The survey leaves FasterNet out: FLOPs were not optimised. MobileNetV1 has 569 M.

    And the operator saves: a sixteenth of an ordinary convolution, r = 1/4.
    """
    _, macs = _network(T0)
    assert 141e6 < macs < 569e6
    with torch.device("meta"):
        block, x = FasterBlock(64), torch.zeros(1, 64, 56, 56)
    assert torch_flops(block.partial, x) * 16 == 2 * conv_cost(64, 64, 3, 56).macs


def test_a_block_sees_a_t():
    """Neighbours through the first quarter of the channels, the pixel through all."""
    block, x = FasterBlock(8).eval(), torch.randn(1, 8, 5, 5, requires_grad=True)
    block(x)[..., 2, 2].square().sum().backward()
    seen = x.grad[0] != 0
    assert seen[:2, 1:4, 1:4].all()
    assert seen[:, 2, 2].all()
    assert seen.sum() == 2 * 9 + 6


def test_stages_have_the_channels_and_sizes_of_the_table():
    net, _ = _network(T0)
    x, shapes = torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in net.features:
        x = layer(x)
        shapes.append((x.shape[1], x.shape[2]))
    stages = [(40, 56)] * 2 + [(80, 28)] * 3 + [(160, 14)] * 9 + [(320, 7)] * 3
    assert shapes == stages


@pytest.mark.parametrize(("size", "activation"), [(T1, nn.GELU), (S, nn.ReLU)])
def test_small_sizes_have_gelu_and_large_ones_relu(size, activation):
    """Once in every block, once in the head."""
    net, _ = _network(size)
    found = [m for m in net.modules() if isinstance(m, (nn.GELU, nn.ReLU))]
    assert len(found) == sum(size.blocks) + 1
    assert all(type(m) is activation for m in found)


@pytest.mark.parametrize("builder", [lambda: fasternet(T0), small_fasternet])
def test_reduction_is_what_the_maps_show(builder):
    net, _ = counted_on_paper(builder, 64)
    channels = net.features[0][0].in_channels
    maps = net.features(torch.zeros(1, channels, 64, 64, device="meta"))
    assert maps.shape[2:] == (64 // net.reduction, 64 // net.reduction)
    assert net.reduction == (4 if builder is small_fasternet else 32)


def test_small_network_costs_what_it_should():
    net, macs = counted_on_paper(small_fasternet, 16)
    assert 400_000 <= macs <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 500_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    """MACs grow about as the square of the width: begin there and look around."""
    _, macs = counted_on_paper(small_fasternet, 16)
    widths = [(budget / macs) ** 0.5 * (1 + s / 50) for s in (0, -2, 2, -4, 4, -6)]
    found = (counted_on_paper(lambda w=w: small_fasternet(w), 16)[1] for w in widths)
    assert any(macs == pytest.approx(budget, rel=0.05) for macs in found)


def test_other_images_and_classes_are_possible():
    net = small_fasternet(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = fasternet(T0, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_fasternet()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    """At three times the usual rate: it starts slowly."""
    net, split = small_fasternet(), moved_digits(n_train=300).train
    losses = train_classifier(net, split, epochs=4, batch_size=20, learning_rate=0.3)
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_fasternet(0.0), "width must leave at least one of 16 channels"),
        (lambda: small_fasternet(0.1), "share=0.25 of channels=2 is less than one cha"),
        (lambda: fasternet(T0, classes=0), "classes must be at least 1, got 0"),
        (lambda: fasternet(T0, in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: FasterNet([]), "stages must be at least 1, got 0"),
        (lambda: FasterNet([Stage(8, 1)], patch=0), "patch must be at least 1, got 0"),
        (lambda: FasterNet([Stage(8, 1)], head=0), "head must be at least 1, got 0"),
        (lambda: FasterNet([Stage(8, 0)]), "blocks must be at least 1, got 0"),
        (lambda: FasterNet([Stage(0, 1)]), "channels must be at least 1, got 0"),
        (lambda: FasterBlock(3), "share=0.25 of channels=3 is less than one channel"),
        (lambda: FasterBlock(8)(torch.zeros(1, 4, 5, 5)), "x must have 8 channels in"),
        (
            lambda: fasternet(T0)(torch.zeros(1, 3, 64, 31)),
            "x must have 32 x 32 pixels or more, got 64 x 31",
        ),
        (
            lambda: small_fasternet()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_fasternet()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _in_order_of_the_calls(net, x):
    """Return the state in the order of computing; timm registers patches last."""
    state = {}

    def remember(name):
        return lambda layer, *_: state.update({
            f"{name}.{key}": value for key, value in layer.state_dict().items()
        })

    for name, layer in net.named_modules():
        if not any(True for _ in layer.children()):
            layer.register_forward_hook(remember(name))
    net(x)
    assert state.keys() == net.state_dict().keys()
    return state


@functools.cache
def _network(size):
    return counted_on_paper(lambda: fasternet(size), 224)


def _normalised(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    return x * scale[:, None, None] + shift[:, None, None]
