"""After each step: small gates close, and eps falls."""

import pytest
import torch
from torch import nn

from effdl.prune.gdp import PolarizedLayer, gated_cost, gates_of, with_gates
from effdl.prune.gdp_training import close_small_, polarize
from effdl.train import fit


def layer_with(phi, **options):
    """Return a layer whose gates have these phi."""
    layer = PolarizedLayer(nn.Linear(len(phi), 1, bias=False), **options)
    with torch.no_grad():
        layer.phi.copy_(torch.tensor(phi))
    return layer


@pytest.mark.parametrize("amount", [0.0, 0.02, 0.7])
def test_closing_minimises_distance_and_price_over_a_fine_grid(amount):
    values = [-1.7, -0.35, -0.1, 0.0, 0.15, 0.21, 0.9, 1.3]
    grid = torch.cat([torch.zeros(1), torch.linspace(-2, 2, 401)])
    best = []
    for value in values:
        price = 0.5 * (grid - value) ** 2 + amount * (grid != 0)
        best.append(grid[price.argmin()].item())
    layer = layer_with(values)
    close_small_(layer, amount)
    torch.testing.assert_close(
        layer.phi.detach(), torch.tensor(best), atol=1e-5, rtol=0
    )


def test_a_gate_closes_at_the_root_of_twice_the_amount():
    """The root of .04 is .2; what is larger is left exactly as it was."""
    layer = layer_with([0.199, -0.199, 0.201, -0.9])
    close_small_(layer, 0.02)
    torch.testing.assert_close(
        layer.phi.detach(), torch.tensor([0.0, 0.0, 0.201, -0.9]), rtol=0, atol=0
    )


def test_all_gates_of_a_network_are_reached_and_nothing_else():
    net = with_gates(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2)))
    weights = [net[0].weight.clone(), net[1].layer.weight.clone()]
    close_small_(net, 0.6)
    assert all((gates == 0).all() for gates in gates_of(net).values())
    assert len(gates_of(net)) == 2
    assert torch.equal(net[0].weight, weights[0])
    assert torch.equal(net[1].layer.weight, weights[1])


def test_a_closed_gate_has_no_gradient_and_stays_closed():
    layer = layer_with([0.0, 1.0])
    layer(torch.ones(1, 2)).sum().backward()
    assert layer.phi.grad[0] == 0
    assert layer.phi.grad[1] != 0


def test_eps_falls_by_the_same_factor_in_every_step_and_then_stays():
    layer = layer_with([1.0])
    after_step = polarize(layer, steps=3, amount=0.0)
    seen = []
    for _ in range(5):
        after_step()
        seen.append(layer.eps)
    assert seen == pytest.approx([1e-2, 1e-3, 1e-4, 1e-4, 1e-4])
    given = polarize(layer, steps=2, amount=0.0, eps=lambda done: 1 - done / 2)
    given()
    assert layer.eps == 0.75


def test_every_step_closes_what_is_small_by_then():
    layer = layer_with([0.3, 0.1])
    after_step = polarize(layer, steps=4, amount=0.02)
    after_step()
    assert layer.phi.tolist() == pytest.approx([0.3, 0.0])
    layer.phi.data[0] = 0.15
    after_step()
    assert layer.phi.tolist() == [0.0, 0.0]


def test_useful_inputs_stay_open_useless_ones_close_and_none_is_between():
    net = with_gates(nn.Sequential(nn.Identity(), nn.Linear(8, 8), nn.Linear(8, 1)))
    net[1].weight.data.copy_(torch.eye(8))
    net[1].requires_grad_(requires_grad=False)
    nn.init.constant_(net[2].layer.weight, 0.5)
    batches = []
    for _ in range(20):
        x = torch.randn(64, 8)
        batches.append((x, x[:, :3].sum(dim=1, keepdim=True)))
    trained = [p for p in net.parameters() if p.requires_grad]
    costs = {"1": 0.0, "2": 1.0}

    def loss_of(x, y):
        return (net(x) - y).square().mean() + gated_cost(gates_of(net), costs)

    fit(
        net,
        loss_of,
        batches,
        torch.optim.SGD(trained, lr=0.3),
        epochs=15,
        after_step=polarize(net, steps=300, amount=1e-3),
    )
    gates = gates_of(net)["2"]
    assert (gates[:3] > 0.99).all()
    assert (gates[3:] == 0).all()


def test_numbers_out_of_range_are_refused():
    for amount in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="amount must be 0 or more"):
            close_small_(layer_with([1.0]), amount)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        polarize(layer_with([1.0]), steps=0, amount=0.1)
