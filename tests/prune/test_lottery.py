"""Tickets: what goes, what stays as it was, and that they are worth having."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim import SGD

from effdl.blocks import plain_mlp
from effdl.data.digits import moved_digits
from effdl.prune.lottery import find_ticket, find_tickets, make_ticket, sparing
from effdl.prune.lottery_controls import reinitialised, shuffled_masks
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.recipe import Recipe
from effdl.prune.schedules import rate_of_a_round, sparsity_of_rounds
from effdl.prune.thresholds import global_masks
from effdl.seed import seeded
from effdl.train import accuracy, warm_up_cosine


def net(*widths):
    """Return a small network on flat inputs."""
    return plain_mlp(widths or (6, 8, 4))


def scramble(model):
    """Stand in for a training: new weights in place, the same for the same network."""
    with seeded(3), torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))


def test_the_four_steps_written_out():
    initial = net()
    before = copy.deepcopy(initial.state_dict())  # step 1
    trained = copy.deepcopy(initial)
    scramble(trained)  # step 2
    ticket = find_ticket(initial, 0.5, train=scramble)
    for name, end in trained.named_parameters():
        start = before[name]
        if name.endswith("weight"):
            cut = end.abs().flatten().sort().values[end.numel() // 2]
            kept = end.abs() >= cut  # step 3
            start = torch.where(kept, start, torch.zeros_like(start))  # step 4
            layer, _, attribute = name.rpartition(".")
            found = getattr(ticket.get_submodule(layer), attribute)
        else:
            found = ticket.get_parameter(name)
        assert torch.equal(found, start), name


def test_the_weights_of_a_ticket_are_the_first_ones_to_the_bit():
    initial = net()
    rounds = find_tickets(initial, [0.3, 0.6], train=scramble)
    first = weights_of(initial)
    for found in rounds[1:]:
        masks, now = found.masks, weights_of(found.ticket)
        for name, weight in first.items():
            assert torch.equal(now[name], weight * masks[name])
            assert not now[name][~masks[name]].any()


def test_nothing_pruned_gives_back_the_first_network():
    initial = net()
    ticket = find_ticket(initial, 0.0, train=scramble)
    x = torch.randn(5, 6)
    assert torch.equal(ticket(x), initial(x))
    assert count_kept(masks_of(ticket)).sparsity == 0


def test_the_first_network_stays_as_it_is():
    initial = net()
    before = copy.deepcopy(initial.state_dict())
    find_ticket(initial, 0.5, train=scramble)
    find_tickets(initial, [0.5], train=scramble)
    assert masks_of(initial) == {}
    for name, tensor in initial.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(("rounds", "rate"), [(10, 0.2057), (5, 0.3690)])
def test_ninety_per_cent_in_rounds(rounds, rate):
    """Each takes 20.57 % of what is left in ten rounds, 36.90 % in five."""
    found = find_tickets(net(50, 40), sparsity_of_rounds(0.9, rounds), train=scramble)
    left = [2000] + [count_kept(r.masks).kept for r in found[1:]]
    assert left[-1] == 200
    for done, kept in enumerate(left):
        assert kept == pytest.approx(2000 * (1 - rate) ** done, abs=1)


def test_the_rate_of_the_survey_leaves_eighty_five_per_cent_of_the_weights():
    """p^(1/n) % with p = 90 and n = 10 is 1.57 %; 20.57 % are needed."""
    left = {}
    for rate in (90 ** (1 / 10) / 100, rate_of_a_round(0.9, 10)):
        wanted = [1 - (1 - rate) ** done for done in range(1, 11)]
        found = find_tickets(net(50, 40), wanted, train=scramble)[-1]
        left[round(100 * rate, 2)] = 1 - count_kept(found.masks).sparsity
    assert left == {1.57: pytest.approx(0.854, abs=5e-4), 20.57: pytest.approx(0.1)}


def test_a_round_prunes_by_what_the_last_one_trained_and_only_what_is_left():
    found = find_tickets(net(), [0.25, 0.5, 0.75], train=scramble)
    for last, now in pairwise(found[1:]):
        for name, mask in now.masks.items():
            old = last.masks[name]
            assert not (mask & ~old).any()
            size = weights_of(last.trained)[name].abs()
            assert size[mask].min() >= size[old & ~mask].max()


def test_every_round_is_trained_by_itself_from_the_first_weights():
    seen = []

    def train(model):
        seen.append({n: w.clone() for n, w in weights_of(model).items()})
        scramble(model)

    initial = net()
    find_tickets(initial, [0.5, 0.75], train=train)
    assert len(seen) == 3
    for weights in seen:
        for name, weight in weights_of(initial).items():
            kept = weights[name] != 0
            assert torch.equal(weights[name][kept], weight[kept])


def test_what_is_gone_stays_gone_while_a_ticket_trains():
    found = find_tickets(net(), [0.5], train=scramble)[1]
    for name, weight in weights_of(found.trained).items():
        assert not weight[~found.masks[name]].any()
        assert weight[found.masks[name]].all()


def test_layers_lose_alike_unless_the_selection_is_global():
    initial = net()
    layers = find_tickets(initial, [0.5], train=scramble)[1].masks
    assert [int(m.sum()) for m in layers.values()] == [24, 16]
    together = find_tickets(initial, [0.5], train=scramble, select=global_masks)
    scores = torch.cat([
        s.flatten() for s in magnitude_scores(together[0].trained).values()
    ])
    cut = scores.sort().values[40]
    for name, mask in together[1].masks.items():
        assert torch.equal(mask, magnitude_scores(together[0].trained)[name] >= cut)


def test_scores_are_of_the_trained_network():
    asked = []

    def scores_of(model):
        asked.append(model)
        return magnitude_scores(model)

    found = find_tickets(net(), [0.5, 0.75], train=scramble, scores_of=scores_of)
    assert asked == [found[0].trained, found[1].trained]


def test_the_output_layer_loses_at_half_the_rate():
    """Three rounds at 20 %: the others keep .8^3, the output layer .9^3."""
    initial, wanted = net(100, 100, 100), [0.2, 0.36, 0.488]
    found = find_tickets(initial, wanted, train=scramble, select=sparing("3.weight"))
    kept = [[int(m.sum()) for m in r.masks.values()] for r in found[1:]]
    assert kept == [[8000, 9000], [6400, 8100], [5120, 7290]]


@pytest.mark.parametrize(("share", "kept"), [(0.0, 100), (1.0, 40), (0.25, 85)])
def test_a_layer_can_be_spared_altogether_or_not_at_all(share, kept):
    scores = {"hidden": torch.rand(100), "output": torch.rand(100)}
    masks = sparing("output", share=share)(scores, 0.6, within=None)
    assert int(masks["hidden"].sum()) == 40
    assert int(masks["output"].sum()) == kept


def test_a_ticket_is_better_than_its_mask_with_other_weights_and_than_its_weights():
    """Two seeds; 85 % is gone. Much less training than in the book, but clear."""
    digits = moved_digits(n_train=800, n_validation=400, n_test=1)
    held_out = digits.validation.batches(500)

    def train(seed):
        return Recipe(
            digits.train,
            lambda p: SGD(p, 0.1, 0.9, nesterov=True),
            epochs=5,
            batch_size=50,
            factor=warm_up_cosine,
            seed=seed,
        )

    better = []
    for seed in (0, 1):
        with seeded(seed):
            initial = plain_mlp((256, 100, 50, 10))
            fresh = reinitialised(initial)
        found = find_tickets(initial, [0.85], train=train(seed))[-1]
        with seeded(seed):
            shuffled = shuffled_masks(found.masks)
        controls = [make_ticket(fresh, found.masks), make_ticket(initial, shuffled)]
        for control in controls:
            train(seed)(control)
        scores = [accuracy(m, held_out) for m in (found.trained, *controls)]
        better.append([scores[0] - scores[1], scores[0] - scores[2]])
    new_weights, other_mask = torch.tensor(better).mean(dim=0)
    assert new_weights > 0.05
    assert other_mask > 0.1


def pruned():
    """Return a network that is pruned already."""
    model = nn.Linear(2, 1)
    prune_(model, {"weight": torch.tensor([[True, False]])})
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_tickets(net(), [], train=scramble), "sparsities must rise"),
        (lambda: find_tickets(net(), [0.5, 0.4], train=scramble), "must rise"),
        (lambda: find_tickets(net(), [90], train=scramble), "got 90; 90 % is 0.9"),
        (lambda: find_ticket(net(), 1.0, train=scramble), "sparsity must be"),
        (
            lambda: find_tickets(pruned(), [0.5], train=scramble),
            "pruned already; begin",
        ),
        (lambda: find_ticket(pruned(), 0.5, train=scramble), "is pruned already"),
        (
            lambda: make_ticket(net(), {"1.weight": torch.ones(2, 2).bool()}),
            "mask of 1.weight must have shape",
        ),
        (lambda: sparing("5.weight", share=2), "share must be from 0 to 1, got 2"),
        (
            lambda: find_ticket(net(), 0.5, train=scramble, select=sparing("9")),
            "name must be one of several weights, got 9: 1.weight, 3.weight",
        ),
        (
            lambda: sparing("a")({"a": torch.rand(4)}, 0.5, within=None),
            "name must be one of several weights, got a",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_layer_that_loses_everything_is_named():
    initial = net()
    masks = {"1.weight": torch.zeros(8, 6, dtype=torch.bool)}
    with pytest.warns(UserWarning, match="1.weight loses all its weights"):
        make_ticket(initial, masks)
