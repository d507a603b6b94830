"""CondenseNetV2 against its closed forms, the published counts, and CondenseNet."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.condensing import condense_fully_, condense_on_schedule, deploy
from effdl.conv.feature_reactivation import (
    ReactivationConv2d,
    SparseFeatureReactivation,
)
from effdl.conv.learned_group import LearnedGroupConv2d
from effdl.conv.squeeze_excite import SqueezeExcite
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs, torch_flops
from effdl.nets.condensenet_v1 import Block, CondenseLayer
from effdl.nets.condensenet_v2 import (
    V2_A,
    V2_B,
    V2_C,
    CondenseNetV2,
    ReactivatingLayer,
    condensenet_v2,
    small_condensenet_v2,
)
from effdl.train import fit

# The authors' options: layers, growth, groups, units of the hidden layer; and what
# they publish: MACs and parameters in millions, rounded or cut.
PAPER = {
    "A": (V2_A, (1, 1, 4, 6, 8), (8, 8, 16, 32, 64), 8, 828, 46, 2.0),
    "B": (V2_B, (2, 4, 6, 8, 6), (6, 12, 24, 48, 96), 6, 1024, 146, 3.6),
    "C": (V2_C, (4, 6, 8, 10, 8), (8, 16, 32, 64, 128), 8, 1024, 309, 6.1),
}
PARAMETERS = {"A": 2_038_444, "B": 3_592_662, "C": 6_177_512}


@pytest.fixture(scope="module", params=["A", "B", "C"])
def deployed(request):
    """Return the letter and the network, all stages done, deployed."""
    net = condensenet_v2(PAPER[request.param][0])
    condense_fully_(net)
    return request.param, deploy(net).eval()


def closed_form(layers, growth, groups, hidden):
    """Return parameters, MACs, and what the authors' count adds to the MACs.

    Written from their configuration: that of CondenseNet with, per layer, BN and a
    1 x 1 convolution from k to 1 / S of the features in each group, and in blocks 4
    and 5 two k x k layers without bias; at the end two layers without bias, with a
    bottleneck of a 16th, and two with bias.
    """
    width, side = 2 * growth[0], 112
    parameters, macs, extra = 27 * width, 27 * width * side**2, 0
    for number, (count, k) in enumerate(zip(layers, growth, strict=True)):
        if number:
            extra += width * side**2  # read by average pooling
            side //= 2
        for _ in range(count):
            weights = (width * 4 * k + 4 * k * k * 9 + k * width) // groups
            parameters += 2 * width + 2 * 4 * k + 2 * k + weights
            macs += weights * side**2
            extra += (width + 4 * k + k) * side**2  # activations
            if number >= 3:
                parameters += 2 * k * k
                macs += 2 * k * k
                extra += k * side**2 + k + 2 * k  # pooling, ReLU, sigmoid
            width += k
    squeezed = width // 16
    weights = 2 * width * squeezed + width * hidden + hidden * 1000
    extra += 2 * width * side**2 + squeezed + 2 * width + hidden
    parameters += 2 * width + weights + hidden + 1000
    return parameters, macs + weights, extra


def randomise_batch_norm(model):
    """Move batch norm off its initial state."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def gate(layer, x):
    """Return squeeze-and-excitation without biases, written out."""
    assert layer.reduce.bias is None
    assert layer.expand.bias is None
    hidden = F.relu(F.linear(x.mean(dim=(2, 3)), layer.reduce.weight))
    return x * torch.sigmoid(F.linear(hidden, layer.expand.weight))[:, :, None, None]


