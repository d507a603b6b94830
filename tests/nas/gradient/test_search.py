"""The loop: what moves when, what hooks see, and that it finds what helps."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam

from effdl.data.digits import Split
from effdl.nas.darts_operations import Zero
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import DARTS, Method
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.search import SMALL_RATES, Rates, search

RATES = Rates(weights=0.1, weights_end=0.01, architecture=0.05)


class TwoPaths(nn.Module):
    """Logits from x: one edge, whose candidates keep x, drop it, or turn its sign."""

    def __init__(self):
        super().__init__()
        self.edge = MixedOperation({"none": Zero(), "keep": nn.Identity()})
        self.head = nn.Linear(2, 2)

    def forward(self, x, weights, runs=None):
        """Return two logits."""
        return self.head(self.edge(x, weights[0], None if runs is None else runs[0]))


def two_sides(count, seed=0):
    """Points of two classes, left and right of an axis."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, 1, 1, generator=generator).flatten(1)
    return Split(x, (x[:, 0] > 0).long())


@pytest.fixture
def parts():
    return two_sides(40).batches(10), two_sides(40, seed=1).batches(10)


@pytest.fixture
def pair():
    return TwoPaths(), Architecture([("none", "keep")])


def test_two_steps_are_those_written_out(pair, parts):
    """The loop of algorithm 1 with autograd, SGD and Adam, and nothing of ours."""
    net, found = pair
    reference, logits = TwoPaths(), found.logits.detach().clone().requires_grad_()
    reference.load_state_dict(net.state_dict())
    sgd = SGD(reference.parameters(), 0.1, 0.9, weight_decay=3e-4)
    adam = Adam([logits], 0.05, (0.5, 0.999), weight_decay=1e-3)
    pairs = zip(*parts, strict=True)
    for steps, ((x, y), (x_val, y_val)) in enumerate(pairs):
        for group in sgd.param_groups:
            share = 0.5 * (1 + math.cos(math.pi * steps / 4))
            group["lr"] = 0.01 + (0.1 - 0.01) * share
        adam.zero_grad()
        F.cross_entropy(reference(x_val, logits.softmax(1)), y_val).backward()
        adam.step()
        sgd.zero_grad()
        F.cross_entropy(reference(x, logits.detach().softmax(1)), y).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 5.0)
        sgd.step()
    search(net, found, *parts, epochs=1, rates=RATES)
    torch.testing.assert_close(found.logits, logits)
    for ours, theirs in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_search_finds_the_operation_that_solves_a_toy_problem(pair, parts):
    net, found = pair
    epochs = search(net, found, *parts, epochs=20, rates=RATES)
    assert found.logits[0, 1] - found.logits[0, 0] > 1
    assert epochs[-1].weights[0, 1] > 0.8
    assert epochs[-1].loss < 0.7 * epochs[0].loss


def test_an_epoch_is_recorded_as_it_was_then(pair, parts):
    net, found = pair
    epochs = search(net, found, *parts, epochs=3, rates=RATES)
    assert len(epochs) == 3
    assert not torch.equal(epochs[0].logits, epochs[2].logits)
    torch.testing.assert_close(epochs[2].logits, found.logits.detach())
    torch.testing.assert_close(epochs[2].weights, found.logits.detach().softmax(1))
    assert epochs[0].seconds <= epochs[2].seconds
    assert not epochs[0].weights.requires_grad


def test_the_mean_loss_of_an_epoch_is_over_its_steps(pair, parts):
    net, found = pair
    losses = iter([1.0, 2.0, 3.0, 6.0])
    method = Method(step=lambda *_: next(losses))
    assert search(net, found, *parts, epochs=1, method=method)[0].loss == 3.0


def test_validation_begins_again_when_it_is_used_up(pair):
    net, found = pair
    seen = []

    def step(_searching, _train, validation):
        seen.append(float(validation[0][0, 0]))
        return 0.0

    train, few = two_sides(50).batches(10), two_sides(20, seed=1).batches(10)
    search(net, found, train, few, epochs=1, method=Method(step=step))
    assert len(seen) == 5
    assert seen[0] == seen[2] == seen[4] != seen[1] == seen[3]


def test_the_architecture_waits_while_it_warms_up(pair, parts):
    net, found = pair
    before = found.logits.detach().clone()
    moved = []
    method = replace(DARTS, after_step=lambda s: moved.append(s.progress))
    epochs = search(net, found, *parts, epochs=3, method=method, rates=RATES, warm_up=2)
    assert torch.equal(epochs[1].logits, before)
    assert not torch.equal(epochs[2].logits, before)
    assert moved == [8 / 12, 9 / 12, 10 / 12, 11 / 12]


def test_hooks_see_the_progress_and_the_epochs_and_can_stop(pair, parts):
    net, found = pair
    lengths = []

    def after_epoch(searching, epochs):
        assert searching.architecture is found
        lengths.append(len(epochs))
        return len(epochs) == 2

    method = Method(after_epoch=after_epoch)
    assert len(search(net, found, *parts, epochs=9, method=method)) == 2
    assert lengths == [1, 2]


def test_the_relaxation_hears_how_far_the_search_is(pair, parts):
    net, found = pair
    heard = set()

    def relax(architecture, progress):
        heard.add(progress)
        return architecture.masked_logits().softmax(dim=1)

    search(net, found, *parts, epochs=2, method=Method(relax=relax))
    assert heard == {step / 8 for step in range(8)}


def test_the_supernet_trains_again_after_a_hook_has_evaluated_it(pair, parts):
    net, found = pair
    modes = []

    def after_epoch(_searching, _epochs):
        net.eval()
        return False

    def step(_searching, _train, _validation):
        modes.append(net.training)
        return 0.0

    method = Method(step=step, after_epoch=after_epoch)
    search(net, found, *parts, epochs=2, method=method)
    assert all(modes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 1, "warm_up": -1}, "warm_up must be 0 or larger, got -1"),
    ],
)
def test_a_wrong_number_is_named(pair, parts, arguments, message):
    with pytest.raises(ValueError, match=message):
        search(*pair, *parts, **arguments)


def test_no_batches_are_an_error(pair, parts):
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        search(*pair, [], parts[1], epochs=1)
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        search(*pair, parts[0], [], epochs=1)


@pytest.mark.parametrize("name", ["weights", "architecture", "clip"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_must_be_above_zero(name, value):
    with pytest.raises(ValueError, match=f"{name} must be above 0 and finite"):
        replace(SMALL_RATES, **{name: value})
