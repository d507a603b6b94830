"""First-order scores: of weights, of channels, and against what really happens."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.data.digits import small_digits
from effdl.nas.proxies.snip import connection_sensitivity
from effdl.nas.ranking import spearman
from effdl.prune.loss_increase import channel_increases
from effdl.prune.taylor import (
    activation_taylor_scores,
    channel_taylor_scores,
    gate_slopes,
    taylor_scores,
)
from effdl.train import train_classifier


def small_conv(bias=True):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=bias),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


def batch(samples=6):
    return torch.randn(samples, 1, 7, 7), torch.randint(3, (samples,))


def slopes_of(net, inputs, targets):
    F.cross_entropy(net(inputs), targets).backward()
    return {name: p.grad for name, p in net.named_parameters()}


def test_the_score_of_a_weight_is_the_square_of_slope_times_weight():
    net, (inputs, targets) = small_conv().eval(), batch()
    scores = taylor_scores(net, inputs, targets)
    slopes = slopes_of(copy.deepcopy(net), inputs, targets)
    assert list(scores) == ["0.weight", "3.weight", "6.weight"]
    for name, score in scores.items():
        weight = net.get_parameter(name).detach()
        torch.testing.assert_close(score, (slopes[name] * weight) ** 2)


def test_on_weights_it_is_the_square_of_what_snip_computes():
    net, (inputs, targets) = small_conv().eval(), batch()
    snip = connection_sensitivity(net, inputs, targets)
    for name, score in taylor_scores(net, inputs, targets).items():
        torch.testing.assert_close(score, snip[name] ** 2)


def test_the_gate_of_a_filter_sums_slope_times_weight_and_that_of_its_bias():
    net, (inputs, targets) = small_conv().eval(), batch()
    found = gate_slopes(net, inputs, targets, layers=["3"])["3"].sum(dim=0)
    slopes = slopes_of(copy.deepcopy(net), inputs, targets)
    weight, bias = net[3].weight.detach(), net[3].bias.detach()
    expected = (slopes["3.weight"] * weight).sum(dim=(1, 2, 3)) + slopes[
        "3.bias"
    ] * bias
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("training", [True, False])
def test_the_gate_behind_batch_norm_is_that_of_its_scale_and_its_shift(training):
    net, (inputs, targets) = small_conv().train(training), batch()
    nn.init.uniform_(net[1].weight)
    nn.init.uniform_(net[1].bias)
    score = channel_taylor_scores(net, inputs, targets, layers=["1"])["1"]
    slopes = slopes_of(copy.deepcopy(net), inputs, targets)
    gamma, beta = net[1].weight.detach(), net[1].bias.detach()
    expected = (slopes["1.weight"] * gamma + slopes["1.bias"] * beta) ** 2
    torch.testing.assert_close(score, expected)


def test_a_channel_of_the_activation_is_the_sum_of_value_times_slope():
    net, (inputs, targets) = small_conv().eval(), batch()
    z = net[:4](inputs).detach().requires_grad_()
    F.cross_entropy(net[4:](z), targets).backward()
    per_sample = (z * z.grad).detach().sum(dim=(2, 3))
    slopes = gate_slopes(net, inputs, targets, layers=["3"])["3"]
    torch.testing.assert_close(slopes, per_sample)
    of_2017 = activation_taylor_scores(net, inputs, targets, layers=["3"])["3"]
    by_hand = per_sample.mean(dim=0).abs(), per_sample.abs().mean(dim=0)
    torch.testing.assert_close(of_2017, by_hand[1] / by_hand[1].norm())
    of_2019 = channel_taylor_scores(net, inputs, targets, layers=["3"])["3"]
    torch.testing.assert_close(of_2019, (6 * by_hand[0]) ** 2)


def test_samples_cancel_in_2019_and_do_not_in_2017():
    """Two samples, targets 1 on either side of the output: slopes of 1 and -1."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten())
    nn.init.ones_(net[0].weight)
    inputs, targets = torch.ones(2, 1), torch.tensor([[0.0], [2.0]])
    options = {"layers": ["0"], "loss_fn": F.mse_loss}
    slopes = gate_slopes(net, inputs, targets, **options)["0"]
    assert slopes.flatten().tolist() == [1, -1]
    assert channel_taylor_scores(net, inputs, targets, **options)["0"].item() == 0
    assert activation_taylor_scores(net, inputs, targets, **options)["0"].item() == 1


def test_it_is_exact_where_the_loss_is_linear_in_the_gate():
    net, inputs = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), torch.randn(6, 3)
    options = {"layers": ["0"], "loss_fn": lambda y, _: y.mean()}
    slopes = gate_slopes(net, inputs, inputs, **options)["0"].sum(dim=0)
    increases = channel_increases(net, inputs, inputs, **options)["0"]
    torch.testing.assert_close(increases, -slopes)


def test_a_layer_that_nothing_depends_on_has_scores_of_0_and_no_nan():
    net, (inputs, targets) = small_conv().eval(), batch()
    nn.init.zeros_(net[6].weight)
    scores = activation_taylor_scores(net, inputs, targets, layers=["3"])["3"]
    assert not scores.any()


def test_the_network_is_left_as_it_was_hooks_and_statistics_included():
    net, (inputs, targets) = small_conv().train(), batch()
    before = copy.deepcopy(net.state_dict())
    gate_slopes(net, inputs, targets, layers=["0", "1", "3"])
    torch.testing.assert_close(dict(net.state_dict()), dict(before))
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(ValueError, match="empty batch"):
        gate_slopes(net, inputs[:0], targets[:0], layers=["0"])
    assert not any(module._forward_hooks for module in net.modules())


def test_on_a_trained_net_it_ranks_channels_better_than_the_norm_of_filters():
    digits = small_digits(n_train=1500, n_validation=500)
    net = plain_net(6)
    train_classifier(net, digits.train, epochs=3)
    net.eval()
    part = digits.train.inputs[:500], digits.train.targets[:500]
    layers = ["1.1", "2.1", "3.1"]
    truth = channel_increases(net, *part, layers=layers)
    taylor = channel_taylor_scores(net, *part, layers=layers)
    norms = {name: net.get_submodule(f"{name[0]}.0").weight for name in layers}
    norms = {name: w.detach().square().sum(dim=(1, 2, 3)) for name, w in norms.items()}
    found = [
        spearman(*(torch.cat(list(of.values())).numpy() for of in (scores, truth)))
        for scores in (taylor, norms)
    ]
    assert found[0] > found[1] + 0.1


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["9"], "layers must name modules of the model, got .'9'."),
        ([], "layers must name modules of the model"),
    ],
)
def test_layers_that_are_not_there_are_named(layers, message):
    with pytest.raises(ValueError, match=message):
        gate_slopes(small_conv(), *batch(), layers=layers)


def test_a_weight_that_is_nan_gets_no_score():
    net, (inputs, targets) = small_conv().eval(), batch()
    net[3].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite scalar, got nan"):
        taylor_scores(net, inputs, targets)
    with pytest.raises(ValueError, match="empty batch"):
        taylor_scores(small_conv(), inputs[:0], targets[:0])
