"""Going back to an early step, or to the first learning rate."""

import copy

import pytest
import torch
from torch.optim import SGD

from effdl.blocks import plain_mlp
from effdl.data.digits import Split
from effdl.prune.lottery import find_tickets
from effdl.prune.masks import masks_of
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.recipe import Recipe
from effdl.prune.rewinding import (
    at_step,
    find_rewound_tickets,
    rewind_learning_rate,
)
from effdl.prune.thresholds import global_masks
from effdl.train import warm_up_cosine


def recipe():
    """Return six steps of training with momentum."""
    part = Split(torch.randn(30, 6), torch.randint(4, (30,)))
    return Recipe(
        part,
        lambda p: SGD(p, 0.3, 0.9),
        epochs=2,
        batch_size=10,
        factor=warm_up_cosine,
    )


def net():
    """Return a small network."""
    return plain_mlp((6, 8, 4))


def same(first, second):
    """Return whether all weights of both are equal to the bit."""
    a, b = weights_of(first), weights_of(second)
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_back_to_step_0_is_the_lottery_ticket_to_the_bit():
    initial, train = net(), recipe()
    plain = find_tickets(initial, [0.5, 0.75], train=train)
    rewound = find_rewound_tickets(initial, [0.5, 0.75], train=train, step=0)
    for a, b in zip(plain, rewound, strict=True):
        assert same(a.ticket, b.ticket)
        assert same(a.trained, b.trained)


def test_the_ticket_has_the_weights_of_step_k():
    initial, train = net(), recipe()
    early = copy.deepcopy(initial)
    train(early, stop=2)
    assert same(at_step(initial, 2, train=train), early)
    first = weights_of(early)
    for found in find_rewound_tickets(initial, [0.5, 0.75], train=train, step=2)[1:]:
        for name, weight in weights_of(found.ticket).items():
            assert torch.equal(weight, first[name] * found.masks[name])


def test_only_the_steps_after_k_are_done_again():
    initial, train, done = net(), recipe(), []

    def watched(model, *, start=0, stop=None):
        done.append((start, stop))
        train(model, start=start, stop=stop)

    find_rewound_tickets(initial, [0.5, 0.75], train=watched, step=2)
    assert done == [(0, 2), (2, None), (2, None), (2, None)]
    done.clear()
    rewind_learning_rate(initial, [0.5, 0.75], train=watched, step=4)
    assert done == [(4, None)] * 2


def test_at_step_0_nothing_is_trained():
    initial = net()
    copied = at_step(initial, 0, train=None)
    assert same(copied, initial)
    assert copied is not initial


def test_with_the_learning_rate_alone_the_weights_stay_as_they_were_trained():
    trained, train = net(), recipe()
    train(trained)
    before = copy.deepcopy(trained.state_dict())
    found = rewind_learning_rate(trained, [0.5, 0.75], train=train)
    last = weights_of(trained)
    for now in found:
        for name, weight in weights_of(now.ticket).items():
            size, mask = last[name].abs(), now.masks[name]
            assert torch.equal(weight, last[name] * mask)
            assert size[mask].min() >= size[~mask].max()
        last = weights_of(now.trained)
    assert [count_kept(r.masks).sparsity for r in found] == [0.5, 0.75]
    assert masks_of(trained) == {}
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_learning_rate_rewinding_is_the_training_of_the_masked_network():
    trained, train = net(), recipe()
    found = rewind_learning_rate(trained, [0.5], train=train, step=3)[0]
    again = copy.deepcopy(found.ticket)
    train(again, start=3)
    assert same(again, found.trained)
    assert not same(found.ticket, found.trained)


def test_the_selection_and_the_scores_are_passed_on_and_what_is_gone_stays_gone():
    """Small weights count as important, so what is gone would be the best of all."""
    asked = []

    def scores_of(model):
        asked.append(model)
        return {name: -weight.abs() for name, weight in weights_of(model).items()}

    initial, train = net(), recipe()
    options = {"train": train, "select": global_masks, "scores_of": scores_of}
    for find in (
        lambda: find_rewound_tickets(initial, [0.5, 0.75], step=1, **options)[1:],
        lambda: rewind_learning_rate(initial, [0.5, 0.75], **options),
    ):
        asked.clear()
        rounds = find()
        assert len(asked) == 2
        first, second = (found.masks for found in rounds)
        assert sum(int(m.sum()) for m in first.values()) == 40
        assert sum(int(m.sum()) for m in second.values()) == 20
        assert [int(m.sum()) for m in first.values()] != [24, 16]
        assert not any((second[n] & ~first[n]).any() for n in first)


@pytest.mark.parametrize("sparsities", [[], [0.5, 0.25]])
@pytest.mark.parametrize("step", [None, 1])
def test_sparsities_must_rise(sparsities, step):
    with pytest.raises(ValueError, match="sparsities must rise, and not be empty"):
        if step is None:
            rewind_learning_rate(net(), sparsities, train=recipe())
        else:
            find_rewound_tickets(net(), sparsities, train=recipe(), step=step)


def test_a_step_beyond_the_end_is_named():
    with pytest.raises(ValueError, match="from 0 to 6, got 0 and 7"):
        find_rewound_tickets(net(), [0.5], train=recipe(), step=7)
