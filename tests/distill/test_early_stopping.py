"""Early stopping: states of one training, and a teacher for the first epochs only."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from effdl.data.digits import Split
from effdl.distill.early_stopping import distil_at_first, snapshots
from effdl.distill.kd import distil, kd_loss
from effdl.distill.recipe import Recipe
from effdl.train import train_classifier, warm_up_cosine

RECIPE = Recipe(epochs=4, learning_rate=0.05, batch_size=30, weight_decay=1e-3, seed=3)


@pytest.fixture
def split():
    """70 inputs: two full batches and one of ten."""
    x = torch.randn(70, 6)
    return Split(x, (x @ torch.randn(6, 4)).argmax(dim=1))


def network(seed, hidden=8):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 4)
    )


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def trained_by_hand(net, split, taught, taught_epochs, stop):
    """Repeat the training step by step; stop after some epochs."""
    sgd = SGD(net.parameters(), 0.05, 0.9, weight_decay=1e-3, nesterov=True)
    batches, step = Split(split.inputs, torch.arange(70)).batches(30, seed=3), 0
    net.train()
    for epoch in range(stop):
        for x, which in batches:
            sgd.param_groups[0]["lr"] = 0.05 * warm_up_cosine(step, 12)
            logits, y = net(x), split.targets[which]
            loss = F.cross_entropy(logits, y)
            if epoch < taught_epochs:
                loss = kd_loss(logits, taught[which], y, temperature=3.0, alpha=0.6)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            step += 1
    return net


def test_snapshots_are_the_states_after_these_epochs_of_the_long_schedule(split):
    kept = snapshots(network(1), split, [1, 3], RECIPE)
    for epoch in (1, 3):
        by_hand = trained_by_hand(network(1), split, None, 0, epoch)
        for name, value in kept[epoch].state_dict().items():
            torch.testing.assert_close(value, by_hand.state_dict()[name])


def test_the_training_is_that_of_all_chapters(split):
    ours, plain = network(1), network(1)
    kept = snapshots(ours, split, [2, 4], RECIPE)
    train_classifier(
        plain,
        split,
        epochs=4,
        learning_rate=0.05,
        batch_size=30,
        weight_decay=1e-3,
        seed=3,
    )
    assert same(ours, plain)
    assert same(kept[4], plain)
    assert not same(kept[2], plain)


def test_snapshots_are_copies_in_evaluation_mode_in_the_order_of_time(split):
    net = network(1)
    kept = snapshots(net, split, [4, 1], RECIPE)
    assert [*kept] == [1, 4]
    assert not any(layer.training for copy in kept.values() for layer in copy.modules())
    before = copy.deepcopy(kept[4])
    with torch.no_grad():
        net[0].weight.zero_()
    assert same(kept[4], before)


def test_the_teacher_leaves_after_its_epochs_and_the_rate_goes_on(split):
    teacher = network(7, 16).eval()
    ours = network(1)
    distil_at_first(
        ours, teacher, split, RECIPE, taught_epochs=2, temperature=3.0, alpha=0.6
    )
    taught = teacher(split.inputs).detach()
    by_hand = trained_by_hand(network(1), split, taught, 2, 4)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, by_hand.state_dict()[name])


def test_with_no_taught_epoch_it_is_plain_training_bitwise(split):
    ours, plain = network(1), network(1)
    distil_at_first(ours, network(7).eval(), split, RECIPE, taught_epochs=0)
    snapshots(plain, split, [], RECIPE)
    assert same(ours, plain)


def test_with_all_epochs_taught_it_is_distillation_bitwise(split):
    ours, plain, teacher = network(1), network(1), network(7, 16).eval()
    settings = {"temperature": 2.0, "alpha": 0.8}
    found = distil_at_first(ours, teacher, split, RECIPE, taught_epochs=4, **settings)
    assert found == distil(plain, teacher, split, RECIPE, **settings)
    assert same(ours, plain)


def test_the_teacher_stays_as_it_is(split):
    teacher = network(7).eval()
    before = copy.deepcopy(teacher)
    distil_at_first(network(1), teacher, split, RECIPE, taught_epochs=2)
    assert same(teacher, before)
    assert not any(layer.training for layer in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())


def test_the_defaults_are_those_of_distillation(split):
    ours, plain, teacher = network(1), network(1), network(7, 16).eval()
    distil_at_first(ours, teacher, split, taught_epochs=10)
    distil(plain, teacher, split)
    assert same(ours, plain)


def test_bad_input_is_refused(split):
    teacher = network(7).eval()
    for epoch in (0, 5):
        with pytest.raises(ValueError, match=f"from 1 to 4, .* got {epoch}"):
            snapshots(network(1), split, [2, epoch], RECIPE)
    for epoch in (-1, 5):
        with pytest.raises(ValueError, match=f"from 0 to 4, .* got {epoch}"):
            distil_at_first(network(1), teacher, split, RECIPE, taught_epochs=epoch)
    with pytest.raises(ValueError, match="alpha must be from 0 to 1"):
        distil_at_first(network(1), teacher, split, RECIPE, taught_epochs=0, alpha=-0.1)
    with pytest.raises(ValueError, match="temperature must be"):
        distil_at_first(
            network(1), teacher, split, RECIPE, taught_epochs=0, temperature=0.0
        )
    with pytest.raises(ValueError, match="training mode"):
        distil_at_first(network(1), network(2), split, RECIPE, taught_epochs=1)
