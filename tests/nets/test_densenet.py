"""DenseNets against their equation, torchvision and timm."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.densenet import (
    DenseLayer,
    DenseNet,
    Transition,
    dense_channels,
    densenet121,
    densenet201,
    small_densenet,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import counted_on_paper, on_paper, randomised


def test_a_block_is_its_equation():
    """x_l = H([x_0, ..., x_{l-1}]) with a list of all maps; H written out."""
    layers = [randomised(DenseLayer(5 + 3 * number, 3, 7)) for number in range(3)]
    x = torch.randn(2, 5, 6, 7)
    maps = [x]
    for layer in layers:
        bn_1, _, conv_1, bn_2, _, conv_2 = layer.new_maps
        hidden = F.conv2d(F.relu(_norm(bn_1, torch.cat(maps, 1))), conv_1.weight)
        hidden = F.relu(_norm(bn_2, hidden))
        maps.append(F.conv2d(hidden, conv_2.weight, padding=1))
    torch.testing.assert_close(nn.Sequential(*layers)(x), torch.cat(maps, 1))


def test_a_transition_is_its_equation():
    transition = randomised(Transition(6))
    bn, _, conv, _ = transition
    x = torch.randn(2, 6, 4, 6)
    y = F.conv2d(F.relu(_norm(bn, x)), conv.weight)
    mean = (y[..., ::2, ::2] + y[..., 1::2, ::2]) / 4
    mean = mean + (y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(transition(x), mean)
    assert conv.weight.shape == (3, 6, 1, 1)


@pytest.mark.parametrize(
    ("builder", "layers", "expected"),
    [
        (densenet121, (6, 12, 24, 16), 7_978_856),
        (densenet201, (6, 12, 48, 32), 20_013_928),
    ],
)
def test_parameters_by_hand(builder, layers, expected):
    """A layer with c inputs: batch norm 2 c, 128 c, 256, 9 * 128 * 32."""
    total, c = 147 * 64 + 128, 64
    for number, count in enumerate(layers):
        if number:
            total += 2 * c + c * c // 2
            c //= 2
        for _ in range(count):
            total += 2 * c + 128 * c + 256 + 9 * 128 * 32
            c += 32
    total += 2 * c + (c + 1) * 1000
    net = on_paper(builder)
    assert parameter_count(net) == total == expected
    weighted = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 2 * sum(layers) + 5  # the number in the name


def test_parameters_of_the_small_network_by_hand():
    """16 channels; layers from 16, 28; 40 to 20; layers from 20, 32, 44; 56."""
    total = 9 * 16 + 32 + (2 * 40 + 40 * 20) + 2 * 56 + 570
    for c in (16, 28, 20, 32, 44):
        total += 2 * c + 16 * c + 32 + 9 * 16 * 12
    assert parameter_count(small_densenet()) == total == 13058


def test_channels_grow_by_the_growth_rate():
    """64 + 6 * 32 = 256 behind the first block of DenseNet-121, and so on."""
    channels, inputs = 64, []
    for layers in (6, 12, 24, 16):
        inputs += [dense_channels(channels, layers, 32)]
        channels = inputs[-1] // 2
    assert inputs == [256, 512, 1024, 1024]
    net = on_paper(densenet121)
    halved = [m[0].num_features for m in net.modules() if isinstance(m, Transition)]
    assert [*halved, net.classifier[-1].in_features] == inputs


@pytest.mark.parametrize("library", ["torchvision", "timm"])
@pytest.mark.parametrize("name", ["densenet121", "densenet201"])
def test_the_networks_are_those_of_the_libraries(library, name):
    pytest.importorskip(library)
    theirs = randomised(_reference(library, name))
    ours = {"densenet121": densenet121, "densenet201": densenet201}[name]().eval()
    assert parameter_count(ours) == parameter_count(theirs)
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(1, 3, 64, 65)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("builder", "macs"),
    [(densenet121, 2_834_161_664), (densenet201, 4_291_365_888)],
)
def test_macs_are_those_of_torchvision(builder, macs):
    models = pytest.importorskip("torchvision.models")
    theirs = getattr(models, builder.__name__)
    _, counted = counted_on_paper(theirs, 224)
    assert counted_on_paper(builder, 224)[1] == counted == macs


def test_layers_that_compute_nothing_leave_the_input_in_the_output():
    layers = nn.Sequential(DenseLayer(4, 3, 5), DenseLayer(7, 3, 5))
    for layer in layers:
        nn.init.zeros_(layer.new_maps[-1].weight)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    y = layers(x)
    assert torch.equal(y[:, :4], x)
    assert not y[:, 4:].any()
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))  # the direct path


def test_only_the_new_maps_depend_on_the_layer():
    layer = DenseLayer(4, 3, 5)
    x = torch.randn(2, 4, 6, 6)
    before = layer(x)
    nn.init.normal_(layer.new_maps[2].weight)
    changed = (layer(x) != before).any(dim=3).any(dim=2).any(dim=0)
    assert changed.tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize(
    ("builder", "reduction"),
    [(densenet121, 32), (small_densenet, 4)],
)
def test_reduction_is_what_the_maps_show(builder, reduction):
    net = on_paper(builder)
    maps = net.features(torch.zeros(1, net.in_channels, 64, 64, device="meta"))
    assert net.reduction == reduction
    assert maps.shape[2:] == (64 // reduction, 64 // reduction)
    smallest = torch.zeros(1, net.in_channels, reduction, reduction, device="meta")
    assert net.eval()(smallest).shape == (1, net.classifier[-1].out_features)


def test_small_network_costs_what_it_should():
    net = small_densenet()
    macs = count_macs(net, torch.zeros(1, 1, 16, 16)).total
    assert 400_000 <= macs == counted_on_paper(small_densenet, 16)[1] <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 300_000, 400_000, 600_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    guess = (budget / 462_384) ** 0.5
    macs = [
        counted_on_paper(lambda w=w: small_densenet(w), 16)[1]
        for w in (guess * (0.85 + 0.02 * step) for step in range(16))
    ]
    assert min(abs(m / budget - 1) for m in macs) < 0.055


def test_other_images_and_classes_are_possible():
    net = small_densenet(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = DenseNet((1, 1), growth=4, bottleneck=8, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 5)
    for builder in (densenet121, densenet201):
        net = on_paper(lambda build=builder: build(in_channels=1, classes=5))
        assert net.features[0][0].in_channels == net.in_channels == 1
        assert net.classifier[-1].out_features == 5


def test_every_parameter_gets_a_gradient():
    net = small_densenet()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    batch = moved_digits(n_train=100, n_validation=1, n_test=1).train
    losses = train_classifier(small_densenet(), batch, epochs=15)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_densenet(0.01), "width must leave at least one of 12 channels"),
        (lambda: small_densenet(float("nan")), "width must leave at least one of 12"),
        (lambda: small_densenet(classes=0), "classes must be at least 1, got 0"),
        (lambda: small_densenet(in_channels=0), "in_channels must be at least 1"),
        (lambda: DenseNet([]), "blocks must be at least 1, got 0"),
        (lambda: DenseNet([0]), "layers must be at least 1, got 0"),
        (lambda: DenseNet([1], growth=0), "growth must be at least 1, got 0"),
        (lambda: DenseNet([1], bottleneck=0), "bottleneck must be at least 1, got 0"),
        (lambda: DenseNet([1], stem=(8, 4, 1)), "kernel_size must be odd, got 4"),
        (lambda: DenseLayer(0, 4, 8), "in_channels must be at least 1, got 0"),
        (lambda: Transition(1), "in_channels must be at least 2, got 1"),
        (lambda: dense_channels(0, 1, 1), "channels must be at least 1, got 0"),
        (
            lambda: DenseLayer(4, 4, 8)(torch.zeros(1, 3, 6, 6)),
            "x must have 4 channels in dimension 1, got 3",
        ),
        (
            lambda: on_paper(densenet121)(torch.zeros(1, 3, 31, 64)),
            "x must have 32 x 32 pixels or more, got 31 x 64",
        ),
        (
            lambda: small_densenet()(torch.zeros(1, 1, 16, 3)),
            "x must have 4 x 4 pixels or more, got 16 x 3",
        ),
        (
            lambda: small_densenet()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _reference(library, name):
    if library == "timm":
        import timm

        return timm.create_model(name)
    from torchvision import models

    return getattr(models, name)()


def _norm(bn, x):
    """Return batch norm in evaluation, from its definition."""
    shape = (1, -1, 1, 1)
    mean, variance = bn.running_mean.view(shape), bn.running_var.view(shape)
    scaled = (x - mean) / (variance + bn.eps).sqrt()
    return scaled * bn.weight.view(shape) + bn.bias.view(shape)
