"""The mixed operation: a weighted sum, its derivative, and what runs for it."""

import math

import pytest
import torch
from torch import nn

from effdl.nas.cell_net import operation
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.darts_operations import Zero
from effdl.nas.gradient.mixed import MixedOperation, running


def edge_of(**candidates):
    """Return a mixed operation and a list that grows by a number when one runs."""
    mixed, ran = MixedOperation(candidates), []
    for number, module in enumerate(mixed.candidates.values()):
        module.register_forward_hook(lambda *_, k=number: ran.append(k))
    return mixed, ran


def five_operations(channels=4):
    modules = {
        name: Zero() if name == "none" else operation(name, channels)
        for name in OPERATIONS
    }
    return edge_of(**modules)


def test_it_is_the_sum_of_all_candidates_times_their_weights():
    mixed, _ = five_operations()
    x, weights = torch.randn(2, 4, 6, 6), torch.rand(5)
    expected = torch.zeros_like(x)
    for k, name in enumerate(OPERATIONS):
        expected += weights[k] * mixed.candidates[name](x)
    torch.testing.assert_close(mixed(x, weights), expected)


def test_a_sum_by_hand():
    """0.5 (-1, 2) + 0.25 (0, 2) = (-0.5, 1.5)."""
    mixed, _ = edge_of(skip=nn.Identity(), relu=nn.ReLU())
    y = mixed(torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 0.25]))
    assert y.tolist() == [-0.5, 1.5]


def test_the_derivative_to_a_logit_is_its_share_of_what_it_changes():
    """Equation 7: d x_j / d alpha_k = p_k (o_k(x) - x_j); also by differences."""
    mixed, _ = five_operations()
    mixed.double()
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    alpha = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def node(logits):
        return mixed(x, logits.softmax(dim=0))

    found = torch.autograd.functional.jacobian(node, alpha)
    p, y = alpha.softmax(dim=0), node(alpha)
    for k, name in enumerate(OPERATIONS):
        closed = p[k] * (mixed.candidates[name](x) - y)
        torch.testing.assert_close(found[..., k], closed)
        step = torch.zeros_like(alpha)
        step[k] = 1e-6
        difference = (node(alpha + step) - node(alpha - step)) / 2e-6
        torch.testing.assert_close(found[..., k], difference, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("k", range(5))
def test_a_one_hot_weight_is_the_candidate_itself_and_nothing_else_runs(k):
    mixed, ran = five_operations()
    x = torch.randn(2, 4, 6, 6)
    y = mixed(x, torch.eye(5)[k])
    assert ran == [k]
    assert torch.equal(y, mixed.candidates[OPERATIONS[k]](x))


def test_the_limit_of_large_logits_is_one_candidate():
    mixed, _ = five_operations()
    x = torch.randn(2, 4, 6, 6)
    weights = (30 * torch.eye(5)[3]).softmax(dim=0)
    torch.testing.assert_close(mixed(x, weights), mixed.candidates[OPERATIONS[3]](x))


def test_equal_logits_are_the_mean():
    mixed, _ = five_operations()
    x = torch.randn(2, 4, 6, 6)
    mean = torch.stack([module(x) for module in mixed.candidates.values()]).mean(dim=0)
    torch.testing.assert_close(mixed(x, torch.zeros(5).softmax(dim=0)), mean)


def test_a_weight_that_is_not_zero_makes_a_candidate_run_however_small():
    mixed, ran = edge_of(skip=nn.Identity(), relu=nn.ReLU(), tanh=nn.Tanh())
    mixed(torch.ones(3), torch.tensor([-0.5, 0.0, 1e-30]))
    assert ran == [0, 2]


def test_zeros_beside_others_need_not_run():
    mixed, ran = edge_of(none=Zero(), skip=nn.Identity(), relu=nn.ReLU())
    x = torch.randn(1, 1, 2, 2)
    y = mixed(x, torch.tensor([0.5, 0.5, 0.0]))
    assert ran == [1]
    assert torch.equal(y, 0.5 * x)


def test_zeros_alone_have_the_shape_of_the_input_and_a_gradient_of_zero():
    mixed, ran = edge_of(none=Zero(), skip=nn.Identity())
    weights = torch.tensor([1.0, 0.0], requires_grad=True)
    y = mixed(torch.ones(1, 2, 3, 3), weights)
    y.sum().backward()
    assert ran == [0]
    assert torch.equal(y, torch.zeros(1, 2, 3, 3))
    assert weights.grad.tolist() == [0.0, 0.0]


def test_a_candidate_that_is_named_runs_at_weight_zero_and_has_a_gradient():
    """Of <v, y> to w_k it is <v, o_k(x)>, or 0 if k did not run. The value stays."""
    mixed, ran = edge_of(skip=nn.Identity(), relu=nn.ReLU(), tanh=nn.Tanh())
    x, v = torch.randn(4), torch.randn(4)
    weights = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    y = mixed(x, weights, [1, 2])
    assert ran == [1, 2]
    assert torch.equal(y, x.relu())
    (y * v).sum().backward()
    expected = torch.stack([torch.tensor(0.0), v @ x.relu(), v @ x.tanh()])
    torch.testing.assert_close(weights.grad, expected)


def test_weights_beyond_the_candidates_are_ignored():
    mixed, ran = edge_of(skip=nn.Identity(), relu=nn.ReLU())
    x = torch.randn(4)
    torch.testing.assert_close(mixed(x, torch.tensor([0.0, 1.0, 9.0])), x.relu())
    assert ran == [1]


def test_what_runs_is_read_off_all_edges():
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.2, 0.0, -0.1]])
    assert running(weights) == [[1], [0, 2]]


def test_gradients_reach_the_input_and_every_weight():
    mixed, _ = five_operations()
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    mixed(x, torch.full((5,), 0.2)).square().sum().backward()
    assert x.grad.abs().min() > 0
    assert all(p.grad is not None for p in mixed.parameters())


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ([1.0], r"weights must be \(2,\), one for each candidate, got \(1,\)"),
        ([0.0, 0.0], r"no candidate of \['skip', 'relu'\] has a weight other than 0"),
        ([0.0, 0.0, 1.0], "leave at least one active"),
    ],
)
def test_weights_that_leave_nothing_are_named(weights, complaint):
    mixed, _ = edge_of(skip=nn.Identity(), relu=nn.ReLU())
    with pytest.raises(ValueError, match=complaint):
        mixed(torch.ones(2), torch.tensor(weights))


def test_an_empty_set_of_operations_is_refused():
    with pytest.raises(ValueError, match="candidates is empty; give an edge at least"):
        MixedOperation({})
    mixed, _ = edge_of(skip=nn.Identity())
    with pytest.raises(ValueError, match="no candidate"):
        mixed(torch.ones(2), torch.tensor([1.0]), [])


def test_weights_that_are_not_numbers_are_not_hidden():
    mixed, _ = edge_of(skip=nn.Identity())
    assert math.isnan(mixed(torch.ones(1), torch.tensor([math.nan])).item())
