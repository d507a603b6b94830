"""Layer by layer: the outputs of a layer are kept, as well as its inputs allow."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp
from effdl.prune.layer_obs import (
    fit_of_mask,
    input_hessian,
    layer_inputs,
    layer_obs_scores,
    layer_surgeon,
    operate_layers_,
)
from effdl.prune.obs import surgeon
from effdl.prune.thresholds import layer_masks


def layer_and_inputs(outputs=4, features=6, samples=50):
    inputs = torch.randn(samples, features) @ torch.randn(features, features)
    return torch.randn(outputs, features), inputs


def error(weight, other, inputs):
    return ((weight - other) @ inputs.T).square().sum() / (2 * len(inputs))


def test_the_hessian_of_the_error_of_an_output_is_the_mean_of_outer_products():
    weight, inputs = layer_and_inputs(outputs=1)

    def loss(other):
        return error(weight, other[None], inputs)

    expected = torch.autograd.functional.hessian(loss, weight[0])
    found = input_hessian(inputs, damping=1e-9)
    torch.testing.assert_close(found.float(), expected)
    damped = input_hessian(inputs, damping=2.0) - input_hessian(inputs, damping=1.0)
    torch.testing.assert_close(damped, torch.eye(6, dtype=torch.float64))


def test_the_fit_of_a_mask_is_the_least_squares_refit_on_the_inputs_kept():
    weight, inputs = layer_and_inputs()
    mask = torch.rand(4, 6) > 0.5
    mask[:, 0] = True
    found = fit_of_mask(weight, input_hessian(inputs, damping=1e-9), mask)
    for row, kept, ours in zip(weight, mask, found, strict=True):
        targets = inputs @ row
        refit = torch.linalg.lstsq(inputs[:, kept], targets[:, None]).solution[:, 0]
        torch.testing.assert_close(ours[kept], refit, rtol=1e-3, atol=1e-4)
        assert not ours[~kept].any()


def test_for_one_output_it_is_the_surgeon():
    weight, inputs = layer_and_inputs(outputs=1)
    hessian = input_hessian(inputs)
    done = surgeon(weight[0].double(), torch.linalg.inv(hessian), 3)
    found = layer_surgeon(weight, hessian, 0.5)
    torch.testing.assert_close(found[0].double(), done.weight, rtol=1e-4, atol=1e-6)


def test_every_step_takes_the_cheapest_weight_of_all_rows():
    """Rows of sizes 1 and 10 under white inputs: the small row goes first."""
    weight = torch.tensor([[1.0, 1.1, 1.2], [10.0, 11.0, 12.0]])
    left = layer_surgeon(weight, torch.eye(3), 0.5)
    assert torch.equal(left, torch.tensor([[0.0, 0, 0], [10, 11, 12]]))


def test_with_white_inputs_it_is_magnitude_pruning():
    weight = torch.randn(4, 6)
    mask = layer_masks({"w": weight.abs()}, 0.5)["w"]
    left = layer_surgeon(weight, 3 * torch.eye(6), 0.5)
    torch.testing.assert_close(left, weight * mask)


def test_its_mask_is_fitted_as_well_as_it_can_be():
    weight, inputs = layer_and_inputs()
    hessian = input_hessian(inputs)
    left = layer_surgeon(weight, hessian, 0.5)
    assert (left != 0).sum() == 12
    again = fit_of_mask(weight, hessian, left != 0)
    torch.testing.assert_close(left, again, rtol=1e-3, atol=1e-4)


def test_the_error_is_below_that_of_magnitude_and_of_the_fitted_magnitude_mask():
    weight, inputs = layer_and_inputs()
    hessian = input_hessian(inputs)
    mask = layer_masks({"w": weight.abs()}, 0.5)["w"]
    ours = error(weight, layer_surgeon(weight, hessian, 0.5), inputs)
    fitted = error(weight, fit_of_mask(weight, hessian, mask), inputs)
    assert ours < fitted < error(weight, weight * mask, inputs)


def test_the_inputs_are_those_that_each_layer_gets():
    net = plain_mlp((4, 3, 2)).train()
    images = torch.randn(5, 1, 2, 2)
    seen = layer_inputs(net, images)
    flat = images.flatten(1)
    assert list(seen) == ["1.weight", "3.weight"]
    torch.testing.assert_close(seen["1.weight"], flat)
    torch.testing.assert_close(seen["3.weight"], net[1](flat).relu())
    assert not any(layer._forward_pre_hooks for layer in net)
    assert net.training
    tokens = torch.randn(2, 3, 4)
    torch.testing.assert_close(
        layer_inputs(nn.Linear(4, 1), tokens)["weight"], tokens.flatten(0, 1)
    )


def test_the_inputs_stay_what_they_were_when_a_layer_works_in_place():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            x += self.layer(x)
            return x

    inputs = torch.randn(5, 3)
    before = inputs.clone()
    seen = layer_inputs(Residual(), inputs)["layer.weight"]
    assert torch.equal(seen, before)
    assert torch.equal(inputs, before)


def test_the_scores_are_the_cost_of_each_weight_with_its_row_refitted():
    net, inputs = nn.Linear(6, 3), torch.randn(50, 6) @ torch.randn(6, 6)
    scores = layer_obs_scores(net, inputs, damping=1e-9)["weight"]
    weight, hessian = net.weight.detach(), input_hessian(inputs, damping=1e-9)
    for row, column in ((0, 1), (2, 5)):
        mask = torch.ones(3, 6, dtype=torch.bool)
        mask[row, column] = False
        cost = error(weight, fit_of_mask(weight, hessian, mask), inputs)
        torch.testing.assert_close(scores[row, column], cost, rtol=1e-3, atol=1e-6)


def test_operating_changes_each_layer_for_the_inputs_it_had_before():
    net, images = plain_mlp((16, 8, 4)), torch.randn(30, 1, 4, 4)
    seen, before = layer_inputs(net, images), copy.deepcopy(net)
    masks = operate_layers_(net, images, sparsity=0.25)
    for name in ("1.weight", "3.weight"):
        hessian = input_hessian(seen[name])
        weight = before.get_parameter(name).detach()
        expected = layer_surgeon(weight, hessian, 0.25)
        assert torch.equal(net.get_parameter(name).data, expected)
        assert torch.equal(masks[name], expected != 0)
        assert masks[name].sum() == 0.75 * weight.numel()
    assert torch.equal(net[1].bias, before[1].bias)


def test_an_input_that_is_always_0_costs_nothing_and_gives_no_nan():
    weight, inputs = layer_and_inputs()
    inputs[:, 2] = 0
    left = layer_surgeon(weight, input_hessian(inputs), 1 / 6)
    assert not left[:, 2].any()
    assert left.isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: input_hessian(torch.zeros(0, 3)), "inputs is an empty batch"),
        (
            lambda: input_hessian(torch.zeros(3)),
            "inputs must be .n, I., got shape .3,.",
        ),
        (lambda: input_hessian(torch.eye(2), damping=-1.0), "damping must be above 0"),
        (lambda: layer_surgeon(torch.eye(2), torch.eye(2), 1.0), "sparsity must be at"),
        (lambda: layer_surgeon(torch.eye(2), -torch.eye(2), 0.5), "become nan"),
        (lambda: layer_inputs(nn.ReLU(), torch.zeros(1)), "ReLU has no linear layer"),
        (lambda: layer_inputs(nn.Linear(2, 1), torch.zeros(0, 2)), "empty batch"),
        (
            lambda: operate_layers_(nn.Linear(2, 1), torch.eye(2), sparsity=50),
            "got 50; 50 % is 0.5",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
