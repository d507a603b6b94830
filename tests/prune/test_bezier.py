"""Paths: their ends, their freedom, and the order of the barriers."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Adam

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Split
from effdl.prune.bezier import BezierPath, barrier, bezier_point, losses_along
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, masks_of, prune_
from effdl.prune.thresholds import layer_masks
from effdl.train import fit, train_classifier

PLACES = [step / 10 for step in range(11)]


def two(widths=(4, 5, 3)):
    """Return two networks."""
    return plain_mlp(widths), plain_mlp(widths)


def loosened(path):
    """Return the path with another control point."""
    with torch.no_grad():
        for control in path.control:
            control.add_(torch.randn_like(control))
    return path


def test_a_point_is_that_of_two_interpolations_in_turn():
    """De Casteljau: on the lines a c and c b, then on the line between the two."""
    a, c, b = ({"w": torch.randn(2, 3), "v": torch.randn(4)} for _ in range(3))
    for t in (0.0, 0.2, 0.5, 0.9, 1.0):
        for name, found in bezier_point(a, c, b, t).items():
            first = (1 - t) * a[name] + t * c[name]
            second = (1 - t) * c[name] + t * b[name]
            torch.testing.assert_close(found, (1 - t) * first + t * second)


def test_by_hand():
    """From 0 over 4 to 1: at a quarter 2 (1/4) (3/4) 4 + 1/16 = 1.5625."""
    points = [{"w": torch.tensor([value])} for value in (0.0, 4.0, 1.0)]
    assert bezier_point(*points, 0.25)["w"].item() == 1.5625


def test_both_ends_are_the_two_networks_bit_for_bit():
    first, second = two()
    path = loosened(BezierPath(first, second))
    x = torch.randn(7, 4)
    for t, net in ((0.0, first), (1.0, second)):
        for name, parameter in net.named_parameters():
            assert torch.equal(path.at(t)[name], parameter)
        assert torch.equal(path(x, t), net(x))


def test_untrained_the_path_is_the_line():
    first, second = two()
    path = BezierPath(first, second)
    a, b = dict(first.named_parameters()), dict(second.named_parameters())
    for t in PLACES:
        for name, found in path.at(t).items():
            torch.testing.assert_close(found, (1 - t) * a[name] + t * b[name])


def test_the_output_at_t_is_that_of_a_network_with_these_parameters():
    first, second = two()
    path, x = loosened(BezierPath(first, second)), torch.randn(6, 4)
    between = copy.deepcopy(first)
    between.load_state_dict(path.at(0.3))
    torch.testing.assert_close(path(x, 0.3), between(x))


def test_with_masks_all_points_are_sparse_and_without_them_only_the_ends():
    first, second = two()
    masks = layer_masks(magnitude_scores(first), 0.6)
    for net in (first, second):
        prune_(net, masks)
    sparse = loosened(BezierPath(first, second, masks=masks))
    dense = loosened(BezierPath(first, second))
    for name, mask in masks.items():
        assert all(not sparse.at(t)[name][~mask].any() for t in PLACES)
        assert sparse.at(0.5)[name][mask].all()
        assert dense.at(0.5)[name][~mask].all()
        assert not dense.at(1.0)[name][~mask].any()


def test_only_the_control_point_is_trained_and_the_networks_stay():
    first, second = two()
    kept = copy.deepcopy(first.state_dict())
    path = BezierPath(first, second)
    shapes = [tuple(p.shape) for p in path.parameters()]
    assert shapes == [tuple(p.shape) for p in first.parameters()]
    path(torch.randn(5, 4)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in path.parameters())
    assert all(p.grad is None for p in first.parameters())
    Adam(path.parameters()).step()
    for name, value in first.state_dict().items():
        assert torch.equal(value, kept[name])


def test_what_is_done_to_a_network_later_does_not_move_the_path():
    first, second = two()
    path, x = BezierPath(first, second), torch.randn(3, 4)
    before = [path(x, t) for t in (0.0, 1.0)]
    with torch.no_grad():
        for net in (first, second):
            for parameter in net.parameters():
                parameter.zero_()
    assert all(torch.equal(path(x, t), y) for t, y in zip((0, 1), before, strict=True))


def test_without_t_every_call_draws_one_of_its_own_uniformly():
    """Networks whose outputs are 0 and 1: the output of the line is t."""
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    for net, value in ((first, 0.0), (second, 1.0)):
        nn.init.zeros_(net.weight)
        nn.init.constant_(net.bias, value)
    path = BezierPath(first, second)
    drawn = torch.tensor([path(torch.ones(1, 1)).item() for _ in range(2000)])
    assert 0 <= drawn.min() < 0.01
    assert 0.99 < drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert (drawn < 0.25).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_dropout_is_off_along_a_path():
    nets = [nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5)) for _ in range(2)]
    path = BezierPath(*nets).train()
    x = torch.randn(2, 4)
    assert torch.equal(path(x, 0.5), path(x, 0.5))


def test_losses_are_those_of_the_networks_in_between():
    first, second = two()
    split = Split(torch.randn(9, 4), torch.randint(3, (9,)))
    path = loosened(BezierPath(first, second))
    found = losses_along(path, split, PLACES)
    for t, loss in zip(PLACES, found, strict=True):
        between = copy.deepcopy(first)
        between.load_state_dict(path.at(t))
        expected = F.cross_entropy(between(split.inputs), split.targets).item()
        assert loss == pytest.approx(expected, rel=1e-5)
    squares = losses_along(path, split, [0.5], loss_fn=lambda y, _: y.square().sum())
    assert squares == [pytest.approx(path(split.inputs, 0.5).square().sum().item())]


def test_a_barrier_is_the_highest_rise_over_the_line_between_the_ends():
    """The line from 1 to 0 has 0.75 and 0.5; the losses are 0.25 and 0.4 above."""
    found = barrier([1.0, 1.0, 0.9, 0.0], [0.0, 0.25, 0.5, 1.0])
    assert found == pytest.approx(0.4)
    assert barrier([1.0, 0.1, 0.0], [0.0, 0.5, 1.0]) == 0
    moved = barrier([1.0, 1.0, 0.9, 0.0], [2.0, 2.5, 3.0, 4.0])
    assert moved == pytest.approx(0.4)


def test_more_freedom_lowers_the_barrier_between_pruned_and_trained_from_scratch():
    """Line, curve in the sparse subspace, curve through dense space: each is lower."""
    centres = 2.0 * torch.randn(6, 8)
    y = torch.randint(6, (300,))
    split = Split(centres[y] + torch.randn(300, 8), y % 3)
    pruned = plain_mlp((8, 24, 3))
    train_classifier(pruned, split, epochs=10)
    masks = layer_masks(magnitude_scores(pruned), 0.7)
    prune_(pruned, masks)
    train_classifier(pruned, split, epochs=10)
    scratch = plain_mlp((8, 24, 3))
    prune_(scratch, masks)
    train_classifier(scratch, split, epochs=20)
    assert all(torch.equal(masks_of(scratch)[n], m) for n, m in masks.items())

    def height(masks, epochs):
        path = BezierPath(scratch, pruned, masks=masks)
        if epochs:
            adam = Adam(path.parameters(), 0.02)
            batches = split.batches(100, seed=0)
            fit(
                path,
                lambda x, t: F.cross_entropy(path(x), t),
                batches,
                adam,
                epochs=epochs,
            )
        return barrier(losses_along(path, split, PLACES), PLACES)

    line, sparse, dense = height(masks, 0), height(masks, 60), height(None, 60)
    assert dense <= sparse <= line
    assert line > 0.05


def shaped(inputs):
    """Return a linear layer."""
    return nn.Linear(inputs, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BezierPath(plain_net(2), plain_net(2)), "start has buffers"),
        (lambda: BezierPath(shaped(2), shaped(3)), "parameters of the same shapes"),
        (
            lambda: BezierPath(shaped(2), shaped(2), masks={"w": torch.ones(1) > 0}),
            "masks names",
        ),
        (lambda: barrier([1.0, 2.0], [0.0]), "got 2 and 1"),
        (lambda: barrier([1.0], [0.0]), "two or more, got 1 and 1"),
        (lambda: barrier([1.0, 2.0], [1.0, 0.0]), "places must rise"),
        (lambda: barrier([1.0, 2.0, 2.0], [0.0, 0.0, 1.0]), "places must rise"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_pruned_network_may_be_made_permanent_before_or_not():
    first, second = two()
    prune_(first, layer_masks(magnitude_scores(first), 0.5))
    x = torch.randn(3, 4)
    before = BezierPath(first, second)(x, 0.4)
    make_permanent_(first)
    after = BezierPath(first, second)(x, 0.4)
    assert torch.equal(before, after)
    assert len(list(itertools.chain(first.parameters()))) == 4
