"""ResNets against the tables of the paper, torchvision and timm."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs, torch_flops
from effdl.nets.residual import BasicBlock, zero_last_batch_norm_
from effdl.nets.resnet import (
    ResNet,
    Stage,
    Stem,
    cifar_resnet,
    resnet50,
    small_resnet,
)
from effdl.nets.weights import load_in_order_
from effdl.train import train_classifier
from on_paper import counted_on_paper, on_paper, randomised


@pytest.mark.parametrize(
    ("depth", "published"),
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)],
)
def test_cifar_networks_have_the_parameters_of_the_papers_table(depth, published):
    """Stem 9 * 3 c, then n blocks a stage: 18 c^2, less where the channels double.

    Each convolution has 2 c numbers of batch norm; the last layer 65 * 10.
    """
    n = (depth - 2) // 6
    expected = 27 * 16 + 32 + 650
    for c in (16, 32, 64):
        expected += n * (18 * c**2 + 4 * c)
        expected -= 9 * c * c // 2 if c > 16 else 0  # half as many inputs
    net = on_paper(lambda: cifar_resnet(depth))
    assert parameter_count(net) == expected
    digits = 1 if depth == 110 else 2
    assert round(expected / 1e6, digits) == published
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == depth


def test_resnet20_makes_41_million_multiply_adds():
    """9 c^2 per pixel: 6 layers of 16 at 32 x 32; 5 and a half each of 32 and 64."""
    by_hand = 27 * 16 * 1024 + 6 * 9 * 16**2 * 1024 + 640
    by_hand += 5.5 * 9 * 32**2 * 256 + 5.5 * 9 * 64**2 * 64
    macs = count_macs(cifar_resnet(20), torch.zeros(1, 3, 32, 32)).total
    assert macs == by_hand == 40_551_040


def test_parameters_of_the_small_network_by_hand():
    """4 channels; 4-4; 10-10, 10-10; 20-20, 20-20; 210."""
    convs = [(1, 4), (4, 4), (4, 4), (4, 10), *[(10, 10)] * 3, (10, 20)]
    convs += [(20, 20)] * 3
    expected = sum(9 * c * n + 2 * n for c, n in convs) + 210
    assert parameter_count(small_resnet()) == expected == 16458


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_resnet50_is_that_of_the_libraries(library):
    pytest.importorskip(library)
    theirs = randomised(_reference(library))
    ours, x = resnet50().eval(), torch.randn(1, 3, 64, 65)
    assert parameter_count(ours) == parameter_count(theirs) == 25_557_032
    load_in_order_(ours, theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_resnet50_costs_what_torchvisions_does_nearly_all_of_it_in_convolutions():
    """The survey's "more than 99 %"; the paper's strides would save 6 % of it."""
    pytest.importorskip("torchvision")
    with torch.device("meta"):
        x = torch.zeros(1, 3, 224, 224)
        ours, theirs = resnet50(), _reference("torchvision")
    assert torch_flops(ours, x) == torch_flops(theirs, x) == 2 * 4_089_184_256
    linear = ours.classifier[-1].weight.numel()
    assert 0.999 < 1 - linear / 4_089_184_256 < 1


def test_the_authors_strides_would_make_it_cheaper():
    net = on_paper(resnet50)
    for block in net.features[2:]:
        first, second = block.residual[0][0], block.residual[1][0]
        first.stride, second.stride = second.stride, first.stride
    macs = torch_flops(net, torch.zeros(1, 3, 224, 224, device="meta")) // 2
    assert macs == 3_857_973_248  # 3.8 billion in the paper


def test_without_residuals_a_cifar_network_only_moves_its_stem():
    """Every fourth pixel of the stem, and zeros for 48 of 64 channels."""
    net = cifar_resnet(20).eval()
    zero_last_batch_norm_(net)
    x = torch.randn(2, 3, 32, 32)
    stem = net.features[0](x)
    maps = net.features(x)
    torch.testing.assert_close(maps[:, :16], stem[:, :, ::4, ::4])
    assert not maps[:, 16:].any()
    logits = F.linear(maps.mean(dim=(2, 3)), *net.classifier[-1].parameters())
    torch.testing.assert_close(net(x), logits)


def test_only_the_first_block_of_a_stage_strides():
    stages = [Stage(4, 2, 1), Stage(8, 3, 2)]
    net = ResNet(stages, stem=Stem(4, 3, 1, pooled=False), block=BasicBlock)
    strides = [block.residual[0][0].stride[0] for block in net.features[1:]]
    shortcuts = [not isinstance(b.shortcut, nn.Identity) for b in net.features[1:]]
    assert strides == [1, 1, 2, 1, 1]
    assert shortcuts == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("builder", "reduction"), [(resnet50, 32), (cifar_resnet, 4), (small_resnet, 4)]
)
def test_reduction_is_what_the_maps_show(builder, reduction):
    net = on_paper(builder)
    maps = net.features(torch.zeros(1, net.in_channels, 64, 64, device="meta"))
    assert net.reduction == reduction
    assert maps.shape[2:] == (64 // reduction, 64 // reduction)
    smallest = torch.zeros(1, net.in_channels, reduction, reduction, device="meta")
    assert net.eval()(smallest).shape == (1, net.classifier[-1].out_features)


def test_small_network_costs_what_it_should():
    macs = count_macs(small_resnet(), torch.zeros(1, 1, 16, 16)).total
    assert 400_000 <= macs == counted_on_paper(small_resnet, 16)[1] <= 600_000
    assert parameter_count(small_resnet()) < 100_000


@pytest.mark.parametrize("budget", [200_000, 300_000, 400_000, 600_000, 1_000_000])
def test_some_width_meets_any_budget(budget):
    """To 6.3 % at worst: channels are few, so a step of one is large."""
    guess = (budget / counted_on_paper(small_resnet, 16)[1]) ** 0.5
    macs = [
        counted_on_paper(lambda s=step: small_resnet(guess * (0.85 + 0.02 * s)), 16)[1]
        for step in range(16)
    ]
    assert min(abs(m / budget - 1) for m in macs) < 0.063


def test_other_images_and_classes_are_possible():
    net = small_resnet(0.5, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, 12, 12)).shape == (2, 7)
    net = cifar_resnet(8, in_channels=1, classes=5)
    assert net(torch.randn(2, 1, 28, 28)).shape == (2, 5)
    net = on_paper(lambda: resnet50(in_channels=1, classes=5))
    assert net(torch.zeros(2, 1, 64, 64, device="meta")).shape == (2, 5)


def test_every_parameter_gets_a_gradient():
    net = small_resnet()
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_a_few_steps_lower_the_loss():
    batch = moved_digits(n_train=100, n_validation=1, n_test=1).train
    losses = train_classifier(small_resnet(), batch, epochs=15)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_resnet(0.01), "width must leave at least one of 4 channels"),
        (lambda: small_resnet(float("nan")), "width must leave at least one of 4"),
        (lambda: small_resnet(classes=0), "classes must be at least 1, got 0"),
        (lambda: small_resnet(in_channels=0), "in_channels must be at least 1, got 0"),
        (lambda: cifar_resnet(18), r"depth must be 6 n \+ 2, got 18; use 8, 14, 20"),
        (lambda: cifar_resnet(2), r"depth must be 6 n \+ 2, got 2; use 8, 14, 20"),
        (lambda: cifar_resnet(0), "depth must be at least 1, got 0"),
        (lambda: ResNet([Stage(8, 0, 1)]), "blocks must be at least 1, got 0"),
        (lambda: ResNet([Stage(10, 1, 1)]), "expansion=4 must divide out_channels"),
        (
            lambda: on_paper(resnet50)(torch.zeros(1, 3, 31, 64)),
            "x must have 32 x 32 pixels or more, got 31 x 64",
        ),
        (
            lambda: small_resnet()(torch.zeros(1, 1, 16, 3)),
            "x must have 4 x 4 pixels or more, got 16 x 3",
        ),
        (
            lambda: small_resnet()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _reference(library):
    if library == "timm":
        import timm

        return timm.create_model("resnet50")
    from torchvision import models

    return models.resnet50()
