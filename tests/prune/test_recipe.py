"""A training that can begin at any step."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD

from effdl.data.digits import Split
from effdl.prune.recipe import Recipe, constant
from effdl.train import train_classifier, warm_up_cosine


def split(count=25):
    """Return vectors with classes."""
    return Split(torch.randn(count, 4), torch.randint(3, (count,)))


def plain_sgd(parameters):
    """Return an optimiser without memory."""
    return SGD(parameters, 0.1)


def same(first, second):
    """Return whether all tensors of both are equal to the bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_is_the_ordinary_training_of_a_classifier():
    part, first = split(), nn.Linear(4, 3)
    second = copy.deepcopy(first)
    recipe = Recipe(
        part,
        lambda p: SGD(p, 0.1, 0.9, weight_decay=5e-4, nesterov=True),
        epochs=3,
        batch_size=10,
        factor=warm_up_cosine,
        seed=7,
    )
    recipe(first)
    train_classifier(second, part, epochs=3, batch_size=10, seed=7)
    assert same(first, second)


@pytest.mark.parametrize("cut", [1, 3, 4, 8])
def test_in_two_parts_it_is_the_same_without_memory(cut):
    first = nn.Linear(4, 3)
    second = copy.deepcopy(first)
    recipe = Recipe(split(), plain_sgd, epochs=3, batch_size=10, factor=warm_up_cosine)
    assert recipe.steps == 9
    recipe(first)
    recipe(second, stop=cut)
    assert not same(first, second)
    recipe(second, start=cut)
    assert same(first, second)


def test_momentum_begins_anew():
    first = nn.Linear(4, 3)
    second = copy.deepcopy(first)
    recipe = Recipe(split(), lambda p: SGD(p, 0.1, 0.9), epochs=1, batch_size=5)
    recipe(first)
    recipe(second, stop=2)
    recipe(second, start=2)
    assert not same(first, second)


def test_each_step_has_the_batch_and_the_rate_of_its_number():
    """Two passes of three batches; the rate's factor is the number of the step."""
    seen, rates = [], []

    class Watched(nn.Linear):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    def factor(step, steps):
        assert steps == 6
        rates.append(step)
        return 0.1 * step

    part = split()
    recipe = Recipe(part, plain_sgd, epochs=2, batch_size=10, factor=factor, seed=1)
    recipe(Watched(4, 3))
    whole, seen[:] = list(seen), []
    rates.clear()
    recipe(Watched(4, 3), start=2, stop=5)
    assert [x.tolist() for x in seen] == [x.tolist() for x in whole[2:5]]
    assert rates == [2, 3, 4, 5]  # the last is set, and not used
    passes = part.batches(10, seed=1)
    wanted = [x for _ in range(2) for x, _ in passes]
    assert [x.tolist() for x in whole] == [x.tolist() for x in wanted]


def test_another_seed_is_another_order_and_nothing_else():
    part = split()
    nets = [nn.Linear(4, 3) for _ in range(3)]
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        net.load_state_dict(nets[0].state_dict() if seed else net.state_dict())
    nets[1].load_state_dict(nets[0].state_dict())
    start = copy.deepcopy(nets[0].state_dict())
    nets[2].load_state_dict(start)
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        Recipe(part, plain_sgd, epochs=2, batch_size=10, seed=seed)(net)
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_the_mean_loss_is_that_of_the_steps_done():
    part = split(20)
    recipe = Recipe(part, lambda p: SGD(p, 1e-12), epochs=1, batch_size=10)
    net, order = nn.Linear(4, 3), list(part.batches(10, seed=0))
    losses = [nn.functional.cross_entropy(net(x), y).item() for x, y in order]
    assert recipe(net) == pytest.approx(sum(losses) / 2)
    assert recipe(net, start=1) == pytest.approx(losses[1])
    assert constant(5, 9) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Recipe(split(), plain_sgd, epochs=0), "epochs must be at least 1"),
        (lambda: Recipe(split(), plain_sgd, batch_size=0), "batch_size must be at"),
        (lambda: Recipe(split(), plain_sgd, seed=-1), "seed must be 0 or larger"),
        (
            lambda: Recipe(split(), plain_sgd, epochs=2)(nn.Linear(4, 3), start=2),
            "start must be below stop, and both from 0 to 2, got 2 and 2",
        ),
        (
            lambda: Recipe(split(), plain_sgd)(nn.Linear(4, 3), start=3, stop=2),
            "got 3 and 2",
        ),
        (lambda: Recipe(split(), plain_sgd)(nn.Linear(4, 3), start=-1), "got -1 and"),
        (lambda: Recipe(split(), plain_sgd)(nn.Linear(4, 3), stop=99), "and 99"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
