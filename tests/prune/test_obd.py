"""The saliency of optimal brain damage, and two of the three ways to its curvature."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.proxies.weights import connection_weights
from effdl.prune.loss_increase import weight_increases
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.obd import exact_curvature, hutchinson_curvature, obd_scores


def small_net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def fitted_batch(net, samples=12):
    """Return inputs, and as targets what the network puts out: a minimum at 0."""
    inputs = torch.randn(samples, 3)
    return inputs, net(inputs).detach()


def hessian_diagonals(net, inputs, targets, loss_fn):
    """Return the diagonal by torch's own Hessian, weight by weight."""
    found = {}
    for name, weight in connection_weights(net).items():

        def loss(flat, name=name, weight=weight):
            outputs = torch.func.functional_call(
                net, {name: flat.view_as(weight)}, inputs
            )
            return loss_fn(outputs, targets)

        hessian = torch.autograd.functional.hessian(loss, weight.detach().flatten())
        found[name] = hessian.diagonal().view_as(weight)
    return found


def test_exact_curvature_is_the_diagonal_of_torchs_hessian():
    net, inputs, targets = small_net(), torch.randn(9, 3), torch.randint(2, (9,))
    expected = hessian_diagonals(net, inputs, targets, F.cross_entropy)
    torch.testing.assert_close(exact_curvature(net, inputs, targets), expected)


def test_only_the_named_weights_are_looked_at():
    net, (inputs, targets) = small_net(), (torch.randn(9, 3), torch.randint(2, (9,)))
    some = exact_curvature(net, inputs, targets, names=["2.weight"])
    assert list(some) == ["2.weight"]
    every = exact_curvature(net, inputs, targets)
    torch.testing.assert_close(some["2.weight"], every["2.weight"])


def test_a_weight_of_2_under_an_input_of_3_costs_36():
    """L = (w x)^2, h = 2 x^2 = 18, s = 18 w^2 / 2 = 36, and L itself is 36 at w = 2."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.constant_(net[0].weight, 2.0)
    inputs, targets = torch.full((1, 1), 3.0), torch.full((1, 1), 0.0)
    scores = obd_scores(net, inputs, targets, loss_fn=F.mse_loss)
    assert scores["0.weight"].item() == 36


def test_on_a_quadratic_with_a_diagonal_hessian_it_is_the_exact_increase():
    """Inputs are unit vectors, scaled: no two weights meet in the loss."""
    net = nn.Linear(5, 1, bias=False)
    inputs = torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5]))
    targets = net(inputs).detach()
    options = {"loss_fn": F.mse_loss}
    scores = obd_scores(net, inputs, targets, curvature_of=exact_curvature, **options)
    increases = weight_increases(net, inputs, targets, **options)
    torch.testing.assert_close(scores, increases)


def test_with_curvature_alike_for_all_the_order_is_that_of_the_magnitudes():
    net = nn.Linear(6, 1, bias=False)
    inputs = torch.eye(6) * 2
    targets = net(inputs).detach()
    scores = obd_scores(
        net, inputs, targets, loss_fn=F.mse_loss, curvature_of=exact_curvature
    )
    order = magnitude_scores(net)["weight"].flatten().argsort()
    assert torch.equal(scores["weight"].flatten().argsort(), order)


def test_hutchinsons_estimate_is_exact_where_the_hessian_is_diagonal():
    net = nn.Linear(5, 1, bias=False)
    inputs, targets = torch.diag(torch.arange(1.0, 6)), torch.zeros(5, 1)
    exact = exact_curvature(net, inputs, targets, loss_fn=F.mse_loss)
    once = hutchinson_curvature(net, inputs, targets, loss_fn=F.mse_loss, draws=1)
    torch.testing.assert_close(once, exact)


def test_its_error_falls_like_one_over_the_root_of_the_draws():
    net, inputs, targets = small_net(), torch.randn(9, 3), torch.randint(2, (9,))
    exact = exact_curvature(net, inputs, targets)

    def error(draws):
        squares = []
        for _ in range(60):
            found = hutchinson_curvature(net, inputs, targets, draws=draws)
            squares += [(found[n] - exact[n]).square().sum() for n in exact]
        return torch.stack(squares).mean().sqrt().item()

    assert error(4) / error(64) == pytest.approx(4, rel=0.25)


def test_the_way_to_the_curvature_is_exchanged_by_passing_another():
    net, inputs, targets = small_net(), torch.randn(9, 3), torch.randint(2, (9,))
    few = partial(hutchinson_curvature, draws=2)
    torch.manual_seed(1)
    scores = obd_scores(net, inputs, targets, curvature_of=few)
    torch.manual_seed(1)
    curvature = few(net, inputs, targets)
    for name, weight in connection_weights(net).items():
        torch.testing.assert_close(scores[name], curvature[name] * weight**2 / 2)


def test_the_network_is_left_as_it_was():
    net, inputs, targets = small_net(), torch.randn(9, 3), torch.randint(2, (9,))
    before = {name: p.clone() for name, p in net.named_parameters()}
    for way in (exact_curvature, hutchinson_curvature):
        obd_scores(net, inputs, targets, curvature_of=way)
    torch.testing.assert_close(dict(net.named_parameters()), before)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["4.weight"]}, "names has .'4.weight'.; weights are"),
        ({"inputs": torch.zeros(0, 3)}, "inputs is an empty batch"),
        ({"inputs": torch.full((9, 3), torch.nan)}, "finite scalar, got nan"),
    ],
)
def test_what_cannot_be_is_named(change, message):
    given = {"inputs": torch.randn(9, 3), "targets": torch.randint(2, (9,))} | change
    with pytest.raises(ValueError, match=message):
        exact_curvature(small_net(), **given)


def test_no_draws_and_a_weight_that_is_nan_are_refused():
    net, inputs, targets = small_net(), torch.randn(9, 3), torch.randint(2, (9,))
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        hutchinson_curvature(net, inputs, targets, draws=0)
    net[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite scalar, got nan"):
        hutchinson_curvature(net, inputs, targets)
