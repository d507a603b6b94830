"""Dropping and growing: how many, which, and what they start from."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp
from effdl.prune.masks import masks_of, prune_
from effdl.prune.moving import move_connections_, moved_mask
from effdl.prune.pruned import weights_of
from effdl.prune.thresholds import layer_masks


def pruned_mlp(sparsity=0.8):
    """Return a small network with random masks."""
    net = plain_mlp((6, 20, 10, 3))
    scores = {name: torch.rand_like(w) for name, w in weights_of(net).items()}
    prune_(net, layer_masks(scores, sparsity))
    return net


def random_scores(net):
    """Return a random score for every weight."""
    return {name: torch.rand(mask.shape) for name, mask in masks_of(net).items()}


def test_the_mask_is_that_of_the_literal_loops():
    for count in (0, 1, 5, 11):
        weight, scores = torch.randn(6, 5), torch.rand(6, 5)
        mask = torch.rand(6, 5) < 0.6
        assert mask.sum() > count
        left = [i for i in range(30) if mask.flatten()[i]]
        left.sort(key=lambda i: abs(weight.flatten()[i].item()))
        kept = left[count:]
        gone = [i for i in range(30) if i not in kept]
        gone.sort(key=lambda i: -scores.flatten()[i].item())
        expected = sorted([*kept, *gone[:count]])
        found = moved_mask(weight, mask, scores, count)
        assert found.flatten().nonzero().flatten().tolist() == expected
        assert found.shape == mask.shape


def test_by_hand():
    """Left are 3, -1, 2, -5. Two go: -1 and 2. Of the four now gone, 7 and 6 grow."""
    weight = torch.tensor([3.0, -1.0, 2.0, -5.0, 9.0, 9.0])
    mask = torch.tensor([True, True, True, True, False, False])
    scores = torch.tensor([99.0, 7.0, 1.0, 99.0, 6.0, 2.0])
    expected = [True, True, False, True, True, False]
    assert moved_mask(weight, mask, scores, 2).tolist() == expected


def test_of_equal_values_the_first_in_memory_stays_and_grows():
    mask = torch.tensor([True, True, True, False, False, False])
    found = moved_mask(torch.ones(6), mask, torch.zeros(6), 1)
    assert found.tolist() == [True, True, True, False, False, False]
    scores = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    found = moved_mask(torch.ones(6), mask, scores, 2)
    assert found.tolist() == [True, False, False, True, True, False]


def test_a_mask_that_is_handed_in_is_left_as_it_is():
    mask = torch.tensor([True, True, False])
    for count in (0, 1):
        found = moved_mask(torch.ones(3), mask, torch.tensor([0.0, 0.0, 1.0]), count)
        found.fill_(value=True)
        assert mask.tolist() == [True, True, False]


def test_every_layer_keeps_its_number_of_weights_exactly():
    net = pruned_mlp()
    counts = {name: int(mask.sum()) for name, mask in masks_of(net).items()}
    before = masks_of(net)
    for share in (0.3, 0.1, 0.5, 0.99):
        move_connections_(net, random_scores(net), share)
        after = masks_of(net)
        assert {name: int(mask.sum()) for name, mask in after.items()} == counts
    assert any((after[name] != before[name]).any() for name in before)


def test_what_is_dropped_are_the_smallest_of_the_layer():
    net = pruned_mlp()
    before, weights = masks_of(net), weights_of(net)
    scores = {name: 1.0 * ~mask for name, mask in before.items()}  # none comes back
    move_connections_(net, scores, 0.4)
    for name, mask in masks_of(net).items():
        sizes = weights[name].abs()
        dropped, stayed = before[name] & ~mask, before[name] & mask
        assert int(dropped.sum()) == int(0.4 * before[name].sum())
        assert sizes[dropped].max() < sizes[stayed].min()


def test_the_share_is_rounded_down_in_every_layer():
    """Layers of 24, 40 and 6 weights, a share of 0.3: 7, 12 and 1 move."""
    net = pruned_mlp()
    scores = {name: 1.0 * ~mask for name, mask in masks_of(net).items()}
    assert [int(mask.sum()) for mask in masks_of(net).values()] == [24, 40, 6]
    assert move_connections_(net, scores, 0.3) == 7 + 12 + 1


def test_growing_does_not_change_what_the_network_computes():
    """What grows has been trained before: its value of then has to be forgotten."""
    net = pruned_mlp()
    x = torch.randn(5, 6)
    scores = {name: 1.0 * ~mask for name, mask in masks_of(net).items()}
    only_dropped = copy.deepcopy(net)
    move_connections_(net, scores, 0.4)
    before, after = masks_of(only_dropped), masks_of(net)
    for name, mask in after.items():
        layer = only_dropped.get_submodule(name.removesuffix(".weight"))
        layer.parametrizations.weight[0].mask.copy_(before[name] & mask)
        grown = mask & ~before[name]
        assert grown.any()
        assert not weights_of(net)[name][grown].any()
    assert torch.equal(net(x), only_dropped(x))


def test_what_comes_back_at_once_keeps_its_value():
    """The dropped weight has the largest score of those that may grow."""
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 1.0, 5.0, 4.0]]))
    prune_(layer, {"weight": torch.tensor([[True, True, False, False]])})
    moved = move_connections_(
        layer, {"weight": torch.tensor([[0.0, 9.0, 1.0, 2.0]])}, 0.5
    )
    assert moved == 0
    assert layer.weight.tolist() == [[3.0, 1.0, 0.0, 0.0]]


def test_what_stays_keeps_its_value_and_a_share_of_0_moves_nothing():
    net = pruned_mlp()
    before, weights = masks_of(net), weights_of(net)
    assert move_connections_(net, random_scores(net), 0.0) == 0
    assert all(torch.equal(before[name], mask) for name, mask in masks_of(net).items())
    move_connections_(net, random_scores(net), 0.5)
    for name, mask in masks_of(net).items():
        stayed = mask & before[name]
        assert torch.equal(weights_of(net)[name][stayed], weights[name][stayed])


def test_parameters_stay_the_same_objects_for_the_optimiser():
    net = pruned_mlp()
    before = [id(p) for p in net.parameters()]
    move_connections_(net, random_scores(net), 0.5)
    assert [id(p) for p in net.parameters()] == before
    assert all(p.requires_grad for p in net.parameters())


def test_what_has_grown_learns():
    """One layer, so that no dead neuron behind it can hide the slope."""
    layer = nn.Linear(6, 4)
    prune_(layer, {"weight": torch.arange(24).view(4, 6) % 3 == 0})
    before = masks_of(layer)["weight"]
    move_connections_(layer, {"weight": 1.0 * ~before}, 0.5)
    sgd = torch.optim.SGD(layer.parameters(), 0.1)
    layer(torch.randn(20, 6)).square().sum().backward()
    sgd.step()
    grown = masks_of(layer)["weight"] & ~before
    assert int(grown.sum()) == 4
    assert layer.weight[grown].all()


M = torch.tensor([True, True, False])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moved_mask(torch.ones(3), M, torch.ones(3), 2), "count must be below"),
        (lambda: moved_mask(torch.ones(3), M, torch.ones(3), -1), "got -1"),
        (
            lambda: moved_mask(torch.ones(3), M, torch.ones(2), 1),
            r"scores must be \(3,\), got \(2,\)",
        ),
        (
            lambda: moved_mask(
                torch.ones(3), M, torch.tensor([0.0, 0.0, torch.nan]), 1
            ),
            "scores has nan",
        ),
        (
            lambda: move_connections_(pruned_mlp(), {}, 0.5),
            "scores has no entry for 1.weight",
        ),
        (lambda: move_connections_(pruned_mlp(), {}, 1.0), "share must be at least 0"),
        (lambda: move_connections_(pruned_mlp(), {}, -0.1), "got -0.1"),
        (lambda: move_connections_(pruned_mlp(), {}, float("nan")), "got nan"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
