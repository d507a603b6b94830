"""CondenseNet against its closed forms, the published counts, and its deployed form."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.condensing import condense_fully_, condense_on_schedule, deploy
from effdl.conv.learned_group import LearnedGroupConv2d
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs, torch_flops
from effdl.nets.condensenet_v1 import (
    Block,
    CondenseLayer,
    CondenseNetV1,
    condensenet_v1,
    small_condensenet_v1,
)
from effdl.train import fit

IMAGENET = ((4, 8), (6, 16), (8, 32), (10, 64), (8, 128))  # the authors' options


@pytest.fixture(scope="module", params=[8, 4])
def deployed(request):
    """Return C and CondenseNet-74, all stages done, deployed."""
    net = condensenet_v1(request.param)
    condense_fully_(net)
    return request.param, deploy(net).eval()


def cifar_net(layers, *, kept=2):
    """Return one of the authors' networks for 32 x 32 images, as it trains."""
    blocks = [Block(layers, k, 4 * k) for k in (8, 16, 32)]
    return CondenseNetV1(blocks, condensation=4, classes=10, stem_stride=1, kept=kept)


def closed_form(blocks, c, *, side, classes=1000, kept=2):
    """Return parameters, MACs, and what the authors' count adds to the MACs.

    Written from their configuration: 3 x 3 stem to 2 k channels at ``side``; per layer
    BN, 1 x 1 to 4 k in C groups of 1 / C of the inputs each, BN, 3 x 3 to k in C
    groups; average pooling between blocks; BN and a classifier with bias.
    """
    width = 2 * blocks[0][1]
    parameters, macs, extra = 27 * width, 27 * width * side**2, 0
    for number, (layers, k) in enumerate(blocks):
        if number:
            extra += width * side**2  # read by average pooling
            side //= 2
        for _ in range(layers):
            weights = width * 4 * k // c + 4 * k * k * 9 // c
            parameters += 2 * width + 2 * 4 * k + weights
            macs += weights * side**2
            extra += (width + 4 * k) * side**2  # ReLU
            width += k
    weights = width // kept * classes
    extra += 2 * width * side**2  # ReLU and the last average pooling
    return parameters + 2 * width + weights + classes, macs + weights, extra


