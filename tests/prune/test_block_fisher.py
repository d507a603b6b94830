"""The empirical Fisher matrix in blocks, its inverse and what it is used for."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.prune.block_fisher import (
    compensate_blocks_,
    fisher_inverse,
    sample_slopes,
    woodfisher_scores,
)
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.obs import compensation, inverse_by_recursion


def net_and_batch(samples=9):
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))
    return net, torch.randn(samples, 3), torch.randint(4, (samples,))


def test_the_slopes_are_those_of_one_sample_after_the_other():
    net, inputs, targets = net_and_batch()
    found = sample_slopes(net, inputs, targets, chunk=4)
    assert list(found) == ["0.weight", "2.weight"]
    for n in range(9):
        loss = F.cross_entropy(net(inputs[n : n + 1]), targets[n : n + 1])
        first, second = torch.autograd.grad(loss, (net[0].weight, net[2].weight))
        torch.testing.assert_close(found["0.weight"][n], first)
        torch.testing.assert_close(found["2.weight"][n], second)
    assert net[0].weight.grad is None


@pytest.mark.parametrize("samples", [3, 5, 12])
def test_the_inverse_is_that_of_the_damped_mean_of_outer_products(samples):
    slopes = torch.randn(samples, 5, dtype=torch.float64)
    fisher = 0.1 * torch.eye(5, dtype=torch.float64) + slopes.T @ slopes / samples
    found = fisher_inverse(slopes, damping=0.1)
    torch.testing.assert_close(found, torch.linalg.inv(fisher))
    torch.testing.assert_close(found, inverse_by_recursion(slopes, damping=0.1))


def test_one_slope_by_hand():
    """F = I + g g^T with g = (1, 1): the inverse is I - g g^T / 3."""
    found = fisher_inverse(torch.tensor([[1.0, 1.0]]), damping=1.0)
    torch.testing.assert_close(found, torch.eye(2) - torch.ones(2, 2) / 3)


def test_the_scores_take_each_block_of_weights_for_itself():
    net, inputs, targets = net_and_batch()
    scores = woodfisher_scores(net, inputs, targets, block=8, damping=0.01)
    slopes = sample_slopes(net, inputs, targets)
    for name, rows in slopes.items():
        weight = net.get_parameter(name).detach().flatten()
        fisher = rows.flatten(1).T @ rows.flatten(1) / 9
        place = torch.arange(len(weight)) // 8
        fisher = fisher * (place[:, None] == place) + 0.01 * torch.eye(len(weight))
        inverse = torch.linalg.inv(fisher)
        expected = (weight**2 / (2 * inverse.diagonal())).view_as(scores[name])
        torch.testing.assert_close(scores[name], expected, rtol=1e-3, atol=1e-6)


def test_with_damping_alone_the_order_is_that_of_the_magnitudes():
    net, inputs, targets = net_and_batch()
    scores = woodfisher_scores(net, inputs, targets, damping=1e6)
    for name, magnitude in magnitude_scores(net).items():
        order = magnitude.flatten().argsort()
        assert torch.equal(scores[name].flatten().argsort(), order)


def test_compensation_is_that_of_brain_surgery_in_each_block():
    net, inputs, targets = net_and_batch()
    before, slopes = copy.deepcopy(net), sample_slopes(net, inputs, targets)
    mask = torch.rand(5, 3) > 0.4
    compensate_blocks_(net, slopes, {"0.weight": mask}, block=10, damping=0.01)
    weight = before[0].weight.detach().flatten()
    for part in (slice(0, 10), slice(10, 15)):
        rows = slopes["0.weight"].flatten(1)[:, part]
        inverse = fisher_inverse(rows, damping=0.01)
        step = compensation(weight[part], inverse, ~mask.flatten()[part])
        found = net[0].weight.detach().flatten()[part]
        torch.testing.assert_close(found, weight[part] + step)
    assert not net[0].weight[~mask].any()
    assert torch.equal(net[2].weight, before[2].weight)


def test_large_slopes_do_not_drown_compensation_in_rounding():
    """Three of four weights of 100 go, inputs of size 10: it beats plain zeros."""
    inputs = 10 * torch.randn(60, 100)
    net = nn.Linear(100, 1, bias=False)
    slopes = sample_slopes(net, inputs, torch.randn(60, 1), loss_fn=F.mse_loss)
    kept = torch.rand(1, 100) > 0.75
    before = net.weight.detach().clone()
    compensate_blocks_(net, slopes, {"weight": kept})
    rows = slopes["weight"].flatten(1).double()

    def cost(step):
        return (rows @ step.double().flatten()).square().mean().item()

    assert cost(net.weight.detach() - before) < cost(-before * ~kept)


def test_a_net_that_works_in_place_leaves_the_batch_alone():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 4))
    inputs, targets = torch.randn(5, 3), torch.randint(4, (5,))
    before = inputs.clone()
    sample_slopes(net, inputs, targets)
    assert torch.equal(inputs, before)


def test_batch_norm_and_dropout_are_taken_as_in_evaluation():
    net = nn.Sequential(
        nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 4)
    )
    inputs, targets = torch.randn(6, 3), torch.randint(4, (6,))
    training = sample_slopes(net.train(), inputs, targets)
    assert net.training
    assert net[1].num_batches_tracked == 0
    torch.testing.assert_close(training, sample_slopes(net.eval(), inputs, targets))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fisher_inverse(torch.eye(2), damping=0.0), "damping must be above 0"),
        (lambda: fisher_inverse(torch.zeros(0, 2)), "slopes must be at least 1, got 0"),
        (
            lambda: woodfisher_scores(*net_and_batch(), block=0),
            "block must be at least 1, got 0",
        ),
        (
            lambda: sample_slopes(*net_and_batch(), chunk=0),
            "chunk must be at least 1, got 0",
        ),
        (lambda: sample_slopes(*net_and_batch(samples=0)), "empty batch"),
        (
            lambda: compensate_blocks_(
                nn.Linear(1, 1), {}, {"weight": torch.ones(1, 1) > 0}
            ),
            "slopes has nothing for weight, only",
        ),
        (
            lambda: compensate_blocks_(nn.Linear(1, 1), {}, {}, block=0),
            "block must be at least 1",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
