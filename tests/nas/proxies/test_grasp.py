"""GraSP against the Hessian written out, closed forms, and small steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from effdl.nas.proxies.grad_norm import gradient_norms
from effdl.nas.proxies.grasp import flow_change, grasp_score
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


def test_score_is_minus_w_times_hessian_times_gradient():
    """The definition with the whole Hessian, entry by entry in two loops."""
    model, (x, y) = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 3)), batch()
    model, x = model.double(), x[:, 0, 0, :3].double()
    weights, loss_of = flat_loss(model, ("0.weight", "2.weight"), x, y)
    gradient = torch.autograd.functional.jacobian(loss_of, weights).tolist()
    hessian = torch.autograd.functional.hessian(loss_of, weights).tolist()
    expected = 0.0
    for j, weight in enumerate(weights.tolist()):
        for k, slope in enumerate(gradient):
            expected -= weight * hessian[j][k] * slope
    assert grasp_score(model, x, y) == pytest.approx(expected, rel=1e-10)


def test_every_weight_has_its_entry_of_the_hessian_vector_product():
    """The reference: PyTorch's own product, on a network with batch norm."""
    model, (x, y) = small_net().double(), batch()
    x = x.double()
    weights, loss_of = flat_loss(model, ("0.weight", "4.weight"), x, y)
    gradient = torch.autograd.functional.jacobian(loss_of, weights)
    _, product = torch.autograd.functional.hvp(loss_of, weights, gradient)
    found = torch.cat([s.flatten() for s in flow_change(model, x, y).values()])
    torch.testing.assert_close(found, -weights * product)


def test_for_a_quadratic_loss_it_is_minus_w_a_a_w():
    """L = w^T A w / 2, so g = A w, H = A; with A = ((2, 1), (1, 3)) and w = (1, -2).

    A w = (0, -5) and A A w = (-5, -15): entries 5 and -30, together -25.
    """
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[1.0, -2.0]])
    matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])

    def loss(_output: Tensor, w: Tensor) -> Tensor:
        return (w * (matrix @ w)).sum() / 2

    # the output for the two unit vectors is w itself, (2, 1)
    found = flow_change(
        model, torch.eye(2), torch.zeros(2), loss_fn=lambda out, _: loss(out, out)
    )
    assert found["weight"].tolist() == [[5.0, -30.0]]
    score = grasp_score(
        model, torch.eye(2), torch.zeros(2), loss_fn=lambda out, _: loss(out, out)
    )
    assert score == -25


def test_score_is_how_the_gradient_shrinks_as_all_weights_grow():
    """S = -1/2 d |g(t w)|^2 / dt at t = 1, by a small step each way."""
    model, (x, y) = smooth_net(), batch()
    x, step, squares = x.double(), 1e-4, []
    score = grasp_score(model, x, y)
    for factor in (1 + step, (1 - step) / (1 + step)):
        with torch.no_grad():
            model[0].weight *= factor
            model[3].weight *= factor
        norms = gradient_norms(model, x, y).values()
        squares.append(sum(norm.item() ** 2 for norm in norms))
    slope = (squares[0] - squares[1]) / (2 * step)
    assert score == pytest.approx(-slope / 2, rel=1e-5)


def test_before_batch_norm_it_is_the_squared_gradient_norm_of_the_layer():
    model, (x, y) = small_net().double(), batch()
    model[1].eps = 1e-12
    change = flow_change(model, x.double(), y)
    norms = gradient_norms(model, x.double(), y)
    expected = norms["0.weight"].item() ** 2
    assert change["0.weight"].sum().item() == pytest.approx(expected, rel=1e-6)
    last = change["4.weight"].sum().item()
    assert last != pytest.approx(norms["4.weight"].item() ** 2, rel=0.1)


def test_a_loss_times_c_scores_c_squared_times_as_much():
    model, (x, y) = small_net(), batch()
    scaled = grasp_score(model, x, y, loss_fn=lambda o, t: -3 * F.cross_entropy(o, t))
    assert scaled == pytest.approx(9 * grasp_score(model, x, y), rel=1e-4)


def test_repeating_the_batch_changes_nothing():
    model, (x, y) = small_net(), batch()
    once = grasp_score(model, x, y)
    twice = grasp_score(model, torch.cat((x, x)), torch.cat((y, y)))
    assert twice == pytest.approx(once, rel=1e-3)


def test_where_the_gradient_is_constant_nothing_changes():
    model, (x, y) = nn.Linear(2, 3), batch()
    loss = {"loss_fn": lambda out, _: out.mean()}
    assert grasp_score(model, x[:, 0, 0, :2], y, **loss) == 0


def test_it_may_be_negative():
    """L = w^2 for one weight: H g = 4 w, so S = -4 w^2."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, -3.0)
    x, y = torch.ones(1, 1), torch.zeros(1, 1)
    assert grasp_score(model, x, y, loss_fn=F.mse_loss) == -36


def test_model_comes_back_unchanged():
    assert_leaves_no_trace(lambda model: grasp_score(model, *batch()))


def test_works_where_gradients_are_switched_off():
    model, (x, y) = small_net(), batch()
    score = grasp_score(model, x, y)
    with torch.no_grad():
        assert grasp_score(model, x, y) == pytest.approx(score)


def test_only_connections_count():
    assert list(flow_change(small_net(), *batch())) == ["0.weight", "4.weight"]


def test_a_convolution_that_leads_nowhere_counts_0():
    x, y = torch.randn(4, 1, 12, 12), torch.randint(10, (4,))
    change = flow_change(dead_edge_net(), x, y)
    assert not at_edge(change, 0).any()
    assert at_edge(change, 3).any()
    assert grasp_score(disconnected_net(), x, y) == 0


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
        grasp_score(model, *batch(samples), loss_fn=loss_fn)
    assert_same(state(model), before)


def flat_loss(model, names, x, y):
    """Return the named weights as one vector, and the loss as its function."""
    parameters = dict(model.named_parameters())
    sizes = [parameters[name].numel() for name in names]

    def loss_of(vector: Tensor) -> Tensor:
        parts = vector.split(sizes)
        tensors = {
            n: part.view_as(parameters[n]) for n, part in zip(names, parts, strict=True)
        }
        return F.cross_entropy(functional_call(model, tensors, (x,)), y)

    return torch.cat([parameters[n].detach().flatten() for n in names]), loss_of
