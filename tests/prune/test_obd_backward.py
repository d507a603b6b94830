"""The backward pass of optimal brain damage, against Hessians written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.prune.obd import exact_curvature
from effdl.prune.obd_backward import backward_curvature, output_hessian


def batch(samples=7, features=3, classes=4):
    return torch.randn(samples, features), torch.randint(classes, (samples,))


def test_it_is_the_recursion_of_the_paper_written_with_loops():
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    inputs, targets = torch.randn(6, 3), torch.randn(6, 2)
    first, second = net[0].weight, net[2].weight
    expected = torch.zeros(5, 3), torch.zeros(2, 5)
    for x in inputs:
        before = net[0](x)
        hidden = before.tanh()
        # the mean over 6 samples and 2 outputs of squares
        outputs = [2 / 12, 2 / 12]
        for i in range(2):
            for j in range(5):
                expected[1][i, j] += outputs[i] * hidden[j] ** 2
        for j in range(5):
            slope = 1 - hidden[j] ** 2
            curved = slope**2 * sum(second[i, j] ** 2 * outputs[i] for i in range(2))
            for k in range(3):
                expected[0][j, k] += curved * x[k] ** 2
    found = backward_curvature(net, inputs, targets, loss_fn=F.mse_loss)
    assert list(found) == ["0.weight", "2.weight"]
    assert first.shape == found["0.weight"].shape
    for ours, by_hand in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, by_hand.detach())


@pytest.mark.parametrize("loss_fn", [F.cross_entropy, F.mse_loss])
def test_for_one_linear_layer_it_is_the_diagonal_of_the_hessian(loss_fn):
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    inputs, targets = torch.randn(7, 2, 3), torch.randint(4, (7,))
    if loss_fn is F.mse_loss:
        targets = torch.randn(7, 4)
    exact = exact_curvature(net, inputs, targets, loss_fn=loss_fn)
    found = backward_curvature(net, inputs, targets, loss_fn=loss_fn)
    torch.testing.assert_close(found, exact)


def test_for_one_convolution_under_a_squared_error_it_is_exact_too():
    """Each output pixel stands for itself in the error: no two places act together."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.Flatten())
    inputs = torch.randn(4, 2, 6, 6)
    targets = torch.randn(4, 27)
    exact = exact_curvature(net, inputs, targets, loss_fn=F.mse_loss)
    found = backward_curvature(net, inputs, targets, loss_fn=F.mse_loss)
    torch.testing.assert_close(found, exact)


def test_with_one_unit_a_layer_and_relu_it_is_exact_at_any_depth():
    net = nn.Sequential(
        nn.Linear(1, 1),
        nn.ReLU(inplace=True),
        nn.Linear(1, 1),
        nn.ReLU(),
        nn.Linear(1, 1),
    )
    for layer in net[::2]:
        nn.init.constant_(layer.weight, 1.5)
        nn.init.constant_(layer.bias, 0.1)
    inputs, targets = torch.randn(9, 1), torch.randn(9, 1)
    exact = exact_curvature(net, inputs, targets, loss_fn=F.mse_loss)
    found = backward_curvature(net, inputs, targets, loss_fn=F.mse_loss)
    torch.testing.assert_close(found, exact)


def test_it_is_never_negative_and_0_behind_a_dead_unit():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))
    net[0].bias.data[2] = -100
    found = backward_curvature(net, *batch())
    assert all((h >= 0).all() for h in found.values())
    assert not found["0.weight"][2].any()
    assert not found["2.weight"][:, 2].any()
    assert found["0.weight"][[0, 1, 3, 4]].any()


def test_the_same_batch_twice_changes_nothing():
    net = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), nn.Linear(5, 4))
    inputs, targets = batch()
    once = backward_curvature(net, inputs, targets)
    twice = backward_curvature(net, inputs.repeat(2, 1), targets.repeat(2))
    torch.testing.assert_close(once, twice)


def test_the_second_derivatives_of_cross_entropy_are_those_of_the_softmax():
    outputs = torch.randn(5, 3)
    p = outputs.softmax(dim=1)
    expected = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    found = output_hessian(outputs, torch.tensor([0, 1, 2, 0, 1]), F.cross_entropy)
    torch.testing.assert_close(found, expected)


def test_the_batch_and_the_network_are_left_as_they_were():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 4))
    inputs, targets = batch()
    kept, before = inputs.clone(), net[1].weight.clone()
    backward_curvature(net, inputs, targets)
    assert torch.equal(inputs, kept)
    assert torch.equal(net[1].weight, before)
    assert net[1].weight.grad is None


@pytest.mark.parametrize(
    ("net", "inputs", "message"),
    [
        (
            nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),
            torch.zeros(2, 3),
            "must be a Sequential of plain layers, got .BatchNorm1d.*use hutchinson",
        ),
        (nn.Linear(3, 4), torch.zeros(2, 3), "must be a Sequential"),
        (nn.Sequential(nn.ReLU()), torch.zeros(2, 3), "no linear or convolutional"),
        (nn.Sequential(nn.Linear(3, 4)), torch.zeros(0, 3), "empty batch"),
        (
            nn.Sequential(nn.Conv2d(1, 2, 1)),
            torch.zeros(1, 1, 2, 2),
            "must be .N, C., got shape .1, 2, 2, 2.; end the model in nn.Flatten",
        ),
    ],
)
def test_what_it_cannot_go_back_through_is_named(net, inputs, message):
    with pytest.raises(ValueError, match=message):
        backward_curvature(net, inputs, torch.zeros(len(inputs)).long())
