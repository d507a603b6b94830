"""GradNorm against its definition, by hand, and what scales leave alone."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.proxies.grad_norm import grad_norm_score, gradient_norms
from effdl.nas.proxies.weights import gradients, loss_of_weights
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


def test_score_is_the_sum_over_layers_of_a_root_of_squares():
    """The definition as loops over layers and weights, by PyTorch's own backward."""
    model, (x, y) = small_net(), batch()
    F.cross_entropy(model(x), y).backward()
    norms = []
    for layer in (model[0], model[4]):
        squares = [slope**2 for slope in layer.weight.grad.flatten().tolist()]
        norms.append(math.sqrt(math.fsum(squares)))
    assert grad_norm_score(model, x, y) == pytest.approx(sum(norms), rel=1e-5)
    found = gradient_norms(model, x, y)
    assert [norm.item() for norm in found.values()] == pytest.approx(norms, rel=1e-5)


def test_slopes_are_those_of_small_steps():
    """A finite difference for each of the weights, in float64."""
    model, (x, y) = smooth_net(), batch()
    x, norms = x.double(), []
    for layer in (model[0], model[3]):
        slopes = [
            slope_of_one(layer.weight.data.view(-1), j, lambda: loss_of(model, x, y))
            for j in range(layer.weight.numel())
        ]
        norms.append(math.hypot(*slopes))
    assert grad_norm_score(model, x, y) == pytest.approx(sum(norms), rel=1e-6)


def test_value_by_hand():
    """For y = b a x, a = b = 1, x = 1, target 3: both slopes are 2 (1 - 3) = -4.

    The norms add up to 8. The norm of the whole gradient would be 5.66.
    """
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    for layer in model:
        nn.init.constant_(layer.weight, 1.0)
    x, y = torch.tensor([[1.0]]), torch.tensor([[3.0]])
    assert grad_norm_score(model, x, y, loss_fn=F.mse_loss) == 8.0


def test_repeating_the_batch_changes_nothing():
    model, (x, y) = small_net(), batch()
    twice = grad_norm_score(model, torch.cat((x, x)), torch.cat((y, y)))
    assert twice == pytest.approx(grad_norm_score(model, x, y), rel=1e-5)


def test_a_loss_times_c_scores_c_times_as_much():
    model, (x, y) = small_net(), batch()
    score = grad_norm_score(model, x, y)
    for factor in (3, -3):
        scaled = grad_norm_score(
            model, x, y, loss_fn=lambda o, t, c=factor: c * F.cross_entropy(o, t)
        )
        assert scaled == pytest.approx(3 * score)


def test_before_batch_norm_the_gradient_is_orthogonal_to_the_weights():
    """Their scale changes nothing, so along them the loss is level."""
    model, (x, y) = small_net(), batch()
    weights, loss = loss_of_weights(model, x, y, F.cross_entropy)
    slopes = gradients(loss, weights)
    along = (weights["0.weight"] * slopes["0.weight"]).sum((1, 2, 3))  # per channel
    size = (weights["0.weight"] * slopes["0.weight"]).abs().sum((1, 2, 3))
    assert (along.abs() < 1e-3 * size).all()  # not 0: the norm's epsilon
    last = weights["4.weight"] * slopes["4.weight"]
    assert last.sum().abs() > 1e-3 * last.abs().sum()


def test_before_batch_norm_smaller_weights_score_higher():
    model, (x, y) = small_net(), batch()
    before = gradient_norms(model, x, y)
    with torch.no_grad():
        model[0].weight /= 2
        model[0].bias /= 2
    after = gradient_norms(model, x, y)
    ratio = after["0.weight"] / before["0.weight"]
    assert ratio.item() == pytest.approx(2, rel=1e-2)
    assert after["4.weight"].item() == pytest.approx(
        before["4.weight"].item(), rel=0.01
    )


def test_model_comes_back_unchanged():
    assert_leaves_no_trace(lambda model: grad_norm_score(model, *batch()))


def test_works_where_gradients_are_switched_off():
    with torch.no_grad():
        assert grad_norm_score(small_net(), *batch()) > 0


def test_only_connections_count():
    assert list(gradient_norms(small_net(), *batch())) == ["0.weight", "4.weight"]


def test_a_convolution_that_leads_nowhere_counts_0():
    x, y = torch.randn(4, 1, 12, 12), torch.randint(10, (4,))
    norms = gradient_norms(dead_edge_net(), x, y)
    assert at_edge(norms, 0) == 0
    assert at_edge(norms, 3) > 0
    assert grad_norm_score(disconnected_net(), x, y) == 0


@pytest.mark.parametrize(
    ("model", "samples", "loss_fn", "message"),
    [
        (small_net(), 0, F.cross_entropy, r"empty batch, shape \(0, 2, 4, 4\)"),
        (nn.Flatten(), 2, F.cross_entropy, "Flatten has no linear or convolutional"),
        (small_net(), 2, lambda out, y: out[:, 0], "finite scalar"),
        (small_net(), 2, lambda out, y: out.mean() * torch.nan, "finite scalar"),
        (small_net(), 2, lambda out, y: (0 * out).sum().sqrt(), "the score is nan"),
    ],
)
def test_bad_arguments_are_explained(model, samples, loss_fn, message):
    before = state(model)
    with pytest.raises(ValueError, match=message):
        grad_norm_score(model, *batch(samples), loss_fn=loss_fn)
    assert_same(state(model), before)


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return F.cross_entropy(model(x), y).item()


def slope_of_one(weights: Tensor, j: int, loss: Callable[[], float]) -> float:
    """Return a central difference, and the weight as it was."""
    step, before = 1e-5, weights[j].item()
    losses = []
    for sign in (1, -1):
        weights[j] = before + sign * step
        losses.append(loss())
    weights[j] = before
    return (losses[0] - losses[1]) / (2 * step)
