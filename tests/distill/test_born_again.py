"""Born-again networks: generation 0 is plain, every other has its parent."""

import copy

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.distill.born_again import born_again
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import train_classifier

C = 4
RECIPE = Recipe(epochs=2, learning_rate=0.2, batch_size=20, weight_decay=1e-3, seed=3)


def data():
    return Split(torch.randn(60, 5), torch.randint(0, C, (60,)))


def make(generation):
    with seeded(generation):
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, C))


def states(net):
    return list(net.state_dict().values())


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(states(a), states(b), strict=True))


def test_generation_0_is_plain_training_bit_by_bit():
    split, net = data(), make(0)
    first, _ = born_again(make, split, RECIPE, generations=1)
    train_classifier(
        net,
        split,
        epochs=2,
        learning_rate=0.2,
        batch_size=20,
        weight_decay=1e-3,
        seed=3,
    )
    assert equal(first, net)


def test_every_other_generation_is_taught_by_the_one_before():
    split = data()
    options = {"temperature": 2.0, "alpha": 0.8}
    family = born_again(make, split, RECIPE, generations=3, **options)
    assert len(family) == 4
    for generation in (1, 2, 3):
        child = make(generation)
        distil(child, family[generation - 1], split, RECIPE, **options)
        assert equal(child, family[generation])


def test_by_default_it_is_half_the_sum_of_the_papers_two_losses():
    """At T = 1: the slope of CE(label) / 2 + CE(parent) / 2."""
    split = Split(torch.randn(20, 5), torch.randint(0, C, (20,)))
    recipe = Recipe(epochs=1, batch_size=20, weight_decay=0.0)
    nets = [nn.Linear(5, C), nn.Linear(5, C)]
    start = copy.deepcopy(nets[1])
    parent, child = born_again(lambda g: nets[g], split, recipe, generations=1)
    logits = start(split.inputs)
    loss = nn.functional.cross_entropy(logits, split.targets) / 2
    said = parent(split.inputs).detach().softmax(dim=1)
    loss = loss + nn.functional.cross_entropy(logits, said) / 2
    (slope,) = torch.autograd.grad(loss, start.weight)
    torch.testing.assert_close(
        start.weight - child.weight, 0.1 * 1.9 * slope, rtol=1e-3, atol=1e-6
    )


def test_a_share_of_0_leaves_the_parent_out():
    split = data()
    _, child = born_again(make, split, RECIPE, generations=1, alpha=0.0)
    other = born_again(lambda _: make(1), split, RECIPE, generations=1)[0]
    assert equal(child, other)


def test_all_come_back_in_evaluation_mode_and_asked_for_in_order():
    asked = []

    def watched(generation):
        asked.append(generation)
        return make(generation)

    family = born_again(watched, data(), RECIPE, generations=2)
    assert asked == [0, 1, 2]
    assert not any(module.training for net in family for module in net.modules())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="generations must be at least 1, got 0"):
        born_again(make, data(), generations=0)
    with pytest.raises(ValueError, match="alpha must be from 0 to 1"):
        born_again(make, data(), RECIPE, alpha=-1)
