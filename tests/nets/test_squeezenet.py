"""SqueezeNets against their equation, torchvision, and AlexNet."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.squeezenet import (
    F16,
    Fire,
    FireSize,
    SqueezeNet,
    Stem,
    small_squeezenet,
    squeezenet,
    squeezenet1_1,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import counted_on_paper, on_paper


def test_fire_is_its_equation_channel_by_channel():
    """A squeeze z = relu(W_s x + b_s), then two layers that both look at z."""
    fire = Fire(5, 2, 3, 4)
    x = torch.randn(2, 5, 6, 7)
    weight, bias = fire.squeeze.weight[:, :, 0, 0], fire.squeeze.bias
    z = F.relu(torch.einsum("nchw,sc->nshw", x, weight) + bias.view(1, -1, 1, 1))
    maps = []
    for number in range(3):
        weight, bias = fire.expand_1x1.weight[number], fire.expand_1x1.bias[number]
        maps.append(F.relu(sum(w * z[:, s] for s, w in enumerate(weight)) + bias))
    for number in range(4):
        weight, bias = fire.expand_3x3.weight[number], fire.expand_3x3.bias[number]
        maps.append(F.relu(F.conv2d(z, weight[None], bias[None], padding=1))[:, 0])
    torch.testing.assert_close(fire(x), torch.stack(maps, dim=1))


@pytest.mark.parametrize("sizes", [(96, 16, 64, 64), (10, 3, 4, 6)])
def test_fire_has_the_parameters_of_the_formula(sizes):
    """Of fire2: 1552 + 1088 + 9280 = 11920."""
    c, s, e1, e3 = sizes
    expected = (c * s + s) + (s * e1 + e1) + (9 * s * e3 + e3)
    assert parameter_count(Fire(*sizes)) == expected
    assert parameter_count(Fire(96, 16, 64, 64)) == 11920


def test_parameters_by_hand():
    """The paper's table: eight modules with e_1 = e_3 = 4 s, 1.25 million in all."""
    total, c = 49 * 3 * 96 + 96, 96
    for s in (16, 16, 32, 32, 48, 48, 64, 64):
        total += (c + 1) * s + (s + 1) * 4 * s + (9 * s + 1) * 4 * s
        c = 8 * s
    total += (c + 1) * 1000
    assert parameter_count(squeezenet()) == total == 1_248_424


def test_parameters_of_the_small_network_by_hand():
    """16 channels; Fire to 16, 32 + 32; to 16, 64 + 64, twice; 10 maps."""
    total, c = 9 * 16 + 16, 16
    for s, e in [(16, 32), (16, 64), (16, 64)]:
        total += (c + 1) * s + (s + 1) * e + (9 * s + 1) * e
        c = 2 * e
    assert parameter_count(small_squeezenet()) == total + (c + 1) * 10 == 30746


def test_deep_compression_of_the_paper_by_hand():
    """A third of the weights, 8 or 6 bits and 4 for the index; 26 codebooks.

    The paper reports 0.66 and 0.47 MB, 363 and 510 times less than AlexNet's 240 MB.
    Plain codes give 0.64 and 0.52 MB: Huffman coding must have saved the difference
    of the second, and the first has a few more bytes than its codes.
    """
    kept = 0.33 * parameter_count(squeezenet())
    layers = [m for m in squeezenet().modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == 26
    for bits, published, ratio in [(8, 0.66, 363), (6, 0.47, 510)]:
        megabytes = (kept * (bits + 4) / 8 + 26 * 2**bits * 4) / 1e6
        assert megabytes == pytest.approx(published, rel=0.12)
        assert 240 / megabytes == pytest.approx(ratio, rel=0.12)


def test_fire_is_that_of_torchvision():
    models = pytest.importorskip("torchvision.models.squeezenet")
    theirs, ours = models.Fire(6, 3, 4, 5), Fire(6, 3, 4, 5)
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 6, 7, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("size", [21, 64, 65, 71])
@pytest.mark.parametrize(
    ("builder", "name"),
    [(squeezenet, "squeezenet1_0"), (squeezenet1_1, "squeezenet1_1")],
)
def test_the_networks_are_those_of_torchvision(builder, name, size):
    """Pooling rounds up, so every size is compared."""
    models = pytest.importorskip("torchvision.models")
    theirs, ours = getattr(models, name)().eval(), builder().eval()
    nn.init.normal_(theirs.classifier[1].weight, std=0.1)  # more than 0 behind relu
    assert parameter_count(ours) == parameter_count(theirs)
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)
    assert expected.any()


@pytest.mark.parametrize(
    ("builder", "name", "macs"),
    [
        (squeezenet, "squeezenet1_0", 818_924_576),
        (squeezenet1_1, "squeezenet1_1", 349_151_936),
    ],
)
def test_macs_are_those_of_torchvision(builder, name, macs):
    models = pytest.importorskip("torchvision.models")
    _, counted = counted_on_paper(getattr(models, name), 224)
    assert counted_on_paper(builder, 224)[1] == counted == macs


def test_squeezenet_is_50_times_smaller_than_alexnet_but_not_cheaper():
    models = pytest.importorskip("torchvision.models")
    ours, macs = counted_on_paper(squeezenet, 224)
    alexnet, macs_of_alexnet = counted_on_paper(models.alexnet, 224)
    assert round(parameter_count(alexnet) / parameter_count(ours), 1) == 48.9
    assert round(macs / macs_of_alexnet - 1, 2) == 0.15


