"""The dense supernet: along one route it is the network of that route."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import small_digits
from effdl.measure.macs import torch_flops
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.search import Rates, search
from effdl.nas.hardware.dense_net import RoutedNet, route_architecture
from effdl.nas.hardware.dense_routes import all_routes, chained_cost

WIDTHS = (4, 4, 6, 8)


def along(net, route):
    """Return the weights of one route: 1 for its transitions."""
    weights = torch.zeros(len(net.targets), max(map(len, net.targets)))
    for a, b in itertools.pairwise(route):
        weights[a, net.targets[a].index(b)] = 1.0
    return weights


def own_network(net, route):
    """Return the chain of stem, blocks and transitions of a route, same modules."""
    layers = [net.stem, net.blocks[route[0]]]
    for a, b in itertools.pairwise(route):
        layers += [net.entries[a][net.targets[a].index(b)], net.blocks[b]]
    return nn.Sequential(*layers, net.head)


@pytest.mark.parametrize("route", [(0, 1, 2, 3), (0, 2, 3), (0, 1, 3)])
def test_a_route_is_its_network_exactly_and_at_its_cost(route):
    net = RoutedNet(WIDTHS, reach=2)
    weights, x = along(net, route), torch.randn(4, 1, 12, 12)
    own = own_network(net, route)
    assert torch.equal(net(x, weights), own(x))
    one = torch.randn(1, 1, 12, 12)
    assert torch_flops(net, (one, weights)) == torch_flops(own, one)


@pytest.mark.parametrize("route", [(0, 1, 2, 3), (0, 2, 3), (0, 1, 3)])
def test_the_cost_of_a_route_is_counted(route):
    """Beyond stem and classifier, which every route has."""
    net = RoutedNet(WIDTHS, reach=2)
    cost = chained_cost(along(net, route), net.targets, *net.costs(6))
    fixed = torch_flops(nn.Sequential(net.stem), torch.zeros(1, 1, 12, 12))
    fixed += torch_flops(net.head, torch.zeros(1, 8, 6, 6))
    whole = torch_flops(own_network(net, route), torch.zeros(1, 1, 12, 12))
    assert 2 * cost.item() == whole - fixed


def test_a_mixture_by_hand():
    """Block 2 reads .5 of what block 1 sends and .25 of what block 0 sends."""
    net = RoutedNet((4, 4, 6), reach=2)
    x = torch.randn(4, 1, 12, 12)
    y0 = net.blocks[0](net.stem(x))
    y1 = net.blocks[1](0.75 * net.entries[0][0](y0))
    read = 0.25 * net.entries[0][1](y0) + 0.5 * net.entries[1][0](y1)
    wanted = net.head(net.blocks[2](read))
    found = net(x, torch.tensor([[0.75, 0.25], [0.5, 0.0]]))
    torch.testing.assert_close(found, wanted)


def test_weights_beyond_the_targets_are_ignored():
    net, x = RoutedNet((4, 4, 6), reach=2), torch.randn(4, 1, 12, 12)
    first = net(x, torch.tensor([[0.75, 0.25], [0.5, 0.0]]))
    assert torch.equal(first, net(x, torch.tensor([[0.75, 0.25], [0.5, 9.0]])))


def test_what_runs_can_be_named():
    net, x = RoutedNet((4, 4, 6), reach=2), torch.randn(4, 1, 12, 12)
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    net(x, weights).square().sum().backward()
    assert weights.grad[0, 1] == 0
    weights.grad = None
    y = net(x, weights, [[0, 1], [0]])
    assert torch.equal(y, net(x, weights))
    y.square().sum().backward()
    assert weights.grad[0, 1] != 0


def test_batch_norms_use_the_batch_at_hand():
    net, x = RoutedNet(WIDTHS, reach=2), torch.randn(4, 1, 12, 12)
    weights = along(net, (0, 1, 2, 3))
    assert torch.equal(net(x, weights), net.eval()(x, weights))
    assert net.blocks[0][1].weight is None
    assert net.entries[0][0][1].weight is None


def test_every_weight_learns_in_a_mixture():
    net = RoutedNet(WIDTHS, reach=2)
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 10
    F.cross_entropy(net(x, torch.full((3, 2), 0.5)), y).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def cost_after_a_search(price):
    """Return the mean cost of a route, of weights searched at a price per log cost."""
    digits = small_digits(n_train=200, n_validation=200)
    parts = [split.batches(50, seed=0) for split in digits[:2]]
    torch.manual_seed(0)
    net = RoutedNet(WIDTHS, reach=2)
    found, costs = route_architecture(net), net.costs(6)

    def priced(loss, weights, _searching):
        return loss + price * chained_cost(weights, net.targets, *costs).log()

    rates = Rates(weights=0.05, architecture=0.1)
    method = Method(objective=priced)
    done = search(net, found, *parts, epochs=3, method=method, rates=rates)
    return chained_cost(done[-1].weights, net.targets, *costs).item()


def test_the_loop_of_the_other_methods_searches_and_a_price_shortens_the_route():
    assert cost_after_a_search(1.0) < cost_after_a_search(0.0)


def test_candidates_are_named_by_their_targets():
    net = RoutedNet(WIDTHS, reach=2)
    assert route_architecture(net).candidates == (("1", "2"), ("2", "3"), ("3",))
    assert len(list(all_routes(net.targets))) == 3


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="blocks must be at least 2"):
        RoutedNet((8,))
    with pytest.raises(ValueError, match="x must be"):
        RoutedNet(WIDTHS)(torch.zeros(12, 12), torch.ones(3, 3))
