"""The line between two networks, and the hill on it."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import small_digits
from effdl.prune.interpolation import barrier, between, errors_between
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import plain_copy
from effdl.prune.recipe import Recipe
from effdl.prune.rewinding import at_step
from effdl.train import accuracy, warm_up_cosine


def test_every_parameter_is_the_weighted_mean():
    first, second = plain_mlp((6, 8, 4)), plain_mlp((6, 8, 4))
    middle = between(first, second, 0.3)
    for a, b, m in zip(*(n.parameters() for n in (first, second, middle)), strict=True):
        torch.testing.assert_close(m, 0.7 * a + 0.3 * b)


def test_the_ends_are_the_networks_themselves_and_stay_as_they_are():
    first, second = plain_net(2), plain_net(2)
    for net in (first, second):
        net(torch.randn(4, 1, 16, 16))
    before = copy.deepcopy(first.state_dict())
    for share, net in ((0.0, first), (1.0, second)):
        found = between(first, second, share).state_dict()
        for name, tensor in net.state_dict().items():
            torch.testing.assert_close(found[name], tensor)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_barrier_by_hand():
    """The highest is 0.9; the ends have the mean 0.3."""
    assert barrier([0.2, 0.5, 0.9, 0.4]) == pytest.approx(0.6)
    assert barrier([0.2, 0.1, 0.2]) == 0
    assert barrier([0.1, 0.2, 0.3]) == pytest.approx(0.1)
    assert barrier([0.3, 0.2, 0.1]) == pytest.approx(0.1)


def test_the_places_are_even_and_begin_and_end_at_the_networks():
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(first.weight, 1)
    nn.init.constant_(second.weight, 3)
    found = errors_between(first, second, lambda net: net.weight.item(), points=5)
    assert found == [1, 1.5, 2, 2.5, 3]
    assert len(errors_between(first, second, lambda net: 0.0)) == 11


def test_between_two_minima_of_a_product_there_is_a_hill():
    """f(x) = a b x is x at a = b = 1 and at a = b = -1, and 0 in the middle."""

    def product(sign):
        net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        for parameter in net.parameters():
            nn.init.constant_(parameter, sign)
        return net

    def error_of(net):
        return F.mse_loss(net(torch.ones(1, 1)), torch.ones(1, 1)).item()

    errors = errors_between(product(1.0), product(-1.0), error_of, points=3)
    assert errors == [0, 1, 0]
    assert barrier(errors) == 1


def test_two_linear_regressions_have_no_hill_between_them():
    x, y = torch.randn(20, 3), torch.randn(20, 1)
    nets = nn.Linear(3, 1), nn.Linear(3, 1)
    errors = errors_between(*nets, lambda net: F.mse_loss(net(x), y).item())
    straight = torch.linspace(errors[0], errors[-1], 11)
    assert (torch.tensor(errors) <= straight + 1e-5).all()


def test_pruned_networks_with_the_same_masks_can_be_mixed():
    first, second = nn.Linear(4, 1), nn.Linear(4, 1)
    mask = {"weight": torch.tensor([[True, False, True, False]])}
    for net in (first, second):
        prune_(net, mask)
    middle = between(first, second, 0.5)
    assert torch.equal(masks_of(middle)["weight"], mask["weight"])
    torch.testing.assert_close(middle.weight, (first.weight + second.weight) / 2)
    assert between(plain_copy(first), plain_copy(second), 0.5).weight[0, 1] == 0


def test_late_copies_stay_in_one_valley_and_other_weights_lie_in_another():
    digits = small_digits(n_train=600, n_validation=300, n_test=1)
    train = Recipe(
        digits.train,
        lambda p: SGD(p, 0.1, 0.9),
        epochs=10,
        batch_size=20,
        factor=warm_up_cosine,
    )

    def barrier_from(*starts, step):
        ends = [at_step(start, step, train=train) for start in starts]
        for seed, net in enumerate(ends, start=1):
            replace(train, seed=seed)(net, start=step)
        held_out = digits.validation.batches(300)
        return barrier(errors_between(*ends, lambda net: 1 - accuracy(net, held_out)))

    first, other = plain_mlp((144, 30, 10)), plain_mlp((144, 30, 10))
    assert barrier_from(first, first, step=200) < 0.02
    assert barrier_from(first, other, step=200) > 0.1


def masked(kept):
    """Return a layer with a mask."""
    net = nn.Linear(2, 1)
    prune_(net, {"weight": torch.tensor([kept])})
    return net


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: between(nn.Linear(1, 1), nn.Linear(1, 1), 1.5),
            "share must be from 0 to 1, got 1.5",
        ),
        (
            lambda: between(nn.Linear(1, 1), nn.Linear(2, 1), 0.5),
            "must have the same tensors and shapes",
        ),
        (
            lambda: between(nn.Linear(1, 1), nn.Linear(1, 1, bias=False), 0.5),
            "must have the same tensors",
        ),
        (
            lambda: between(masked([True, False]), masked([False, True]), 0.5),
            "mask differs between first and second; give plain_copy of both",
        ),
        (
            lambda: errors_between(nn.ReLU(), nn.ReLU(), lambda net: 0.0, points=1),
            "points must be at least 2",
        ),
        (
            lambda: errors_between(nn.ReLU(), nn.ReLU(), lambda net: 0.0, points=0),
            "points must be at least 1",
        ),
        (lambda: barrier([0.5]), "errors must have both ends"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
