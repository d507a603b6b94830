"""Gates fold into the weights behind them, and closed ones go with their channels."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.measure.count import parameter_count
from effdl.prune.gate_removal import fold_gates, remove_closed
from effdl.prune.gdp import PolarizedLayer, gates_of, with_gates


def scattered(model, share=0.5):
    """Return the gated copy with random gates, some closed, and lived-in norms."""
    net = with_gates(model)
    kinds = PolarizedLayer, nn.BatchNorm2d
    gated, norms = ([m for m in net.modules() if isinstance(m, k)] for k in kinds)
    for layer in gated:
        layer.phi.data.normal_()
        layer.phi.data[torch.rand(len(layer.phi)) < share] = 0
        layer.phi.data[-1] = 0.3
    for norm in norms:
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.5, 2)
    return net.eval()


NETS = {
    "chain with norms": (lambda: plain_net(4), (3, 1, 16, 16)),
    "linear chain": (lambda: plain_mlp((10, 8, 8, 3)), (3, 10)),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(2, 6, 3), nn.ReLU(), nn.Conv1d(6, 4, 3)),
        (3, 2, 9),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_folding_changes_no_output(name):
    make, shape = NETS[name]
    net, x = scattered(make()), torch.randn(shape)
    folded = fold_gates(net)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-5, atol=1e-5)
    assert list(folded.state_dict()) == list(make().state_dict())


def test_a_weight_is_multiplied_by_the_gate_of_its_input():
    """Phi = 1, 2 with eps = 1: gates 1/2 and 4/5."""
    net = with_gates(nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1)), eps=1.0)
    net[1].phi.data.copy_(torch.tensor([1.0, 2.0]))
    net[1].layer.weight.data.copy_(torch.tensor([[10.0, 10.0]]))
    assert fold_gates(net)[1].weight.tolist() == [[5.0, 8.0]]


@pytest.mark.parametrize("name", NETS)
def test_removing_closed_gates_changes_no_output(name):
    make, shape = NETS[name]
    net, x = scattered(make()), torch.randn(shape)
    smaller = remove_closed(net)
    torch.testing.assert_close(smaller(x), net(x), rtol=1e-5, atol=1e-5)
    assert parameter_count(smaller) < parameter_count(make())


def test_what_is_left_is_an_ordinary_dense_network_of_fewer_channels():
    net = scattered(plain_net(8))
    smaller = remove_closed(net)
    left = [int((gates > 0).sum()) for gates in gates_of(net).values()]
    kinds = {type(m) for m in smaller.modules()}
    assert PolarizedLayer not in kinds
    convs = [m for m in smaller.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in smaller.modules() if isinstance(m, nn.BatchNorm2d)]
    linear = smaller[-1]
    assert [conv.out_channels for conv in convs] == left
    assert [conv.in_channels for conv in convs] == [1, *left[:-1]]
    assert [norm.num_features for norm in norms] == left
    assert (linear.in_features, linear.out_features) == (left[-1], 10)
    for conv, shape in zip(convs, zip(left, [1, *left[:-1]], strict=True), strict=True):
        assert tuple(conv.weight.shape[:2]) == shape
        assert (conv.weight != 0).all()
    assert linear.weight.shape == (10, left[-1])
    assert sum(left) < 8 * 10


def test_the_smaller_network_can_be_trained():
    smaller = remove_closed(scattered(plain_net(4))).train()
    smaller(torch.randn(8, 1, 16, 16)).square().mean().backward()
    assert all(p.grad is not None for p in smaller.parameters())
    assert all(p.is_leaf for p in smaller.parameters())


def test_open_gates_take_nothing_away():
    net = with_gates(plain_net(2))
    shapes = {name: p.shape for name, p in plain_net(2).named_parameters()}
    found = {name: p.shape for name, p in remove_closed(net).named_parameters()}
    assert found == shapes


def test_the_gated_network_is_left_as_it_is():
    net = scattered(plain_net(2))
    before = {name: p.clone() for name, p in net.state_dict().items()}
    remove_closed(net)
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_biases_of_removed_channels_go_too():
    net = with_gates(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)))
    net[0].bias.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    net[1].phi.data.copy_(torch.tensor([1.0, 0.0, 1.0]))
    assert remove_closed(net)[0].bias.tolist() == [1.0, 3.0]


def test_a_layer_without_an_open_gate_is_named():
    net = with_gates(plain_mlp((4, 3, 2)))
    net[3].phi.data.zero_()
    with pytest.raises(ValueError, match="all gates before layer 3 are closed"):
        remove_closed(net)


def test_what_is_no_chain_of_channels_is_refused():
    """Each of the 2 channels becomes 4 inputs of the linear layer, with a gate each."""
    chain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    net = with_gates(chain)
    net(torch.randn(1, 1, 4, 4))
    with pytest.raises(ValueError, match="0 has 2 outputs, but what follows has 8"):
        remove_closed(net)
