"""SNIP against its definition, against values by hand, and at its limits."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from effdl.nas.proxies.snip import connection_sensitivity, snip_score
from proxy_nets import (
    assert_leaves_no_trace,
    assert_same,
    at_edge,
    batch,
    dead_edge_net,
    disconnected_net,
    small_net,
    state,
)


def test_sensitivity_is_the_derivative_with_respect_to_a_switch():
    """The definition: build the switches, differentiate with respect to them."""
    model, (x, y) = small_net(), batch()
    weights = {"0.weight": model[0].weight, "4.weight": model[4].weight}
    switches = {k: torch.ones_like(w).requires_grad_() for k, w in weights.items()}
    switched = {k: switches[k] * w.detach() for k, w in weights.items()}
    loss = F.cross_entropy(functional_call(model, switched, (x,)), y)
    expected = torch.autograd.grad(loss, list(switches.values()))

    actual = connection_sensitivity(model, x, y)
    assert list(actual) == list(weights)
    for sensitivity, gradient in zip(actual.values(), expected, strict=True):
        torch.testing.assert_close(sensitivity, gradient.abs())
    total = sum(gradient.abs().sum().item() for gradient in expected)
    assert snip_score(model, x, y) == pytest.approx(total)


def test_value_by_hand():
    """L = (w x - y)^2 with w = 3, x = 2, y = 5: |w dL/dw| = |3 * 2 * 2 * 1| = 12."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    x, y = torch.tensor([[2.0]]), torch.tensor([[5.0]])
    assert snip_score(model, x, y, loss_fn=F.mse_loss) == 12.0


def test_a_negative_slope_counts_as_much_as_a_positive_one():
    """As above with y = 7: the slope is 2 * 2 * -1, and the weight as well may be."""
    model = nn.Linear(1, 1, bias=False)
    for weight, target in ((3.0, 7.0), (-3.0, -5.0)):
        nn.init.constant_(model.weight, weight)
        x, y = torch.tensor([[2.0]]), torch.tensor([[target]])
        assert snip_score(model, x, y, loss_fn=F.mse_loss) == 12.0


def test_for_a_linear_loss_it_is_what_removing_the_weight_would_change():
    model, x = nn.Linear(4, 2), torch.randn(5, 4)
    sensitivity = connection_sensitivity(model, x, x, loss_fn=mean_output)["weight"]
    before = mean_output(model(x), x)
    for index in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        pruned = copy.deepcopy(model)
        with torch.no_grad():
            pruned.weight[*index] = 0.0
        change = (mean_output(pruned(x), x) - before).abs()
        torch.testing.assert_close(sensitivity[*index], change)


def test_repeating_the_batch_changes_nothing():
    """Fails if the batch is processed in parts whose scores are added up."""
    model, (x, y) = small_net(), batch()
    once = snip_score(model, x, y)
    twice = snip_score(model, torch.cat((x, x)), torch.cat((y, y)))
    assert twice == pytest.approx(once, rel=1e-5)


def test_a_loss_times_c_scores_c_times_as_much():
    model, (x, y) = small_net(), batch()
    scaled = snip_score(model, x, y, loss_fn=lambda o, t: 3 * F.cross_entropy(o, t))
    assert scaled == pytest.approx(3 * snip_score(model, x, y))


def test_before_batch_norm_the_scale_of_a_weight_does_not_matter():
    """The gradient shrinks as the weight grows, apart from the norm's epsilon."""
    model, (x, y) = small_net(), batch()
    before = connection_sensitivity(model, x, y)["0.weight"]
    with torch.no_grad():
        model[0].weight *= 4
    after = connection_sensitivity(model, x, y)["0.weight"]
    torch.testing.assert_close(after, before, rtol=1e-2, atol=1e-5)


def test_model_comes_back_unchanged():
    assert_leaves_no_trace(lambda model: snip_score(model, *batch()))


def test_works_where_gradients_are_switched_off():
    with torch.no_grad():
        assert snip_score(small_net(), *batch()) > 0


def test_only_connections_count():
    sensitivity = connection_sensitivity(small_net(), *batch())
    assert list(sensitivity) == ["0.weight", "4.weight"]


def test_a_convolution_that_leads_nowhere_counts_0():
    x, y = torch.randn(4, 1, 12, 12), torch.randint(10, (4,))
    sensitivity = connection_sensitivity(dead_edge_net(), x, y)
    assert not at_edge(sensitivity, 0).any()
    assert at_edge(sensitivity, 3).any()
    assert snip_score(disconnected_net(), x, y) == 0


def test_a_weight_that_two_layers_share_counts_once():
    shared = nn.Linear(3, 3, bias=False)
    x, y = torch.randn(4, 3), torch.randint(3, (4,))
    sensitivity = connection_sensitivity(nn.Sequential(shared, shared), x, y)
    assert list(sensitivity) == ["0.weight"]


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
        snip_score(model, *batch(samples), loss_fn=loss_fn)
    assert_same(state(model), before)


def mean_output(output: Tensor, _targets: Tensor) -> Tensor:
    return output.mean()
