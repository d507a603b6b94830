"""Masks that follow their weights: what computes is N:M, what learns is dense."""

import copy

import pytest
import torch
from torch import nn

from effdl.prune.masks import make_permanent_, masks_of, prune_
from effdl.prune.nm import is_nm
from effdl.prune.nm_moving import (
    MovingMask,
    divisible_weights,
    hold_still_,
    move_masks_,
)
from effdl.prune.pruned import count_kept, load_pruned_, plain_copy


def moving_layer():
    """Return a linear layer with moving 2:4 masks, and its dense weight."""
    layer = nn.Linear(8, 3)
    move_masks_(layer, ["weight"], MovingMask)
    return layer, layer.parametrizations.weight.original


def literal(weight, keep, group):
    """Return where a weight is among the N largest of its group, by sorting lists."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group):
            places = range(start, start + group)
            largest = sorted(places, key=lambda i, r=row: -abs(weight[r, i].item()))
            mask[row, largest[:keep]] = True
    return mask


def test_the_weight_is_that_of_the_mask_of_today():
    layer, original = moving_layer()
    for _ in range(3):
        original.data.normal_()
        expected = original * literal(original, 2, 4)
        assert torch.equal(layer.weight, expected)
        assert torch.equal(masks_of(layer)["weight"], literal(original, 2, 4))


def test_exactly_n_of_m_are_left_after_any_step():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    move_masks_(net, divisible_weights(net, 8), lambda w: MovingMask(w, 1, 8))
    sgd = torch.optim.SGD(net.parameters(), 1.0, weight_decay=0.1)
    for _ in range(5):
        net(torch.randn(10, 8)).square().sum().backward()
        sgd.step()
        net(torch.randn(1, 8))
        assert count_kept(masks_of(net)).sparsity == 1 - 1 / 8
        assert is_nm(net[0].weight.detach(), 1, 8)


def test_a_convolution_is_grouped_along_its_channels():
    conv = nn.Conv2d(8, 2, 3)
    move_masks_(conv, ["weight"], MovingMask)
    groups = conv.weight.detach().view(2, 2, 4, 3, 3)
    assert (groups.count_nonzero(dim=2) == 2).all()


def test_a_weight_that_is_gone_has_no_slope_and_comes_back_when_it_is_larger():
    layer, original = moving_layer()
    layer(torch.randn(5, 8)).square().sum().backward()
    gone = ~masks_of(layer)["weight"]
    assert original.grad[gone].count_nonzero() == 0
    assert original.grad[~gone].count_nonzero() == 12
    original.data[gone] = 9.0
    assert torch.equal(layer.weight != 0, gone)


def test_two_uses_before_one_backward_pass_do_no_harm():
    layer, original = moving_layer()
    first = layer(torch.randn(5, 8)).sum()
    _ = layer.weight
    (first + layer(torch.randn(5, 8)).sum()).backward()
    assert original.grad.isfinite().all()


def test_masks_that_are_held_still_stay_when_weights_move():
    layer, original = moving_layer()
    original.data.normal_()  # no pass since then: today's mask has to be made
    hold_still_(layer)
    held = literal(original, 2, 4)
    original.data.normal_()
    assert torch.equal(layer.weight, original * held)
    assert torch.equal(masks_of(layer)["weight"], held)
    hold_still_(layer)
    assert torch.equal(masks_of(layer)["weight"], held)


def test_they_are_masks_for_all_that_knows_masks():
    layer, original = moving_layer()
    shown = layer.weight.detach().clone()
    copied = copy.deepcopy(layer)
    assert torch.equal(plain_copy(layer).weight, shown)
    loaded = nn.Linear(8, 3)
    load_pruned_(loaded, layer.state_dict())
    original.data.normal_()
    assert torch.equal(loaded.weight, shown)
    assert torch.equal(copied.weight, shown)
    with pytest.raises(ValueError, match="pruned already"):
        prune_(layer, {"weight": torch.ones(3, 8) > 0})
    shown = layer.weight.detach().clone()
    make_permanent_(layer)
    assert torch.equal(layer.weight, shown)
    assert type(layer.weight) is nn.Parameter


def test_masks_that_never_moved_are_not_touched():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    fixed = torch.eye(4) > 0
    prune_(net, {"0.weight": fixed})
    move_masks_(net, ["1.weight"], MovingMask)
    hold_still_(net)
    assert torch.equal(masks_of(net)["0.weight"], fixed)
    assert type(net[0].parametrizations.weight[0]) is not MovingMask


def test_attention_learns_with_its_own_name():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    names = divisible_weights(layer)
    assert names == ["self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]
    move_masks_(layer, [*names, "self_attn.in_proj_weight"], MovingMask)
    x = torch.randn(2, 5, 8)
    y = layer(x)
    y.sum().backward()
    assert is_nm(layer.self_attn.in_proj_weight.detach())
    with torch.no_grad():
        torch.testing.assert_close(layer.eval()(x), y)


def test_layers_whose_inputs_m_does_not_divide_are_left_out():
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 3), nn.Conv2d(8, 2, 1))
    assert divisible_weights(net) == ["2.weight"]
    assert divisible_weights(net, 2) == ["1.weight", "2.weight"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "names has nothing"),
        (["weight", "none"], "does not have; it has weight, bias"),
        (["bias"], r"weight must be \(out, in\)"),
    ],
)
def test_bad_names_change_nothing(names, message):
    layer = nn.Linear(8, 3)
    with pytest.raises(ValueError, match=message):
        move_masks_(layer, names, MovingMask)
    assert masks_of(layer) == {}
