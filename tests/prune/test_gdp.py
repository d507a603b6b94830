"""Gates with differentiable polarization: the gate, where gates stand, their price."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.measure.macs import count_macs
from effdl.measure.roofline import layer_costs
from effdl.nas.proxies.weights import connected_layers
from effdl.prune.gate_removal import remove_closed
from effdl.prune.gdp import (
    PolarizedLayer,
    gated_cost,
    gates_of,
    smoothed_gate,
    with_gates,
)


def test_a_gate_is_phi_squared_over_phi_squared_and_eps():
    phi = torch.randn(20, dtype=torch.float64)
    values = [p * p / (p * p + 0.3) for p in phi.tolist()]
    expected = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(smoothed_gate(phi, 0.3), expected)


def test_it_is_0_at_0_a_half_at_the_root_of_eps_and_the_same_for_both_signs():
    phi = torch.tensor([0.0, 0.2, -0.2, 1e6])
    torch.testing.assert_close(
        smoothed_gate(phi, 0.04), torch.tensor([0, 0.5, 0.5, 1.0])
    )


def test_as_eps_falls_the_sum_of_the_gates_becomes_the_number_that_is_not_0():
    phi = torch.tensor([0.0, 0.01, -0.3, 0.0, 2.0])
    sums = [smoothed_gate(phi, eps).sum().item() for eps in (1.0, 1e-2, 1e-4, 1e-9)]
    assert sums == sorted(sums)
    assert sums[-1] == pytest.approx(3, abs=1e-4)


def test_the_slope_is_0_at_0_largest_between_and_vanishes_far_away():
    """Its maximum is at the root of eps / 3."""
    phi = torch.linspace(0, 3, 3001, dtype=torch.float64, requires_grad=True)
    smoothed_gate(phi, 0.12).sum().backward()
    slope = phi.grad
    assert slope[0] == 0
    assert phi[slope.argmax()].item() == pytest.approx(0.2, abs=1e-3)
    assert slope[-1] < 0.01 * slope.max()


def test_a_layer_weighs_each_of_its_input_channels():
    for layer, x in (
        (nn.Linear(3, 2), torch.randn(5, 3)),
        (nn.Conv2d(3, 4, 3), torch.randn(5, 3, 6, 6)),
        (nn.Conv1d(3, 4, 3), torch.randn(5, 3, 6)),
    ):
        made = PolarizedLayer(layer, eps=0.5)
        with torch.no_grad():
            made.phi.copy_(torch.tensor([0.0, 1.0, -3.0]))
        g = torch.tensor([0.0, 1 / 1.5, 9 / 9.5])
        torch.testing.assert_close(made.gates(), g)
        expected = layer((x.transpose(1, -1) * g).transpose(1, -1))
        torch.testing.assert_close(made(x), expected)


def test_there_is_a_gate_for_each_channel_that_a_layer_reads_not_for_each_weight():
    """Layers 2 to 6 read 4, 4, 8, 8 and 16 channels; the network has 2,356 weights."""
    net = plain_net(4)
    gates = gates_of(with_gates(net))
    assert [len(g) for g in gates.values()] == [4, 4, 8, 8, 16]
    layers = connected_layers(net)
    assert list(gates) == list(layers)[1:]
    reads = [layer.weight.shape[1] for layer in layers.values()]
    assert sum(len(g) for g in gates.values()) == sum(reads[1:]) == 40
    assert sum(layer.weight.numel() for layer in layers.values()) == 2356


def test_gates_begin_open_all_alike():
    for gates in gates_of(with_gates(plain_mlp((4, 3, 2)), eps=0.25)).values():
        torch.testing.assert_close(gates, torch.full_like(gates, 0.8))
    assert with_gates(plain_mlp((4, 3, 2)))[3].eps == 0.1
    assert PolarizedLayer(nn.Linear(2, 2)).eps == 0.1


def test_the_network_that_is_given_is_left_as_it_is():
    net = plain_mlp((4, 3, 2))
    made = with_gates(net)
    assert not gates_of(net)
    made[3].layer.weight.data.zero_()
    assert net[3].weight.all()
    x = torch.randn(5, 4)
    torch.testing.assert_close(with_gates(net, eps=1e-9)(x), net(x))


def test_the_price_is_bilinear_in_the_open_shares_around_a_layer():
    """10 (1 * 1/2) + 6 (1/2 * 1/4) + 8 (1/4 * 1) = 7.75."""
    gates = {"b": torch.tensor([1.0, 0.0]), "c": torch.tensor([0.25])}
    costs = {"a": 10.0, "b": 6.0, "c": 8.0}
    assert gated_cost(gates, costs).item() == pytest.approx(7.75)
    only_last = gated_cost({"c": torch.tensor([0.25])}, costs)
    assert only_last.item() == pytest.approx(10 + 6 / 4 + 8 / 4)


def test_with_open_and_closed_gates_it_is_the_multiply_adds_of_what_is_left():
    net, x = with_gates(plain_net(4), eps=1e-30), torch.zeros(1, 1, 16, 16)
    costs = {c.name: c.macs for c in layer_costs(plain_net(4), x) if c.macs}
    assert gated_cost(gates_of(net), costs).item() == count_macs(plain_net(4), x).total
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, PolarizedLayer):
                layer.phi.copy_((torch.rand(len(layer.phi)) < 0.6).float())
                layer.phi[0] = 1
    left = gated_cost(gates_of(net), costs).item()
    assert left == pytest.approx(count_macs(remove_closed(net), x).total)
    assert left < sum(costs.values())


def test_every_gate_and_weight_gets_a_gradient_from_loss_and_price():
    net = with_gates(plain_net(2))
    net(torch.randn(8, 1, 16, 16)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    net.zero_grad()
    costs = dict.fromkeys(connected_layers(plain_net(2)), 1.0)
    gated_cost(gates_of(net), costs).backward()
    phis = [p for name, p in net.named_parameters() if name.endswith("phi")]
    assert len(phis) == 5
    assert all((phi.grad > 0).all() for phi in phis)


def test_what_has_no_place_for_gates_is_refused():
    with pytest.raises(ValueError, match="has gates already"):
        with_gates(with_gates(plain_mlp((4, 3, 2))))
    with pytest.raises(ValueError, match="2 groups"):
        PolarizedLayer(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ValueError, match="no linear or convolutional"):
        with_gates(nn.ReLU())
    for eps in (0.0, float("nan")):
        with pytest.raises(ValueError, match="eps must be above 0"):
            smoothed_gate(torch.ones(1), eps)
    with pytest.raises(ValueError, match=r"lacks \['2'\]"):
        gated_cost({"2": torch.ones(1)}, {"0": 1.0})
    with pytest.raises(ValueError, match="gates is empty"):
        gated_cost({}, {"0": 1.0})