def test_output_is_the_network_written_out():
    """Four blocks: hard-swish from the third on, squeeze-and-excitation too."""
    blocks = [Block(1, 4, 16), Block(1, 4, 16), Block(2, 8, 32), Block(1, 8, 32)]
    net = CondenseNetV2(blocks, condensation=4, hidden=9, classes=7).eval().double()
    randomise_batch_norm(net)
    condense_fully_(net)
    x = images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    convs = iter(m for m in net.modules() if isinstance(m, nn.Conv2d))
    norms = iter(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    gates = iter(m for m in net.modules() if isinstance(m, SqueezeExcite))
    x = F.conv2d(x, next(convs).weight, stride=2, padding=1)
    for number, (layers, _, _) in enumerate(blocks):
        x = F.avg_pool2d(x, 2) if number else x
        act = F.hardswish if number >= 2 else F.relu
        for _ in range(layers):
            reading, last, update = next(convs), next(convs), next(convs)
            h = F.conv2d(act(next(norms)(x)), reading.weight * reading.mask)
            h = F.conv2d(act(next(norms)(h)), last.weight, None, 1, 1, 1, 4)
            h = gate(next(gates), h) if number >= 2 else h
            u = F.conv2d(act(next(norms)(h)), update.weight * update.mask)
            x = torch.cat((x + u, h), dim=1)
    x = F.relu(next(norms)(x)).mean(dim=(2, 3), keepdim=True)
    first, second = (m for m in net.classifier if isinstance(m, nn.Linear))
    x = gate(next(gates), x)[:, :, 0, 0]
    logits = second(F.hardswish(first(x)))
    torch.testing.assert_close(net(images), logits)


def test_without_updates_a_layer_is_one_of_condensenet():
    layer = ReactivatingLayer(12, 4, 8, condensation=4).eval()
    plain = CondenseLayer(12, 4, 8, condensation=4).eval()
    randomise_batch_norm(layer)
    plain.new.load_state_dict(layer.new.state_dict())
    x = torch.randn(2, 12, 5, 5)
    updated = layer(x)
    torch.testing.assert_close(updated[:, 12:], plain(x)[:, 12:])
    assert not torch.allclose(updated[:, :12], x)
    nn.init.zeros_(layer.reactivate.update[2].weight)
    assert torch.equal(layer(x), plain(x))


def test_parameters_are_the_published_ones(deployed):
    """2.0, 3.6 and 6.1 million; 6.18 is rounded down, as 309.7 MACs are."""
    letter, net = deployed
    _, *options, _, published = PAPER[letter]
    parameters = parameter_count(net)
    assert parameters == closed_form(*options)[0] == PARAMETERS[letter]
    tenths = parameters / 1e5
    assert (math.floor if letter == "C" else round)(tenths) == 10 * published


def test_macs_are_the_published_ones_less_activations_and_pooling(deployed):
    """Within 5 % for B and C; A's activations are 6 % of its count."""
    letter, net = deployed
    _, *options, published, _ = PAPER[letter]
    macs = torch_flops(net, torch.zeros(1, 3, 224, 224)) // 2  # count_macs: slower
    _, expected, extra = closed_form(*options)
    assert macs == expected
    assert macs == pytest.approx(published * 1e6, rel=0.065 if letter == "A" else 0.05)
    millions = (macs + extra) / 1e6
    assert (math.floor if letter == "C" else round)(millions) == published


def test_nothing_is_gone_before_the_stages_and_an_nth_is_left_after_them():
    net = condensenet_v2()  # variant B unless told
    learned = [m for m in net.modules() if isinstance(m, LearnedGroupConv2d)]
    assert [type(m) for m in learned] == [LearnedGroupConv2d, ReactivationConv2d] * 26
    assert all(m.mask.all() for m in learned)
    condense_fully_(net)
    assert all(m.mask.sum() * 6 == m.mask.numel() for m in learned)


def test_activations_and_excitation_stand_where_the_paper_puts_them():
    net = condensenet_v2(V2_A)
    layers = [m for m in net.features if isinstance(m, ReactivatingLayer)]
    swish = [isinstance(m.new[1], nn.Hardswish) for m in layers]
    assert swish == [False] * 2 + [True] * 18
    for m in layers:
        kinds = {type(m.new[1]), type(m.new[4]), type(m.reactivate.update[1])}
        assert len(kinds) == 1
    excited = [isinstance(m.new[-1], SqueezeExcite) for m in layers]
    assert excited == [False] * 6 + [True] * 14
    assert layers[-1].new[-1].reduce.weight.shape == (64, 64)
    assert net.classifier[1].reduce.weight.shape == (50, 800)
    assert net.reduction == 32


def test_the_network_starts_with_updates():
    """Scale 1, as the authors' network: with 0, blocks with ReLU would never learn."""
    net = small_condensenet_v2()
    modules = [m for m in net.modules() if isinstance(m, SparseFeatureReactivation)]
    assert all((m.update[0].weight == 1).all() for m in modules)


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_the_deployed_network_gives_the_same(stages):
    net = small_condensenet_v2().eval()
    randomise_batch_norm(net)
    for module in net.modules():
        if isinstance(module, LearnedGroupConv2d):
            for _ in range(stages):
                module.condense_()
    x = torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(deploy(net)(x), net(x), rtol=1e-5, atol=1e-5)


def test_the_deployed_network_of_the_paper_gives_the_same():
    net = condensenet_v2(V2_A).eval()
    randomise_batch_norm(net)
    condense_fully_(net)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(deploy(net)(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "macs"), [(0.25, 2e5), (0.9, 5e5), (2.0, 1e6)])
def test_the_small_network_has_small_numbers(width, macs):
    net = small_condensenet_v2(width)
    assert parameter_count(net) < 100_000
    condense_fully_(net)
    count = count_macs(deploy(net), torch.zeros(1, 1, 16, 16)).total
    assert count == pytest.approx(macs, rel=0.3)


def test_a_few_steps_lower_the_loss_while_the_network_condenses():
    net = small_condensenet_v2(0.5)
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 2
    sgd = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)

    def loss_of(inputs, targets):
        return F.cross_entropy(net(inputs), targets)

    after_step = condense_on_schedule(net, steps=20)
    losses = fit(net, loss_of, [(x, y)], sgd, epochs=20, after_step=after_step)
    assert losses[-1] < 0.8 * losses[0]
    learned = [m for m in net.modules() if isinstance(m, LearnedGroupConv2d)]
    assert [m.mask.mean().item() for m in learned] == [0.25] * 10


def test_every_parameter_gets_a_gradient():
    net = small_condensenet_v2()
    F.cross_entropy(net(torch.randn(8, 1, 16, 16)), torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: condensenet_v2(V2_B._replace(condensation=5)),
            "groups=5 must divide out_channels, got 24",
        ),
        (
            lambda: condensenet_v2(V2_B._replace(hidden=0)),
            "hidden must be at least 1, got 0",
        ),
        (lambda: condensenet_v2(classes=0), "classes must be at least 1, got 0"),
        (lambda: small_condensenet_v2(0.01), "width must leave at least one of 16"),
        (
            lambda: CondenseNetV2([], condensation=4, hidden=8),
            "blocks must be at least 1, got 0",
        ),
        (
            lambda: small_condensenet_v2()(torch.zeros(1, 1, 16, 3)),
            "x must have 4 x 4 pixels or more, got 16 x 3",
        ),
        (
            lambda: small_condensenet_v2()(torch.zeros(1, 3, 16, 16)),
            "x must have 1 channels in dimension 1, got 3",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
