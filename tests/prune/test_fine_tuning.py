"""What fine-tuning a pruned network keeps, and what its inherited weights are worth."""

import torch

from effdl.blocks import plain_mlp
from effdl.data.digits import moved_digits
from effdl.prune.iterative import prune_and_train_
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.schedules import prune_gradually
from effdl.prune.thresholds import layer_masks
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

DIGITS = moved_digits(n_train=1500, n_validation=1000)


def new(seed):
    """Return a network as initialised."""
    with seeded(seed):
        return plain_mlp((256, 64, 10))


def train(net, **options):
    """Train a network for six epochs."""
    train_classifier(net, DIGITS.train, epochs=6, learning_rate=0.05, **options)


def fine_tune(net, sparsity=0.9):
    """Prune and train; return the masks of the pruning."""
    return prune_and_train_(
        net, [sparsity], scores_of=magnitude_scores, select=layer_masks, train=train
    )[0]


def test_the_masks_and_the_zeros_are_the_same_after_fine_tuning():
    """Momentum and weight decay included, which train_classifier has."""
    net = new(0)
    train(net)
    masks = fine_tune(net)
    after, weights = masks_of(net), weights_of(net)
    for name, mask in masks.items():
        assert torch.equal(after[name], mask)
        assert not weights[name][~mask].any()
        assert weights[name][mask].all()
    assert round(count_kept(after).sparsity, 3) == 0.9


def test_inherited_weights_beat_new_ones_behind_the_same_mask():
    """Means of three seeds at 90 per cent, as many epochs after the pruning."""
    inherited, anew = [], []
    for seed in range(3):
        net = new(seed)
        train(net)
        other = new(seed + 100)
        prune_(other, fine_tune(net))
        train(other)
        for found, model in ((inherited, net), (anew, other)):
            found.append(accuracy(model, DIGITS.validation.batches(1000)))
    assert sum(inherited) / 3 > sum(anew) / 3 + 0.03


def test_pruning_gradually_ends_with_as_many_weights_as_pruning_at_once():
    net = new(0)
    at_once = layer_masks(magnitude_scores(net), 0.9)
    prune_(net, {name: torch.ones_like(mask) for name, mask in at_once.items()})

    def masks_for(net, sparsity):
        return layer_masks(magnitude_scores(net), sparsity, within=masks_of(net))

    gradual = prune_gradually(net, masks_for, final=0.9, steps=60, every=7)
    train(net, after_step=gradual)
    assert count_kept(masks_of(net)) == count_kept(at_once)
