"""RigL and SET: when connections move, how many, and where the gradient points."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_mlp
from effdl.data.digits import Split
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept, plain_copy, weights_of
from effdl.prune.rigl import (
    gradient_growth,
    move_while_training,
    moving_share,
    random_growth,
)
from effdl.prune.thresholds import layer_masks
from effdl.train import accuracy, train_classifier


def pruned_mlp(sparsity=0.8, widths=(6, 20, 10, 3)):
    """Return a small network with random masks."""
    net = plain_mlp(widths)
    scores = {name: torch.rand_like(w) for name, w in weights_of(net).items()}
    prune_(net, layer_masks(scores, sparsity))
    return net


def batch(count=30, features=6):
    """Return inputs and classes."""
    return torch.randn(count, features), torch.randint(3, (count,))


def changes(net, calls, **options):
    """Return at which steps the masks change, and how many weights change there."""
    after_step = move_while_training(net, random_growth, **options)
    found = {}
    for step in range(1, calls + 1):
        before = masks_of(net)
        after_step()
        after = masks_of(net)
        grown = sum(int((after[n] & ~before[n]).sum()) for n in before)
        if grown:
            found[step] = grown
    return found


def test_the_share_is_half_a_cosine_from_alpha_down_to_0():
    for step in range(0, 130, 10):
        expected = 0.4 / 2 * (1 + math.cos(math.pi * step / 100)) if step < 100 else 0
        found = moving_share(step, steps=100, alpha=0.4)
        assert found == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    """A third of the way the cosine is 1/2: 0.15 (1 + 0.5) = 0.225."""
    assert moving_share(100, steps=300) == pytest.approx(0.225)
    assert moving_share(0, steps=300) == pytest.approx(0.3)


def test_the_gradient_is_that_of_a_network_that_has_the_weights_as_zeros():
    """The dense network with zeros in it, differentiated by hand at every weight."""
    net = pruned_mlp()
    x, y = batch()
    dense = plain_copy(net)
    F.cross_entropy(dense(x), y).backward()
    found = gradient_growth(net, x, y)
    for name, parameter in dense.named_parameters():
        if name in found:
            torch.testing.assert_close(found[name], parameter.grad.abs())
    assert len(found) == 3


def test_weights_that_are_gone_have_a_slope_there_but_not_in_the_masked_network():
    net = pruned_mlp()
    x, y = batch()
    F.cross_entropy(net(x), y).backward()
    found = gradient_growth(net, x, y)
    for name, mask in masks_of(net).items():
        layer = net.get_submodule(name.removesuffix(".weight"))
        assert not layer.parametrizations.weight.original.grad[~mask].any()
    assert any(found[name][~mask].any() for name, mask in masks_of(net).items())


def test_asking_for_the_gradient_leaves_the_network_as_it_is():
    net = pruned_mlp()
    before = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        gradient_growth(net, *batch())
    assert all(p.grad is None for p in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert masks_of(net)


def test_another_loss_has_another_gradient():
    """Loss (w x - y)^2 with w = 0: the slope is -2 y x."""
    layer = nn.Linear(2, 1, bias=False)
    prune_(layer, {"weight": torch.tensor([[True, False]])})
    with torch.no_grad():
        layer.parametrizations.weight.original.zero_()
    x, y = torch.tensor([[1.0, -2.0]]), torch.tensor([[5.0]])
    found = gradient_growth(layer, x, y, loss_fn=F.mse_loss)
    assert found["weight"].tolist() == [[10.0, 20.0]]


def test_random_scores_are_drawn_anew_for_every_weight():
    net = pruned_mlp()
    first, second = random_growth(net), random_growth(net)
    assert list(first) == list(masks_of(net))
    for name, score in first.items():
        assert score.shape == masks_of(net)[name].shape
        assert score.unique().numel() == score.numel()
        assert not torch.equal(score, second[name])


def test_connections_move_every_so_many_steps_and_not_after_the_last():
    net = pruned_mlp(0.5)
    moved = changes(net, 60, steps=40, every=10)
    assert list(moved) == [10, 20, 30]


def test_scores_are_asked_for_only_when_something_can_move():
    """A dense gradient is dear: none in between, and none after the end."""
    net, asked = pruned_mlp(0.5), []

    def growth(model):
        asked.append(len(asked))
        return random_growth(model)

    after_step = move_while_training(net, growth, steps=40, every=10)
    for _ in range(100):
        after_step()
    assert len(asked) == 3


def test_at_step_t_they_move_nowhere_even_if_it_is_due():
    """At T itself f is 0."""
    assert list(changes(pruned_mlp(0.5), 30, steps=20, every=10)) == [10]


def test_fewer_move_as_time_goes_by():
    net = pruned_mlp(0.9, (50, 60, 3))
    moved = list(changes(net, 100, steps=100, every=20, alpha=0.5).values())
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 3 * moved[-1]


def test_the_number_of_moves_is_that_of_the_share():
    """300 of 3,000 weights; at 20 of 100 steps 0.5 / 2 (1 + cos(0.2 pi)) = 0.4523."""
    net = nn.Sequential(nn.Linear(50, 60))
    prune_(net, layer_masks({"0.weight": torch.rand(60, 50)}, 0.9))

    def none_returns(model):
        return {name: 1.0 * ~mask for name, mask in masks_of(model).items()}

    before = masks_of(net)
    after_step = move_while_training(net, none_returns, steps=100, every=20, alpha=0.5)
    for _ in range(20):
        after_step()
    assert int((masks_of(net)["0.weight"] & ~before["0.weight"]).sum()) == 135


def test_the_count_of_weights_is_constant_while_the_network_trains():
    """And the network learns: two classes that differ in one input, of twenty."""
    x = torch.randn(300, 20)
    split = Split(x, (x[:, 3] > 0).long())
    net = pruned_mlp(0.8, (20, 30, 2))
    batches = itertools.cycle(split.batches(100))
    before, kept = masks_of(net), []

    after = move_while_training(
        net, lambda model: gradient_growth(model, *next(batches)), steps=40, every=5
    )

    def after_step():
        after()
        kept.append(count_kept(masks_of(net)).kept)

    train_classifier(net, split, epochs=20, after_step=after_step)
    assert set(kept) == {count_kept(before).kept}
    assert accuracy(net, split.batches(300)) > 0.9
    weights = weights_of(net)
    for name, mask in masks_of(net).items():
        assert not weights[name][~mask].any()


def test_rigl_finds_the_input_that_matters():
    """Two weights of 40 are there, at wrong inputs; one update moves one of them."""
    x = torch.randn(200, 40)
    y = 3 * x[:, [17]]
    layer = nn.Linear(40, 1, bias=False)
    mask = torch.zeros(1, 40, dtype=torch.bool)
    mask[0, :2] = True
    prune_(layer, {"weight": mask})
    after_step = move_while_training(
        layer,
        lambda net: gradient_growth(net, x, y, loss_fn=F.mse_loss),
        steps=100,
        every=1,
        alpha=1.0,
    )
    after_step()
    assert masks_of(layer)["weight"][0, 17]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moving_share(0, steps=0), "steps must be at least 1, got 0"),
        (lambda: moving_share(0, steps=10, alpha=0.0), "alpha must be above 0"),
        (
            lambda: move_while_training(pruned_mlp(), random_growth, steps=9, every=0),
            "every must be at least 1, got 0",
        ),
        (
            lambda: move_while_training(pruned_mlp(), random_growth, steps=0),
            "steps must be at least 1, got 0",
        ),
        (
            lambda: move_while_training(pruned_mlp(), random_growth, steps=9, alpha=2),
            "alpha must be above 0 and at most 1, got 2",
        ),
        (
            lambda: move_while_training(plain_mlp((2, 2)), random_growth, steps=9),
            "model has no masks",
        ),
        (lambda: gradient_growth(pruned_mlp(), *batch(0)), "empty"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
