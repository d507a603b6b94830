"""Files of the three stages: real bytes, loaded into a fresh network."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.measure.count import serialized_bytes
from effdl.prune.deep_compression import (
    load_pruned_file_,
    load_shared_file_,
    paper_bits,
    pruned_file,
    shared_file,
)
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, prune_
from effdl.prune.thresholds import layer_masks
from effdl.prune.weight_sharing import share_weights_


def pruned(make=lambda: plain_net(4), sparsity=0.8):
    """Return a pruned network whose batch norm has seen something."""
    net = make()
    net(torch.randn(8, 1, 16, 16))
    prune_(net, layer_masks(magnitude_scores(net), sparsity))
    return net


def same(one, other):
    x = torch.randn(5, 1, 16, 16)
    return torch.equal(one.eval()(x), other.eval()(x))


@pytest.mark.parametrize("make", [plain_mlp, lambda: plain_net(4)])
def test_the_first_stage_comes_back_on_a_fresh_network(make):
    net, fresh = pruned(make), make()
    load_pruned_file_(fresh, pruned_file(net))
    assert same(net, fresh)


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("make", [plain_mlp, lambda: plain_net(4)])
def test_the_other_stages_come_back_on_a_fresh_network(make, coded):
    net, fresh = pruned(make), make()
    make_permanent_(net)
    share_weights_(net, paper_bits)
    load_shared_file_(fresh, shared_file(net, coded=coded), coded=coded)
    assert same(net, fresh)


def test_every_stage_is_smaller_than_the_one_before():
    net = pruned(plain_mlp, 0.9)
    sizes = [serialized_bytes(plain_mlp()), len(pruned_file(net))]
    make_permanent_(net)
    share_weights_(net, paper_bits)
    sizes += [len(shared_file(net)), len(shared_file(net, coded=True))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / sizes[1] > 6
    assert sizes[0] / sizes[2] > 20


def test_the_network_is_left_as_it_is():
    net = pruned()
    before = copy.deepcopy(net.state_dict())
    pruned_file(net)
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert same(net, net)


def test_bits_of_the_paper():
    assert paper_bits(torch.zeros(4, 4, 1, 1)) == 8
    assert paper_bits(torch.zeros(4, 4)) == 5


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_file_is_refused_and_nothing_is_loaded(place):
    net, fresh = pruned(), plain_net(4)
    data = bytearray(pruned_file(net))
    data[place] ^= 1
    before = copy.deepcopy(fresh.state_dict())
    with pytest.raises(ValueError, match=r"check sum .* damaged"):
        load_pruned_file_(fresh, bytes(data))
    assert all(torch.equal(t, before[name]) for name, t in fresh.state_dict().items())


@pytest.mark.parametrize("width", [3, 5])
def test_another_architecture_is_refused(width):
    data = pruned_file(pruned(lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 4))))
    with pytest.raises(ValueError, match="architecture"):
        load_pruned_file_(nn.Sequential(nn.Flatten(), nn.Linear(256, width)), data)


def test_a_file_that_has_more_than_the_model_needs_is_refused():
    data = pruned_file(nn.Linear(6, 4))
    with pytest.raises(ValueError, match="16 bytes more than the model needs"):
        load_pruned_file_(nn.Linear(6, 4, bias=False), data)


def test_a_network_that_shares_nothing_is_refused():
    with pytest.raises(ValueError, match="call share_weights_ first"):
        shared_file(plain_net(4))
