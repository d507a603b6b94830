"""Layers with gates on their weights or inputs, and back to ordinary ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.gated_layers import (
    GatedLayer,
    expected_l0,
    gate_masks,
    gated,
    input_gate,
    weight_gate,
    without_gates,
)
from effdl.prune.hard_concrete import HardConcreteGate
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept, weights_of


def scattered(model):
    """Return the model after its gates were moved, some below where they close."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, HardConcreteGate):
                module.log_alpha.normal_(std=3.0)
    return model


def test_a_layer_computes_with_its_weights_times_the_gates():
    layer, gate = nn.Linear(3, 2), HardConcreteGate((2, 3)).eval()
    with torch.no_grad():
        gate.log_alpha.copy_(torch.tensor([[9.0, -9.0, 0.0], [0.0, 9.0, -9.0]]))
    x = torch.randn(5, 3)
    z = torch.tensor([[1.0, 0.0, 0.5], [0.5, 1.0, 0.0]])
    expected = x @ (layer.weight * z).T + layer.bias
    torch.testing.assert_close(GatedLayer(layer, gate)(x), expected)


def test_a_convolution_keeps_its_stride_padding_and_missing_bias():
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
    gate = HardConcreteGate((4, 3, 3, 3), log_alpha=0.0).eval()
    x = torch.randn(2, 3, 8, 8)
    expected = F.conv2d(x, 0.5 * layer.weight, stride=2, padding=1)
    torch.testing.assert_close(GatedLayer(layer, gate)(x), expected)


def test_a_gate_on_an_input_is_a_gate_on_all_that_reads_it():
    """Zero the input or close its gate: the same."""
    layer = nn.Conv2d(3, 4, 3)
    gate = input_gate(layer).eval()
    assert gate.log_alpha.shape == (1, 3, 1, 1)
    with torch.no_grad():
        gate.log_alpha.copy_(torch.tensor([9.0, -9.0, 9.0]).view(1, 3, 1, 1))
    x = torch.randn(2, 3, 8, 8)
    silent = x.clone()
    silent[:, 1] = 0
    torch.testing.assert_close(GatedLayer(layer, gate)(x), layer(silent))
    assert input_gate(nn.Linear(5, 2)).log_alpha.shape == (1, 5)
    assert input_gate(nn.Conv1d(5, 2, 3)).log_alpha.shape == (1, 5, 1)
    assert weight_gate(layer).log_alpha.shape == (4, 3, 3, 3)


def test_the_expectation_counts_weights_whatever_shares_a_gate():
    """At log alpha 0 a gate is open with .8318; the network has 72,200 weights."""
    net = plain_mlp()
    for make_gate in (weight_gate, input_gate):
        counted = expected_l0(gated(net, make_gate)).item()
        assert counted == pytest.approx(0.83178 * 72_200, rel=1e-4)


def test_the_expectation_is_that_of_drawn_masks():
    layer = scattered(gated(nn.Linear(20, 10), input_gate))
    drawn = [
        (layer.gate().expand_as(layer.layer.weight) > 0).sum() for _ in range(2000)
    ]
    mean = torch.stack(drawn).float().mean().item()
    assert expected_l0(layer).item() == pytest.approx(mean, abs=2)


@pytest.mark.parametrize("make_gate", [weight_gate, input_gate])
def test_without_gates_the_network_computes_what_it_did_in_evaluation(make_gate):
    net = scattered(gated(plain_net(2), make_gate)).eval()
    plain = without_gates(net)
    x = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(plain(x), net(x))
    assert not any(isinstance(m, GatedLayer) for m in plain.modules())
    assert any(isinstance(m, GatedLayer) for m in net.modules())
    assert list(plain.state_dict()) == list(plain_net(2).state_dict())


def test_without_gates_in_training_mode_no_noise_is_frozen_in():
    net = gated(nn.Linear(30, 20)).train()
    plain = without_gates(net)
    torch.testing.assert_close(plain.weight, 0.5 * net.layer.weight)


def test_the_masks_are_where_the_weights_are_not_0_and_fit_the_plain_network():
    net = scattered(gated(plain_mlp((8, 5, 3)), weight_gate))
    plain, masks = without_gates(net), gate_masks(net)
    assert 0 < count_kept(masks).sparsity < 1
    for name, weight in weights_of(plain).items():
        assert torch.equal(masks[name], weight != 0)
    prune_(plain, masks)
    assert list(masks_of(plain)) == ["1.weight", "3.weight"]
    shared = gate_masks(scattered(gated(nn.Linear(6, 4), input_gate)))["weight"]
    assert shared.shape == (4, 6)
    assert (shared == shared[0]).all()


def test_the_network_that_is_given_is_left_as_it_is():
    net = plain_mlp((4, 3, 2))
    before = {name: p.clone() for name, p in net.state_dict().items()}
    made = scattered(gated(net))
    weights = made[1].layer.weight.clone()
    without_gates(made)
    assert all(torch.equal(before[name], p) for name, p in net.state_dict().items())
    assert torch.equal(made[1].layer.weight, weights)


def test_a_network_may_be_gated_again_when_its_gates_are_gone():
    net = without_gates(gated(nn.Linear(2, 2)))
    assert isinstance(gated(net), GatedLayer)


def test_every_weight_and_gate_gets_a_gradient():
    net = gated(plain_net(2))
    loss = net(torch.randn(8, 1, 16, 16)).square().mean() + 1e-4 * expected_l0(net)
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_of_two_inputs_the_useless_one_is_closed_and_the_useful_one_stays():
    net = gated(nn.Linear(2, 1, bias=False))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(400):
        x = torch.randn(64, 2)
        loss = (net(x) - x[:, :1]).square().mean() + 0.1 * expected_l0(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert gate_masks(net)["weight"].tolist() == [[True, False]]
    assert without_gates(net).weight[0, 0].item() == pytest.approx(1, abs=0.1)


def test_gates_cannot_be_put_where_they_do_not_fit():
    with pytest.raises(ValueError, match="does not expand to the weight's"):
        GatedLayer(nn.Linear(3, 2), HardConcreteGate((3,)))
    with pytest.raises(ValueError, match="does not expand to the weight's"):
        GatedLayer(nn.Linear(3, 2), HardConcreteGate((2, 2)))
    with pytest.raises(ValueError, match="2 groups"):
        input_gate(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ValueError, match="has gates already"):
        gated(gated(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="no linear or convolutional"):
        gated(nn.ReLU())
    with pytest.raises(ValueError, match="has no gates"):
        expected_l0(nn.Linear(2, 2))


def test_a_pruned_network_has_to_be_made_ordinary_first():
    net = nn.Linear(2, 2)
    prune_(net, {"weight": torch.eye(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="undo the weight norm or parametrization"):
        gated(net)
