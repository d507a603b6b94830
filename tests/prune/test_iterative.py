"""Pruning and training in turns."""

import copy
from itertools import pairwise

import pytest
import torch
from torch.optim import SGD

from effdl.blocks import plain_mlp
from effdl.data.digits import moved_digits
from effdl.prune.iterative import prune_and_train_
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept
from effdl.prune.schedules import sparsity_of_rounds
from effdl.prune.thresholds import global_masks, layer_masks
from effdl.train import accuracy, train_classifier


def nudge(model):
    """Train on noise for a few steps."""
    sgd = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        sgd.zero_grad()
        model(torch.randn(8, 6)).square().sum().backward()
        sgd.step()


@pytest.mark.parametrize("select", [layer_masks, global_masks])
def test_the_rounds_are_those_of_a_loop_by_hand(select):
    ours, theirs = [plain_mlp((6, 5, 3)) for _ in range(2)]
    theirs.load_state_dict(ours.state_dict())
    prune = {"scores_of": magnitude_scores, "select": select, "train": nudge}
    torch.manual_seed(1)
    rounds = prune_and_train_(ours, [0.4, 0.7], **prune)
    torch.manual_seed(1)
    left = {n: torch.ones_like(s).bool() for n, s in magnitude_scores(theirs).items()}
    for sparsity, masks in zip([0.4, 0.7], rounds, strict=True):
        scores = {n: theirs.get_parameter(n).abs() for n in left}
        left = select(scores, sparsity, within=left)
        assert all(torch.equal(left[name], mask) for name, mask in masks.items())
        # train with the masks, then write the zeros down
        masked = copy.deepcopy(theirs)
        prune_(masked, left)
        nudge(masked)
        for name in left:
            weight = masked.get_submodule(name.removesuffix(".weight")).weight
            theirs.get_parameter(name).data.copy_(weight)
        for name, bias in masked.named_parameters():
            if name.endswith("bias"):
                theirs.get_parameter(name).data.copy_(bias)
    x = torch.randn(4, 6)
    torch.testing.assert_close(ours(x), theirs(x))


def test_counts_are_exact_after_every_round_and_nothing_returns():
    model = plain_mlp((6, 20, 10))
    sparsities = sparsity_of_rounds(0.9, 4)
    rounds = prune_and_train_(
        model,
        sparsities,
        scores_of=magnitude_scores,
        select=global_masks,
        train=nudge,
    )
    for sparsity, masks in zip(sparsities, rounds, strict=True):
        assert count_kept(masks).kept == 320 - round(sparsity * 320)
    for before, after in pairwise(rounds):
        assert not any((after[name] & ~before[name]).any() for name in after)
    assert all(torch.equal(rounds[-1][n], m) for n, m in masks_of(model).items())


def test_training_follows_every_pruning_and_sees_its_masks():
    model, seen = plain_mlp((6, 5, 3)), []
    prune_and_train_(
        model,
        [0.2, 0.2, 0.6],
        scores_of=magnitude_scores,
        select=layer_masks,
        train=lambda net: seen.append(round(count_kept(masks_of(net)).sparsity, 2)),
    )
    assert seen == [0.2, 0.2, 0.6]


def test_it_goes_on_with_the_weights_that_the_network_has():
    model = plain_mlp((6, 5, 3))
    before = model[1].weight.detach().clone()
    masks = prune_and_train_(
        model,
        [0.5],
        scores_of=magnitude_scores,
        select=layer_masks,
        train=lambda net: None,
    )[0]["1.weight"]
    assert torch.equal(model[1].weight[masks], before[masks])


def test_a_network_that_was_pruned_before_is_pruned_on():
    """Though the scores do not know what is gone."""

    def noise(net):
        return {name: torch.rand_like(s) for name, s in magnitude_scores(net).items()}

    model = plain_mlp((6, 5, 3))
    first = layer_masks(magnitude_scores(model), 0.5)
    prune_(model, first)
    rounds = prune_and_train_(
        model,
        [0.6, 0.8],
        scores_of=noise,
        select=layer_masks,
        train=lambda net: None,
    )
    for before, after in pairwise([first, *rounds]):
        assert not any((after[name] & ~before[name]).any() for name in first)


def test_training_after_pruning_recovers_most_of_the_accuracy():
    data = moved_digits(n_train=1500, n_validation=500)
    validation = data.validation.batches(500)
    model = plain_mlp((256, 64, 10))
    train_classifier(model, data.train, epochs=6, learning_rate=0.05)
    dense = accuracy(model, validation)
    cut = copy.deepcopy(model)
    prune_(cut, layer_masks(magnitude_scores(cut), 0.9))
    prune_and_train_(
        model,
        [0.9],
        scores_of=magnitude_scores,
        select=layer_masks,
        train=lambda net: train_classifier(
            net, data.train, epochs=6, learning_rate=0.05
        ),
    )
    before, after = accuracy(cut, validation), accuracy(model, validation)
    assert before < dense - 0.1
    assert after > before + 0.1


@pytest.mark.parametrize("sparsities", [[], [0.5, 0.4]])
def test_sparsities_that_do_not_rise_are_refused(sparsities):
    model = plain_mlp((6, 5, 3))
    with pytest.raises(ValueError, match="sparsities must rise, and not be empty, got"):
        prune_and_train_(
            model,
            sparsities,
            scores_of=magnitude_scores,
            select=layer_masks,
            train=lambda net: None,
        )
    assert masks_of(model) == {}
