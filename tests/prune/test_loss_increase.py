"""Brute force: every weight, every channel, every mask."""

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.prune.loss_increase import (
    best_mask,
    channel_increases,
    weight_increases,
)
from effdl.prune.masks import prune_


def small_conv():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(27, 4),
    )


def batch(samples=8):
    return torch.randn(samples, 1, 5, 5), torch.randint(4, (samples,))


def loss_of(net, inputs, targets):
    with torch.no_grad():
        return F.cross_entropy(net(inputs), targets)


def test_the_increase_is_the_loss_of_a_copy_without_the_weight():
    net, (inputs, targets) = small_conv().eval(), batch()
    found = weight_increases(net, inputs, targets)
    assert list(found) == ["0.weight", "4.weight"]
    before = loss_of(net, inputs, targets)
    for name, k in (("0.weight", 0), ("0.weight", 13), ("4.weight", 50)):
        pruned = copy.deepcopy(net)
        mask = torch.ones_like(pruned.get_parameter(name), dtype=torch.bool)
        mask.view(-1)[k] = False
        prune_(pruned, {name: mask})
        after = loss_of(pruned, inputs, targets)
        torch.testing.assert_close(found[name].flatten()[k], after - before)


def test_two_weights_by_hand():
    """(3 - 1)^2 = 4 becomes (-1)^2 or 3^2: the loss falls by 3, or rises by 5."""
    net = nn.Linear(2, 1, bias=False)
    net.weight.data = torch.tensor([[3.0, -1.0]])
    ones = torch.ones(1, 2), torch.zeros(1, 1)
    found = weight_increases(net, *ones, loss_fn=F.mse_loss)["weight"]
    assert found.tolist() == [[-3.0, 5.0]]


def test_only_the_named_weights_are_tried():
    net, (inputs, targets) = small_conv().eval(), batch()
    found = weight_increases(net, inputs, targets, names=["0.weight"])
    assert list(found) == ["0.weight"]


def test_a_channel_goes_with_all_its_pixels():
    net, (inputs, targets) = small_conv().eval(), batch()
    found = channel_increases(net, inputs, targets, layers=["2", "4"])
    before = loss_of(net, inputs, targets)
    for channel in range(3):
        z = net[:3](inputs)
        z[:, channel] = 0
        after = loss_of(net[3:], z, targets)
        torch.testing.assert_close(found["2"][channel], after - before)
    assert found["4"].shape == (4,)
    assert not any(module._forward_hooks for module in net.modules())


def test_the_best_mask_is_the_best_of_all_that_are_written_out():
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Tanh(), nn.Linear(2, 3))
    inputs, targets = torch.randn(9, 3), torch.randint(3, (9,))
    found = best_mask(net, inputs, targets, name="0.weight", kept=3)
    losses = {}
    for bits in product([0.0, 1.0], repeat=6):
        if sum(bits) == 3:
            tried = copy.deepcopy(net)
            tried[0].weight.data *= torch.tensor(bits).view(2, 3)
            losses[bits] = loss_of(tried, inputs, targets).item()
    best = min(losses, key=losses.get)
    assert len(losses) == 20
    assert found.mask.flatten().tolist() == [bit == 1 for bit in best]
    assert found.loss == pytest.approx(losses[best])


def test_the_best_mask_is_not_always_made_of_the_best_single_weights():
    """Two weights that cancel: each alone costs much, both together nothing."""
    net = nn.Linear(3, 1, bias=False)
    net.weight.data = torch.tensor([[3.0, -3.0, 1.0]])
    inputs, targets = torch.ones(1, 3), torch.ones(1, 1)
    given = {"loss_fn": F.mse_loss}
    singles = weight_increases(net, inputs, targets, **given)["weight"]
    assert singles.tolist() == [[9.0, 9.0, 1.0]]
    found = best_mask(net, inputs, targets, name="weight", kept=1, **given)
    assert found.mask.tolist() == [[False, False, True]]
    assert found.loss == 0


def test_all_or_nothing_may_be_kept():
    net, inputs, targets = nn.Linear(2, 2), torch.randn(4, 2), torch.randint(2, (4,))
    none, whole = (
        best_mask(net, inputs, targets, name="weight", kept=kept) for kept in (0, 4)
    )
    assert not none.mask.any()
    assert whole.mask.all()
    assert whole.loss == pytest.approx(loss_of(net, inputs, targets).item())


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was_in_either_mode(training):
    net, (inputs, targets) = small_conv().train(training), batch()
    before, given = copy.deepcopy(net.state_dict()), inputs.clone()
    weight_increases(net, inputs, targets, names=["0.weight"])
    channel_increases(net, inputs, targets, layers=["0"])
    best_mask(net, inputs, targets, name="0.weight", kept=26)
    torch.testing.assert_close(dict(net.state_dict()), dict(before))
    assert torch.equal(inputs, given)
    assert net.training == training


def test_a_network_that_begins_in_place_does_not_spoil_the_batch():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2))
    inputs = torch.randn(4, 3)
    given = inputs.clone()
    weight_increases(net, inputs, torch.randint(2, (4,)))
    assert torch.equal(inputs, given)


def test_an_error_on_the_way_leaves_the_network_as_it_was():
    net, inputs = nn.Linear(2, 1), torch.ones(1, 2)
    before = net.weight.detach().clone()

    def loss_fn(outputs, targets):
        return torch.where(outputs == targets, 1.0, torch.inf).sum()

    with pytest.raises(ValueError, match="the loss is inf"):
        weight_increases(net, inputs, net(inputs).detach(), loss_fn=loss_fn)
    assert torch.equal(net.weight, before)


def test_the_mode_of_the_network_is_the_one_that_counts():
    net, (inputs, targets) = small_conv(), batch()
    net[1].running_var.fill_(9)
    modes = [
        weight_increases(net.train(mode), inputs, targets, names=["0.weight"])
        for mode in (True, False)
    ]
    assert not torch.allclose(modes[0]["0.weight"], modes[1]["0.weight"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x, y: weight_increases(net, x[:0], y[:0]), "empty batch"),
        (lambda net, x, y: weight_increases(net, x, y, names=["x"]), "names has .'x'."),
        (
            lambda net, x, y: channel_increases(net, x, y, layers=["9"]),
            "layers has '9', which is no module",
        ),
        (
            lambda net, x, y: best_mask(net, x, y, name="0.weight", kept=28),
            "kept must be from 0 to 27, got 28",
        ),
        (
            lambda net, x, y: best_mask(net, x, y, name="0.weight", kept=13),
            "13 of 27 weights have 20,058,300 masks; choose a smaller layer",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(small_conv().eval(), *batch())


def test_a_weight_that_is_nan_gives_no_truth():
    net, (inputs, targets) = small_conv().eval(), batch()
    net[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="the loss is nan; is a weight nan"):
        weight_increases(net, inputs, targets)
