"""Other modules in the place of some, in a copy."""

import torch
from torch import nn

from effdl.prune.swap import swapped


def test_every_module_of_the_kind_is_replaced_at_any_depth():
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    made = swapped(net, nn.ReLU, lambda _: nn.Tanh())
    kinds = [type(m).__name__ for m in made.modules()]
    assert kinds == ["Sequential", "Tanh", "Sequential", "Linear", "Tanh"]


def test_the_network_itself_is_left_alone_and_shares_no_parameter_with_the_copy():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    made = swapped(net, nn.Linear, lambda layer: nn.Sequential(layer))
    assert isinstance(net[0], nn.Linear)
    made[0][0].weight.data.zero_()
    assert net[0].weight.all()


def test_the_network_may_be_of_the_kind_itself():
    layer = nn.Linear(2, 2)
    made = swapped(layer, nn.Linear, lambda inner: nn.Sequential(inner))
    assert isinstance(made, nn.Sequential)
    torch.testing.assert_close(made(torch.ones(1, 2)), layer(torch.ones(1, 2)))


def test_a_module_at_two_places_is_replaced_once():
    shared = nn.Linear(2, 2)
    calls = []
    net = nn.Sequential(shared, nn.ReLU(), shared)

    def wrap(layer):
        calls.append(layer)
        return nn.Sequential(layer)

    made = swapped(net, nn.Linear, wrap)
    assert len(calls) == 1
    assert made[0] is made[2]


def test_a_shared_container_is_gone_through_once():
    shared = nn.Sequential(nn.Linear(2, 2))
    made = swapped(nn.Sequential(shared, shared), nn.Linear, lambda m: nn.Sequential(m))
    assert made[0] is made[1]
    assert isinstance(made[0][0][0], nn.Linear)


def test_a_submodule_that_is_none_stays_none():
    net = nn.Sequential(nn.ReLU())
    net.register_module("missing", None)
    assert swapped(net, nn.ReLU, lambda _: nn.Tanh()).missing is None


def test_nothing_is_replaced_inside_of_what_replaces():
    net = nn.Sequential(nn.Linear(2, 2))
    made = swapped(net, nn.Linear, lambda _: nn.Sequential(nn.Linear(2, 3)))
    assert isinstance(made[0], nn.Sequential)
    assert made[0][0].out_features == 3


def test_nothing_is_replaced_inside_of_what_is_of_the_kind():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    made = swapped(net, nn.Sequential, lambda outer: outer[0])
    assert isinstance(made, nn.Sequential)
    assert isinstance(made[0], nn.Linear)


def test_several_kinds_may_be_given():
    net = nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1), nn.ReLU())
    made = swapped(net, nn.Linear | nn.Conv1d, lambda _: nn.Identity())
    assert [type(m) for m in made] == [nn.Identity, nn.Identity, nn.ReLU]