def test_images_of_227_pixels_give_the_sizes_of_the_papers_table():
    net = on_paper(squeezenet)
    sides, x = [], torch.zeros(1, 3, 227, 227, device="meta")
    for layer in net.features:
        x = layer(x)
        sides += [x.shape[-1]] if not isinstance(layer, nn.ReLU | Fire) else []
    assert sides == [111, 55, 27, 13]


@pytest.mark.parametrize(
    ("builder", "reduction", "smallest"),
    [(squeezenet, 16, 21), (squeezenet1_1, 16, 17), (small_squeezenet, 4, 6)],
)
def test_the_smallest_image_is_the_one_that_pooling_survives(
    builder, reduction, smallest
):
    net = on_paper(builder).eval()
    assert (net.reduction, net.smallest) == (reduction, smallest)
    sizes = [(smallest, smallest), (smallest - 1, smallest - 1)]
    fits, too_small = (
        torch.zeros(1, net.in_channels, *size, device="meta") for size in sizes
    )
    assert net.features(fits).shape[2:] == (1, 1)
    with pytest.raises(RuntimeError):
        net.features(too_small)


def test_class_maps_start_before_the_relu_would_cut_them():
    x = moved_digits(n_train=50, n_validation=1, n_test=1).train.inputs
    net = small_squeezenet().eval()
    maps = net.classifier[1](net.features(x))
    assert (maps > 0).float().mean() > 0.99


def test_biases_start_at_zero_but_for_the_class_maps():
    *others, last = [
        m for m in small_squeezenet().modules() if isinstance(m, nn.Conv2d)
    ]
    assert not any(conv.bias.any() for conv in others)
    assert (last.bias == 1).all()
    assert last.weight.std().item() == pytest.approx(0.01, rel=0.1)
    for conv in others:  # uniform up to the square root of 6 / inputs
        bound = (6 / conv.weight[0].numel()) ** 0.5
        assert 0.9 * bound < conv.weight.abs().max() <= bound


def test_half_of_the_last_features_drops_out_in_training():
    net = squeezenet()
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert isinstance(net.classifier[0], nn.Dropout)  # before the class maps


def test_logits_are_the_means_of_the_class_maps_behind_relu():
    net = small_squeezenet().eval()
    nn.init.normal_(net.classifier[1].weight)
    x = torch.randn(3, 1, 16, 16)
    maps = F.relu(net.classifier[1](net.features(x)))
    torch.testing.assert_close(net(x), maps.mean(dim=(2, 3)))
    assert (maps == 0).any()


def test_small_network_costs_what_it_should():
    net = small_squeezenet()
    macs = count_macs(net, torch.zeros(1, 1, 16, 16)).total
    assert 400_000 <= macs == counted_on_paper(small_squeezenet, 16)[1] <= 600_000
    assert parameter_count(net) < 100_000


@pytest.mark.parametrize("budget", [200_000, 300_000, 400_000, 600_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    guess = (budget / 515_136) ** 0.5
    macs = [
        counted_on_paper(lambda w=w: small_squeezenet(w), 16)[1]
        for w in (guess * (0.85 + 0.02 * step) for step in range(16))
    ]
    assert min(abs(m / budget - 1) for m in macs) < 0.055


def test_other_images_and_classes_are_possible():
    net = small_squeezenet(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    for builder in (squeezenet, squeezenet1_1):
        net = builder(in_channels=1, classes=5)
        assert net(torch.randn(2, 1, 33, 33)).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_squeezenet()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    batch = moved_digits(n_train=100, n_validation=1, n_test=1).train
    net = small_squeezenet()
    net.classifier[0].p = 0.0  # 30 steps are too few to see through dropout
    losses = train_classifier(net, batch, epochs=30, learning_rate=0.01)
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_squeezenet(0.01), "width must leave at least one of 16"),
        (lambda: small_squeezenet(float("nan")), "width must leave at least one"),
        (lambda: small_squeezenet(classes=0), "classes must be at least 1, got 0"),
        (lambda: small_squeezenet(in_channels=0), "in_channels must be at least 1"),
        (lambda: SqueezeNet([], stem=Stem(0, 3, 1)), "channels must be at least 1"),
        (lambda: SqueezeNet([], stem=Stem(8, 0, 1)), "kernel_size must be at least 1"),
        (lambda: SqueezeNet([], stem=Stem(8, 3, 0)), "stride must be at least 1"),
        (
            lambda: SqueezeNet([[FireSize(0, 8)]], stem=Stem(8, 3, 1)),
            "squeeze must be at least 1, got 0",
        ),
        (lambda: Fire(0, 2, 3, 4), "in_channels must be at least 1, got 0"),
        (lambda: Fire(4, 2, 0, 4), "expand_1x1 must be at least 1, got 0"),
        (lambda: Fire(4, 2, 3, 0), "expand_3x3 must be at least 1, got 0"),
        (
            lambda: Fire(4, *F16, 8)(torch.zeros(1, 3, 6, 6)),
            "x must have 4 channels in dimension 1, got 3",
        ),
        (
            lambda: squeezenet()(torch.zeros(1, 3, 20, 64)),
            "x must have 21 x 21 pixels or more, got 20 x 64",
        ),
        (
            lambda: small_squeezenet()(torch.zeros(1, 1, 16, 5)),
            "x must have 6 x 6 pixels or more, got 16 x 5",
        ),
        (
            lambda: small_squeezenet()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
