"""Brain surgery on networks: the matrix, the scores, the operation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.prune.masks import masks_of, prune_
from effdl.prune.obd import obd_scores
from effdl.prune.obs import surgeon
from effdl.prune.obs_model import curvature_vectors, obs_scores, operate_


def relu_net():
    return nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)
    )


def batch(samples=20):
    return torch.randn(samples, 3), torch.randint(3, (samples,))


def mean_outer(vectors):
    return vectors.T @ vectors / len(vectors)


def test_within_a_layer_of_relus_the_vectors_make_up_the_hessian_itself():
    net, (inputs, targets) = relu_net(), batch()

    def loss(flat):
        weight = {"2.weight": flat.view(4, 5)}
        outputs = torch.func.functional_call(net, weight, inputs)
        return F.cross_entropy(outputs, targets)

    hessian = torch.autograd.functional.hessian(loss, net[2].weight.detach().flatten())
    vectors = curvature_vectors(net, inputs, targets, names=["2.weight"])
    assert vectors.shape == (20 * 3, 20)
    torch.testing.assert_close(mean_outer(vectors), hessian, atol=1e-5, rtol=1e-4)


def test_for_a_squared_error_it_is_twice_the_mean_of_slopes_as_in_the_paper():
    """The paper has 1/2 of the squares of one output, its slopes are the x."""
    net, inputs = nn.Linear(4, 1), torch.randn(10, 4)
    vectors = curvature_vectors(net, inputs, torch.randn(10, 1), loss_fn=F.mse_loss)
    torch.testing.assert_close(mean_outer(vectors), 2 * inputs.T @ inputs / 10)


def test_the_labels_of_cross_entropy_do_not_enter():
    net, (inputs, targets) = relu_net(), batch()
    one, other = (
        mean_outer(curvature_vectors(net, inputs, labels))
        for labels in (targets, (targets + 1) % 3)
    )
    torch.testing.assert_close(one, other)


def test_the_scores_are_the_saliencies_of_the_damped_matrix():
    net, (inputs, targets) = relu_net(), batch()
    names = ["4.weight", "2.weight"]
    scores = obs_scores(net, inputs, targets, damping=0.01, names=names)
    hessian = mean_outer(curvature_vectors(net, inputs, targets, names=names).double())
    inverse = torch.linalg.inv(hessian + 0.01 * torch.eye(32))
    flat = torch.cat([net[4].weight.flatten(), net[2].weight.flatten()]).detach()
    expected = (flat**2 / (2 * inverse.diagonal())).float()
    assert list(scores) == names
    assert scores["2.weight"].shape == (4, 5)
    together = torch.cat([score.flatten() for score in scores.values()])
    torch.testing.assert_close(together, expected, rtol=1e-3, atol=1e-6)


def test_inputs_that_do_not_meet_make_it_brain_damage():
    net = nn.Sequential(nn.Linear(4, 1, bias=False))
    inputs, targets = torch.diag(torch.tensor([1.0, 2, 3, 4])), torch.zeros(4, 1)
    ours = obs_scores(net, inputs, targets, loss_fn=F.mse_loss, damping=1e-9)
    damage = obd_scores(net, inputs, targets, loss_fn=F.mse_loss)
    torch.testing.assert_close(ours, damage)


def test_operating_is_the_surgeon_on_the_weights_of_the_net():
    net, (inputs, targets) = relu_net(), batch()
    before = copy.deepcopy(net)
    vectors = curvature_vectors(net, inputs, targets, names=["2.weight"]).double()
    inverse = torch.linalg.inv(mean_outer(vectors) + 0.1 * torch.eye(20))
    weight = net[2].weight.detach().flatten()
    expected = surgeon(weight.double(), inverse, 10).weight.view(4, 5)
    options = {"sparsity": 0.5, "damping": 0.1, "names": ["2.weight"]}
    masks = operate_(net, inputs, targets, **options)
    torch.testing.assert_close(
        net[2].weight.data, expected.float(), rtol=1e-3, atol=1e-5
    )
    assert torch.equal(masks["2.weight"], expected != 0)
    assert torch.equal(net[0].weight, before[0].weight)
    assert torch.equal(net[2].bias, before[2].bias)
    weight = net[2].weight.detach().clone()
    prune_(net, masks)
    assert torch.equal(net[2].weight, weight)
    assert masks_of(net)["2.weight"].sum() == 10


def test_on_a_fitted_linear_model_it_loses_less_than_zeros_alone():
    inputs = torch.randn(50, 6) @ torch.randn(6, 6)
    net = nn.Linear(6, 1, bias=False)
    targets = net(inputs).detach()
    plain = copy.deepcopy(net)
    options = {"sparsity": 0.5, "loss_fn": F.mse_loss}
    masks = operate_(net, inputs, targets, **options)
    plain.weight.data[~masks["weight"]] = 0
    losses = [F.mse_loss(model(inputs), targets).item() for model in (net, plain)]
    assert losses[0] < 0.8 * losses[1]


def test_large_inputs_do_not_drown_the_operation_in_rounding():
    """Eighty of 100 weights, 60 inputs of size 30: it still beats its own zeros."""
    inputs = 30 * torch.randn(60, 100)
    net = nn.Linear(100, 1, bias=False)
    targets = net(inputs).detach()
    plain = copy.deepcopy(net)
    masks = operate_(net, inputs, targets, sparsity=0.8, loss_fn=F.mse_loss)
    plain.weight.data[~masks["weight"]] = 0
    losses = [F.mse_loss(model(inputs), targets).item() for model in (net, plain)]
    assert losses[0] < losses[1]


def test_a_net_that_works_in_place_leaves_the_batch_alone():
    inputs, targets = batch()
    before = inputs.clone()
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3))
    curvature_vectors(net, inputs, targets)
    assert torch.equal(inputs, before)


def test_a_sparsity_of_0_changes_nothing():
    net, (inputs, targets) = relu_net(), batch()
    before = copy.deepcopy(net.state_dict())
    masks = operate_(net, inputs, targets, sparsity=0)
    torch.testing.assert_close(dict(net.state_dict()), dict(before))
    assert all(mask.all() for mask in masks.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": 1.0}, "sparsity must be at least 0 and below 1, got 1.0"),
        ({"names": ["1.weight"]}, "names has .'1.weight'."),
        ({"damping": 0.0}, "damping must be above 0 and finite, got 0.0"),
        ({"inputs": torch.zeros(0, 3)}, "inputs is an empty batch"),
    ],
)
def test_what_cannot_be_is_named(change, message):
    inputs, targets = batch()
    given = {"inputs": inputs, "targets": targets, "sparsity": 0.5} | change
    with pytest.raises(ValueError, match=message):
        operate_(relu_net(), **given)


def test_too_many_weights_for_one_matrix_are_refused_before_it_is_made():
    net = nn.Linear(100, 41)
    with pytest.raises(ValueError, match="H of 4100 weights has 4100"):
        obs_scores(net, torch.zeros(1, 100), torch.zeros(1).long())
