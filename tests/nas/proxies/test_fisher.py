"""Fisher against its definition, against channels switched off, and at its limits."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.proxies.fisher import channel_saliency, fisher_score
from proxy_nets import (
    assert_leaves_no_trace,
    assert_same,
    at_edge,
    batch,
    dead_edge_net,
    disconnected_net,
    small_net,
    smooth_net,
    state,
)


def summed(output: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(output, targets, reduction="sum")


def test_score_is_activation_times_gradient_in_loops():
    """The definition: every output and its gradient kept, and no switch anywhere."""
    model, (x, y) = small_net(), batch()
    before = model[0](x)  # (6, 4, 4, 4)
    logits = model[4](model[3](model[2](model[1](before))))  # (6, 3)
    loss = F.cross_entropy(logits, y)
    slopes = torch.autograd.grad(loss, (before, logits))
    expected = 0.0
    for output, slope, weights in zip(
        (before, logits), slopes, (2 * 3 * 3, 4 * 4 * 4), strict=True
    ):
        for channel in range(output.shape[1]):
            squares = 0.0
            for sample in range(len(x)):
                pixels = (output[sample, channel] * slope[sample, channel]).flatten()
                squares += sum(pixels.tolist()) ** 2
            expected += weights * squares / len(x) / 2
    assert fisher_score(model, x, y) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("layer", [0, 3])
def test_saliency_is_half_the_squared_slope_of_fading_a_channel_out(layer):
    """A small step of the channel's size, for every sample's own loss; no batch norm.

    Multiplying weight and bias by 1 + e is the switch at 1 + e.
    """
    model, (x, y) = smooth_net(), batch()
    x, step = x.double(), 1e-5
    saliency = channel_saliency(model, x, y, loss_fn=summed)[str(layer)]
    for channel in range(len(saliency)):
        losses = []
        for sign in (1, -1):
            faded = copy.deepcopy(model)
            with torch.no_grad():
                faded[layer].weight[channel] *= 1 + sign * step
                faded[layer].bias[channel] *= 1 + sign * step
                losses.append(F.cross_entropy(faded(x), y, reduction="none"))
        slopes = (losses[0] - losses[1]) / (2 * step)  # (N,), one g a sample
        expected = slopes.square().mean() / 2
        torch.testing.assert_close(saliency[channel], expected, rtol=1e-5, atol=1e-12)


def test_value_by_hand():
    """For y = w x, w = 2, x = (1, 3), targets 0 and 5, and squared errors added up.

    z = 2 and 6, slopes 2 z = 4 and 2 (6 - 5) = 2, so g = 8 and 12, and the mean of
    their squares is (64 + 144) / 2 = 104: Delta is 52.
    """
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    x, y = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [5.0]])
    score = fisher_score(model, x, y, loss_fn=lambda o, t: F.mse_loss(o, t) * len(o))
    assert score == 52


def test_a_channel_counts_once_a_weight():
    model, (x, y) = small_net(), batch()
    saliency = channel_saliency(model, x, y)
    assert {name: len(s) for name, s in saliency.items()} == {"0": 4, "4": 3}
    expected = 18 * saliency["0"].sum() + 64 * saliency["4"].sum()
    assert fisher_score(model, x, y) == pytest.approx(expected.item())


def test_a_mean_loss_is_n_squared_smaller_than_a_sum():
    model, (x, y) = small_net(), batch()
    ratio = fisher_score(model, x, y, loss_fn=summed) / fisher_score(model, x, y)
    assert ratio == pytest.approx(len(x) ** 2, rel=1e-4)


def test_repeating_the_batch_changes_nothing_if_the_losses_are_added():
    """Without batch norm it is a mean over samples, then."""
    model, (x, y) = smooth_net(), batch()
    x = x.double()
    once = fisher_score(model, x, y, loss_fn=summed)
    twice = fisher_score(model, torch.cat((x, x)), torch.cat((y, y)), loss_fn=summed)
    assert twice == pytest.approx(once)


def test_a_channel_without_activation_has_no_saliency():
    model, (x, y) = smooth_net(), batch()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[1] = 0
    silent = channel_saliency(model, x.double(), y)["0"] == 0
    assert silent.tolist() == [False, True, False]


def test_behind_relu_the_value_is_the_same():
    """And one that works in place spoils nothing."""
    conv, last, (x, y) = nn.Conv2d(2, 4, 3), nn.Linear(16, 3), batch()
    behind = F.relu(conv(x))
    loss = F.cross_entropy(last(behind.flatten(1)), y)
    (slope,) = torch.autograd.grad(loss, behind)
    expected = (behind * slope).sum((2, 3)).square().mean(0) / 2
    for inplace in (False, True):
        model = nn.Sequential(conv, nn.ReLU(inplace), nn.Flatten(), last)
        torch.testing.assert_close(channel_saliency(model, x, y)["0"], expected)


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.Hardswish, nn.LeakyReLU])
def test_an_activation_in_place_gives_the_value_of_one_that_is_not(activation):
    conv, last, (x, y) = nn.Conv2d(2, 4, 3), nn.Linear(16, 3), batch()
    apart, inside = (
        nn.Sequential(conv, activation(inplace=inplace), nn.Flatten(), last)
        for inplace in (False, True)
    )
    expected = channel_saliency(apart, 9 * x, y)["0"]
    torch.testing.assert_close(channel_saliency(inside, 9 * x, y)["0"], expected)


def test_before_batch_norm_a_channel_of_all_samples_is_not_missed():
    """Sums over the samples vanish: half the squared sum of two is not the score."""
    model, (x, y) = small_net(), batch()
    before = model[0](x)
    loss = F.cross_entropy(model[4](model[3](model[2](model[1](before)))), y)
    (slope,) = torch.autograd.grad(loss, before)
    by_sample = (before * slope).sum((2, 3))  # g, (N, C)
    # centred, because the bias before batch norm changes nothing either
    assert (by_sample.sum(0).abs() < 0.02 * by_sample.abs().sum(0)).all()
    assert (channel_saliency(model, x, y)["0"] > 0).all()


def test_channels_of_a_linear_layer_are_its_last_dimension():
    """Tokens (N, T, C): switches per sample and channel, shared by the tokens."""
    model = nn.Sequential(nn.Linear(5, 4), nn.Flatten(), nn.Linear(12, 3))
    x, y = torch.randn(6, 3, 5), torch.randint(3, (6,))
    tokens = model[0](x)
    (slope,) = torch.autograd.grad(F.cross_entropy(model[1:](tokens), y), tokens)
    expected = (tokens * slope).sum(1).square().mean(0) / 2
    torch.testing.assert_close(channel_saliency(model, x, y)["0"], expected)


def test_a_layer_that_runs_twice_has_one_set_of_switches():
    """Fading the channel out fades it in both places."""
    layer = nn.Linear(3, 3).double()
    model, x = nn.Sequential(layer, nn.Tanh(), layer), torch.randn(4, 3).double()
    y, step, losses = torch.randint(3, (4,)), 1e-5, []
    saliency = channel_saliency(model, x, y, loss_fn=summed)
    assert list(saliency) == ["0"]
    for sign in (1, -1):
        faded = copy.deepcopy(model)
        with torch.no_grad():
            faded[0].weight[1] *= 1 + sign * step
            faded[0].bias[1] *= 1 + sign * step
            losses.append(F.cross_entropy(faded(x), y, reduction="none"))
    slopes = (losses[0] - losses[1]) / (2 * step)
    expected = slopes.square().mean() / 2
    torch.testing.assert_close(saliency["0"][1], expected, rtol=1e-5, atol=1e-12)


def test_model_comes_back_unchanged():
    assert_leaves_no_trace(lambda model: fisher_score(model, *batch()))


def test_hooks_of_others_stay():
    model = small_net()
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    fisher_score(model, *batch())
    fisher_score(model, *batch())
    assert (len(seen), len(model[0]._forward_hooks)) == (2, 1)


def test_works_where_gradients_are_switched_off():
    with torch.no_grad():
        assert fisher_score(small_net(), *batch()) > 0


def test_a_convolution_that_leads_nowhere_counts_0():
    x, y = torch.randn(4, 1, 12, 12), torch.randint(10, (4,))
    saliency = channel_saliency(dead_edge_net(), x, y)
    assert at_edge(saliency, 0).tolist() == [0] * 8
    assert at_edge(saliency, 3).any()
    silent = channel_saliency(disconnected_net(), x, y)
    assert not any(s.any() for name, s in silent.items() if name != "classifier")


@pytest.mark.parametrize(
    ("model", "samples", "loss_fn", "message"),
    [
        (small_net(), 0, F.cross_entropy, r"empty batch, shape \(0, 2, 4, 4\)"),
        (nn.Flatten(), 2, F.cross_entropy, "Flatten has no linear or convolutional"),
        (small_net(), 2, lambda out, y: out[:, 0], "finite scalar"),
        (small_net(), 2, lambda out, y: out.mean() * torch.nan, "finite scalar"),
        (small_net(), 2, lambda out, y: (0 * out).sum().sqrt(), "the score is nan"),
        (
            nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3)),
            2,
            F.cross_entropy,
            r"layer '1' puts out \(4, 4, 3\) for a batch of 2",
        ),
    ],
)
def test_bad_arguments_are_explained(model, samples, loss_fn, message):
    before = state(model)
    with pytest.raises(ValueError, match=message):
        fisher_score(model, *batch(samples), loss_fn=loss_fn)
    assert_same(state(model), before)
