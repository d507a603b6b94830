"""Which weights count, what the loss depends on, and what stays as it was."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from effdl.nas.proxies.weights import (
    connected_layers,
    connection_weights,
    finite_sum,
    gradients,
    loss_of_weights,
)
from proxy_nets import assert_same, batch, small_net, state


def test_the_loss_is_that_of_the_network_itself():
    model, (x, y) = small_net(), batch()
    weights, loss = loss_of_weights(model, x, y, F.cross_entropy)
    assert loss.item() == F.cross_entropy(model(x), y).item()
    assert list(weights) == ["0.weight", "4.weight"]


def test_gradients_are_those_of_a_backward_pass():
    model, (x, y) = small_net(), batch()
    weights, loss = loss_of_weights(model, x, y, F.cross_entropy)
    found = gradients(loss, weights)
    F.cross_entropy(model(x), y).backward()
    torch.testing.assert_close(found["0.weight"], model[0].weight.grad)
    torch.testing.assert_close(found["4.weight"], model[4].weight.grad)


def test_values_by_hand():
    """Slopes of a^2 b at a = 2, b = 3 are 2 a b = 12 and a^2 = 4; c is unused."""
    a, b, c = (torch.tensor(v, requires_grad=True) for v in (2.0, 3.0, 5.0))
    found = gradients(a**2 * b, {"a": a, "b": b, "c": c}, create_graph=True)
    assert [value.item() for value in found.values()] == [12.0, 4.0, 0.0]
    assert gradients(found["a"], {"a": a})["a"].item() == 6.0  # 2 b


def test_a_value_that_depends_on_nothing_has_no_slope():
    leaf = torch.ones(2, requires_grad=True)
    assert not gradients(torch.tensor(1.0), {"leaf": leaf})["leaf"].any()
    assert gradients(torch.tensor(1.0), {}) == {}
    assert gradients(leaf.sum(), {}) == {}


def test_a_sum_keeps_small_terms():
    """2^24 + 1 is no float32, so 2^24 ones after it would be lost one by one."""
    assert finite_sum([torch.tensor(2.0**24), *[torch.tensor(1.0)] * 3]) == 2**24 + 3
    wide = torch.tensor([2.0**24, 1.0])
    assert finite_sum([wide]) == 2**24 + 1
    assert finite_sum([]) == 0


def test_linear_layers_and_convolutions_of_any_dimension_count():
    layers = [nn.Linear(2, 2), nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1)]
    layers += [nn.Conv3d(1, 1, 1), nn.BatchNorm1d(2), nn.Embedding(2, 2)]
    layers += [nn.ConvTranspose2d(1, 1, 1), nn.LayerNorm(2)]
    assert list(connected_layers(nn.Sequential(*layers))) == ["0", "1", "2", "3"]


def test_a_shared_weight_counts_once():
    shared = nn.Linear(3, 3, bias=False)
    tied = nn.Linear(3, 3, bias=False)
    tied.weight = shared.weight
    assert list(connection_weights(nn.Sequential(shared, tied))) == ["0.weight"]


def test_both_uses_of_a_shared_weight_add_to_its_gradient():
    shared = nn.Linear(3, 3, bias=False)
    model, x = nn.Sequential(shared, nn.Tanh(), shared), torch.randn(4, 3)
    y = torch.randint(3, (4,))
    weights, loss = loss_of_weights(model, x, y, F.cross_entropy)
    F.cross_entropy(model(x), y).backward()
    torch.testing.assert_close(gradients(loss, weights)["0.weight"], shared.weight.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_model_comes_back_unchanged(training, frozen):
    model = small_net().train(training).requires_grad_(requires_grad=not frozen)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = state(model)
    weights, loss = loss_of_weights(model, *batch(), F.cross_entropy)
    gradients(loss, weights)
    assert_same(state(model), before)


def test_a_batch_survives_a_network_that_starts_in_place():
    model, (x, y) = nn.Sequential(nn.ReLU(inplace=True), *small_net()), batch()
    before = x.clone()
    loss_of_weights(model, x, y, F.cross_entropy)
    assert torch.equal(x, before)


def test_biases_and_batch_norm_take_part_but_are_no_leaves():
    model, (x, y) = small_net(), batch()
    nn.init.constant_(model[1].weight, 3.0)
    weights, loss = loss_of_weights(model, x, y, F.cross_entropy)
    nn.init.constant_(model[1].weight, 1.0)
    assert loss != loss_of_weights(model, x, y, F.cross_entropy)[1]
    assert all(weight.is_leaf and weight.requires_grad for weight in weights.values())


@pytest.mark.parametrize(
    ("model", "samples", "loss_fn", "message"),
    [
        (small_net(), 0, F.cross_entropy, r"empty batch, shape \(0, 2, 4, 4\)"),
        (nn.Flatten(), 2, F.cross_entropy, "Flatten has no linear or convolutional"),
        (nn.BatchNorm2d(2), 2, F.cross_entropy, "BatchNorm2d has no linear or conv"),
        (small_net(), 2, lambda out, y: out[:, 0], "finite scalar"),
        (small_net(), 2, lambda out, y: out.mean() * torch.nan, "scalar, got nan"),
        (small_net(), 2, lambda out, y: out.mean() + torch.inf, "scalar, got inf"),
        (small_net(), 2, lambda out, y: out.mean().item(), "finite scalar, got -?0"),
        (small_net(), 2, lambda out, y: out.mean().detach(), "detach its output"),
        (small_net(), 2, lambda out, y: out.argmax(1).sum(), "or round it"),
    ],
)
def test_bad_arguments_are_explained(model, samples, loss_fn, message):
    before = state(model)
    with torch.enable_grad(), pytest.raises(ValueError, match=message):
        loss_of_weights(model, *batch(samples), loss_fn)
    assert_same(state(model), before)


def test_inputs_that_are_no_tensor_are_named():
    with pytest.raises(ValueError, match="inputs must be a tensor"):
        loss_of_weights(small_net(), 3, torch.zeros(1), F.cross_entropy)


def test_a_computed_weight_is_named():
    model = nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="layer '1' is computed from other parameters"):
        connection_weights(model)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_score_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=f"the score is {value}"):
        finite_sum([torch.tensor([1.0, value])])
