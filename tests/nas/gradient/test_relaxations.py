"""Relaxations: the softmax shares, the sigmoid decides on each alone."""

import math

import pytest
import torch

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.relaxations import sigmoid_weights, softmax_weights

NAMES = ("none", "skip", "conv")
BOTH = pytest.mark.parametrize("relax", [softmax_weights, sigmoid_weights])


def architecture_with(*rows):
    architecture = Architecture([NAMES] * len(rows))
    architecture.logits.data = torch.tensor(rows)
    return architecture


def test_the_softmax_is_exponentials_over_their_sum():
    architecture = architecture_with([0.3, -1.2, 2.0], [0.0, 5.0, 1.0])
    weights = softmax_weights(architecture)
    for row, logits in zip(weights, architecture.logits, strict=True):
        powers = [math.exp(a) for a in logits.tolist()]
        expected = torch.tensor([power / sum(powers) for power in powers])
        torch.testing.assert_close(row, expected)


def test_weights_by_hand():
    """Exponentials 1, 3, 4 of 8. And 1 / (1 + 1/3) = 3/4."""
    architecture = architecture_with([0.0, math.log(3), math.log(4)])
    expected = torch.tensor([[1 / 8, 3 / 8, 4 / 8]])
    torch.testing.assert_close(softmax_weights(architecture), expected)
    expected = torch.tensor([[1 / 2, 3 / 4, 4 / 5]])
    torch.testing.assert_close(sigmoid_weights(architecture), expected)


def test_the_derivative_of_the_softmax_shares_and_that_of_the_sigmoid_does_not():
    """Of w_k to a_l: w_k (delta_kl - w_l). Under a sigmoid w_k (1 - w_k), k = l."""
    for relax in (softmax_weights, sigmoid_weights):
        architecture = architecture_with([0.4, -0.7, 1.1], [0.0, 0.0, 0.0])
        w = relax(architecture)
        for k in range(3):
            (gradient,) = torch.autograd.grad(
                w[0, k], architecture.logits, retain_graph=True
            )
            delta = torch.eye(3)[k]
            shared = w[0, k] * (delta - w[0])
            alone = w[0, k] * (1 - w[0, k]) * delta
            expected = shared if relax is softmax_weights else alone
            torch.testing.assert_close(gradient[0], expected)
            assert not gradient[1].any()


def test_under_a_softmax_one_rises_if_others_fall():
    before = architecture_with([0.0, 0.0, 0.0])
    after = architecture_with([0.0, 0.0, 2.0])
    change = softmax_weights(after) - softmax_weights(before)
    assert change[0, 2] > 0 > change[0, 0]
    assert abs(change.sum().item()) < 1e-6
    change = sigmoid_weights(after) - sigmoid_weights(before)
    assert change[0, 2] > 0
    assert not change[0, :2].any()


def test_a_softmax_does_not_see_a_shift_and_a_sigmoid_does():
    a, b = architecture_with([0.1, 0.5, -0.3]), architecture_with([3.1, 3.5, 2.7])
    torch.testing.assert_close(softmax_weights(a), softmax_weights(b))
    assert (sigmoid_weights(b) - sigmoid_weights(a) > 0.3).all()


def test_all_weights_of_a_sigmoid_can_be_near_one():
    assert sigmoid_weights(architecture_with([9.0, 9.0, 9.0])).min() > 0.999


@BOTH
def test_what_is_inactive_weighs_exactly_nothing_and_does_not_learn(relax):
    architecture = architecture_with([0.4, -0.7, 1.1], [0.0, 0.0, 0.0])
    architecture.keep_(0, ["none", "conv"])
    weights = relax(architecture)
    assert weights[0, 1] == 0
    assert (weights[1] > 0).all()
    (weights * torch.randn(2, 3)).sum().backward()
    gradient = architecture.logits.grad
    assert gradient[0, 1] == 0
    assert gradient[0, 0] != 0
    assert gradient.isfinite().all()


def test_what_is_left_of_a_softmax_shares_one():
    architecture = architecture_with([0.0, 7.0, math.log(3)])
    architecture.keep_(0, ["none", "conv"])
    expected = torch.tensor([[0.25, 0.0, 0.75]])
    torch.testing.assert_close(softmax_weights(architecture), expected)


@BOTH
def test_nothing_is_drawn_and_progress_changes_nothing(relax):
    architecture = architecture_with([0.4, -0.7, 1.1])
    assert torch.equal(relax(architecture, 0.0), relax(architecture, 0.9))


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_named(relax, bad):
    architecture = architecture_with([0.0, 0.0, 0.0], [0.0, bad, 0.0])
    with pytest.raises(ValueError, match=r"logits of edge 1 are .*must be finite"):
        relax(architecture)