def randomise_batch_norm(model):
    """Move batch norm off its initial state."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def normalised(norm, x):
    """Return batch norm in evaluation, then ReLU."""
    statistics = norm.running_mean, norm.running_var
    return F.relu(F.batch_norm(x, *statistics, norm.weight, norm.bias, eps=norm.eps))


def test_output_is_the_network_written_out():
    blocks = [Block(1, 4, 16), Block(2, 8, 32), Block(1, 8, 32)]
    net = CondenseNetV1(blocks, condensation=4, classes=7).eval().double()
    randomise_batch_norm(net)
    condense_fully_(net)
    x = images = torch.randn(2, 3, 32, 24, dtype=torch.float64)
    convs = iter(m for m in net.modules() if isinstance(m, nn.Conv2d))
    norms = iter(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    x = F.conv2d(x, next(convs).weight, stride=2, padding=1)
    for number, (layers, _, _) in enumerate(blocks):
        if number:
            x = (x[..., ::2, :] + x[..., 1::2, :]) / 2
            x = (x[..., ::2] + x[..., 1::2]) / 2
        for _ in range(layers):
            reading, last = next(convs), next(convs)
            new = F.conv2d(normalised(next(norms), x), reading.weight * reading.mask)
            new = F.conv2d(normalised(next(norms), new), last.weight, None, 1, 1, 1, 4)
            x = torch.cat((x, new), dim=1)
    linear = next(convs)
    x = normalised(next(norms), x).mean(dim=(2, 3))
    logits = F.linear(x, (linear.weight * linear.mask)[:, :, 0, 0], linear.bias)
    torch.testing.assert_close(net(images), logits)


def test_a_layer_keeps_what_it_gets_and_adds_k():
    layer, x = CondenseLayer(12, 4, 8, condensation=4).eval(), torch.randn(2, 12, 5, 4)
    randomise_batch_norm(layer)
    y = layer(x)
    assert y.shape == (2, 16, 5, 4)
    assert torch.equal(y[:, :12], x)
    new = F.conv2d(normalised(layer.new[0], x), layer.new[2].weight)
    new = F.conv2d(normalised(layer.new[3], new), layer.new[5].weight, None, 1, 1, 1, 4)
    torch.testing.assert_close(y[:, 12:], new)


def test_the_activation_of_a_layer_is_a_choice():
    layer = CondenseLayer(12, 4, 8, condensation=4, activation=nn.Hardswish)
    assert [type(layer.new[k]) for k in (1, 4)] == [nn.Hardswish] * 2


def test_parameters_are_the_published_ones(deployed):
    c, net = deployed
    parameters = parameter_count(net)
    assert parameters == closed_form(IMAGENET, c, side=112)[0]
    assert parameters == {8: 2_935_416, 4: 4_773_944}[c]
    assert round(parameters / 1e6, 1) == {8: 2.9, 4: 4.8}[c]


def test_macs_are_the_published_ones_less_relu_and_pooling(deployed):
    c, net = deployed
    published = {8: 274, 4: 529}[c]
    macs = torch_flops(net, torch.zeros(1, 3, 224, 224)) // 2  # count_macs: slower
    _, expected, extra = closed_form(IMAGENET, c, side=112)
    assert macs == expected
    assert macs == pytest.approx(published * 1e6, rel=0.05)
    assert round((macs + extra) / 1e6) == published


@pytest.mark.parametrize(
    ("layers", "macs", "parameters"),
    [
        (8, 28.6, 0.22),
        (12, 51.9, 0.41),
        (14, 65.8, 0.52),
        (16, 81.3, 0.65),
        (18, 98.2, 0.79),
        (20, 116.7, 0.95),
    ],
)
def test_cifar_networks_are_published_with_all_features_in_the_classifier(
    layers, macs, parameters
):
    """CondenseNet-50 to -122: the published parameters are those with kept = 1."""
    blocks = tuple((layers, k) for k in (8, 16, 32))
    whole, multiplied, extra = closed_form(blocks, 4, side=32, classes=10, kept=1)
    assert round(whole / 1e6, 2) == parameters
    assert round((multiplied + extra) / 1e6, 1) == macs
    net = cifar_net(layers, kept=1)
    condense_fully_(net)
    assert parameter_count(deploy(net)) == whole
    half = closed_form(blocks, 4, side=32, classes=10)[0]
    assert half == whole - 10 * net.width // 2


def test_layers_before_the_stages_are_c_times_as_large():
    net = condensenet_v1(8)
    c1 = closed_form(IMAGENET, 8, side=112)[0]
    learned = sum(m.mask.numel() for m in net.modules() if hasattr(m, "mask"))
    kept = (learned - 2064 * 1000) // 8 + 2064 * 1000 // 2
    assert parameter_count(net) - learned == c1 - kept
    factors = [m.condensation for m in net.modules() if hasattr(m, "mask")]
    assert factors == [8] * 36 + [2]


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_the_deployed_network_gives_the_same(stages):
    net = small_condensenet_v1().eval()
    randomise_batch_norm(net)
    for module in net.modules():
        if isinstance(module, LearnedGroupConv2d):
            for _ in range(min(stages, module.stages_left)):
                module.condense_()
    x = torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(deploy(net)(x), net(x), rtol=1e-5, atol=1e-5)


def test_the_deployed_network_of_the_paper_gives_the_same():
    net = condensenet_v1().eval()  # C = G = 8 unless told
    assert net.condensation == 8
    randomise_batch_norm(net)
    condense_fully_(net)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(deploy(net)(x), net(x), rtol=1e-5, atol=1e-5)


def test_the_classifier_keeps_the_half_with_the_largest_weights():
    net = small_condensenet_v1()
    linear = net.classifier[1]
    sums = linear.weight[:, :, 0, 0].abs().sum(0)
    condense_fully_(net)
    half = sums.topk(net.width // 2).indices.sort().values
    assert torch.equal(deploy(net).classifier[1][0].index, half)


def test_layers_read_features_of_every_earlier_resolution():
    net = small_condensenet_v1()
    widths = [m.in_channels for m in net.modules() if isinstance(m, LearnedGroupConv2d)]
    assert widths == [16, 32, 48, 80, 112, 144]
    assert net.reduction == 4
    assert condensenet_v1().reduction == 32


@pytest.mark.parametrize(
    ("width", "macs"), [(0.45, 2e5), (1.0, 5e5), (1.5, 7e5), (2.1, 1e6)]
)
def test_the_small_network_has_small_numbers(width, macs):
    net = small_condensenet_v1(width)
    assert parameter_count(net) < 100_000
    condense_fully_(net)
    small = deploy(net)
    count = count_macs(small, torch.zeros(1, 1, 16, 16)).total
    assert count == pytest.approx(macs, rel=0.3)
    assert parameter_count(small) < parameter_count(net)


def test_widths_of_the_small_network_reach_any_budget():
    """Steps of the closed form, which one count confirms, are small."""

    def macs(width):
        blocks = small_condensenet_v1(width).blocks
        total, features = 9 * 16 * 256, 16
        for (layers, k, b), side in zip(blocks, (16, 8, 4), strict=True):
            for _ in range(layers):
                total += (features * b + b * k * 9) // 4 * side**2
                features += k
        return total + features // 2 * 10

    net = small_condensenet_v1(0.7)
    condense_fully_(net)
    assert count_macs(deploy(net), torch.zeros(1, 1, 16, 16)).total == macs(0.7)
    reached = sorted({macs(0.3 + 0.01 * k) for k in range(190)})
    assert reached[0] < 2e5
    assert reached[-1] > 1e6
    for below, above in pairwise(reached):
        if above > 2e5 and below < 1e6:
            middle = (below + above) / 2
            assert above - middle < 0.06 * middle


def test_a_few_steps_lower_the_loss_while_the_network_condenses():
    net = small_condensenet_v1(0.5)
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 10
    sgd = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)

    def loss_of(inputs, targets):
        return F.cross_entropy(net(inputs), targets)

    after_step = condense_on_schedule(net, steps=12)
    losses = fit(net, loss_of, [(x, y)], sgd, epochs=12, after_step=after_step)
    assert losses[-1] < 0.7 * losses[0]
    learned = [m for m in net.modules() if isinstance(m, LearnedGroupConv2d)]
    assert [m.mask.mean().item() for m in learned] == [0.25] * 5 + [0.5]


def test_every_parameter_gets_a_gradient():
    net = small_condensenet_v1()
    F.cross_entropy(net(torch.randn(8, 1, 16, 16)), torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: condensenet_v1(3), "groups=3 must divide out_channels, got 32"),
        (
            lambda: CondenseLayer(10, 8, 32, condensation=4),
            "condensation=4 must divide in_channels, got 10",
        ),
        (lambda: condensenet_v1(0), "groups must be at least 1, got 0"),
        (lambda: condensenet_v1(classes=0), "classes must be at least 1, got 0"),
        (lambda: CondenseNetV1([], condensation=4), "blocks must be at least 1, got 0"),
        (lambda: small_condensenet_v1(0.01), "width must leave at least one of 16"),
        (lambda: small_condensenet_v1(in_channels=0), "in_channels must be at least 1"),
        (
            lambda: CondenseNetV1([Block(1, 4, 16)], condensation=4, stem_stride=0),
            "stem_stride must be at least 1, got 0",
        ),
        (
            lambda: CondenseNetV1([Block(1, 6, 16)], condensation=4),
            "groups=4 must divide out_channels, got 6",
        ),
        (
            lambda: small_condensenet_v1()(torch.zeros(1, 1, 3, 16)),
            "x must have 4 x 4 pixels or more, got 3 x 16",
        ),
        (
            lambda: small_condensenet_v1()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
