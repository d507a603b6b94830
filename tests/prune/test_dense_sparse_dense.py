"""DSD: three phases, what is gone in the second and back in the third."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp
from effdl.data.digits import Split
from effdl.prune.dense_sparse_dense import dense_sparse_dense_
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept, weights_of
from effdl.train import accuracy, train_classifier


def nothing(model, factor):
    """Train nothing."""


def noise(model, factor):
    """Move every parameter, as training would."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))


def small():
    """Return a small network."""
    return plain_mlp((6, 20, 10, 3))


class Diary:
    """A trainer that notes down what it is given, and then moves everything."""

    def __init__(self):
        self.factors, self.masks, self.before, self.after = [], [], [], []

    def __call__(self, model, factor):
        """Train, as far as anybody can see."""
        self.factors.append(factor)
        self.masks.append(masks_of(model))
        self.before.append(weights_of(model))
        noise(model, factor)
        self.after.append(weights_of(model))


def test_the_masks_are_the_largest_of_every_layer_after_the_first_phase():
    diary = Diary()
    masks = dense_sparse_dense_(small(), diary, sparsity=0.4)
    for name, weight in diary.after[0].items():
        order = weight.abs().flatten().argsort(descending=True)
        kept = order[: weight.numel() - round(0.4 * weight.numel())]
        assert set(masks[name].flatten().nonzero().flatten().tolist()) == set(
            kept.tolist()
        )


def test_by_hand():
    """Of 1, -4, 2, -3 the smaller half goes, and returns as 0; then all get 1 more."""
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, -5.0, 1.0, -4.0]]))

    def one_more(model, factor):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)

    dense_sparse_dense_(layer, one_more, sparsity=0.5)
    assert layer.weight.tolist() == [[1.0, -2.0, 1.0, -1.0]]


def test_the_masks_are_there_in_the_second_phase_alone():
    diary = Diary()
    masks = dense_sparse_dense_(small(), diary)
    assert [len(seen) for seen in diary.masks] == [0, 3, 0]
    assert all(torch.equal(masks[n], mask) for n, mask in diary.masks[1].items())
    assert count_kept(masks).sparsity == pytest.approx(0.3)


def test_what_was_pruned_returns_from_exactly_0_and_moves_again():
    diary, net = Diary(), small()
    masks = dense_sparse_dense_(net, diary)
    for name, mask in masks.items():
        assert not diary.after[1][name][~mask].any()
        assert not diary.before[2][name][~mask].any()
        assert diary.after[2][name][~mask].all()
        assert torch.equal(diary.before[2][name], diary.after[1][name])
    assert type(net[1].weight) is nn.Parameter
    assert masks_of(net) == {}


def test_the_last_phase_has_a_tenth_of_the_rate_or_what_is_asked_for():
    diary = Diary()
    dense_sparse_dense_(small(), diary)
    assert diary.factors == [1.0, 1.0, 0.1]
    diary = Diary()
    dense_sparse_dense_(small(), diary, rates=(3.0, 2.0, 1.0))
    assert diary.factors == [3.0, 2.0, 1.0]


def test_at_sparsity_0_it_is_three_dense_trainings():
    def steeper(model, factor):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5).add_(factor)

    net = small()
    twin = copy.deepcopy(net)
    dense_sparse_dense_(net, steeper, sparsity=0.0)
    for factor in (1.0, 1.0, 0.1):
        steeper(twin, factor)
    theirs = dict(twin.named_parameters())
    for name, ours in net.named_parameters():
        assert torch.equal(ours, theirs[name])


def test_it_ends_with_a_network_that_has_learned():
    x = torch.randn(300, 20)
    split = Split(x, (x[:, 3] > 0).long())
    net = plain_mlp((20, 10, 2))

    def train(model, factor):
        train_classifier(model, split, epochs=15, learning_rate=0.1 * factor)

    dense_sparse_dense_(net, train)
    assert accuracy(net, split.batches(300)) > 0.9


def pruned():
    """Return a network that is pruned already."""
    net = small()
    prune_(net, {"1.weight": torch.ones(20, 6, dtype=torch.bool)})
    return net


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: dense_sparse_dense_(small(), nothing, sparsity=30),
            "sparsity must be at least 0 and below 1, got 30; 30 % is 0.3",
        ),
        (
            lambda: dense_sparse_dense_(small(), nothing, rates=(1.0, 0.1)),
            "rates must be three numbers above 0",
        ),
        (
            lambda: dense_sparse_dense_(small(), nothing, rates=(1.0, 1.0, 0.0)),
            "rates must be three numbers above 0",
        ),
        (
            lambda: dense_sparse_dense_(pruned(), nothing),
            "model is pruned already",
        ),
    ],
)
def test_what_cannot_be_is_named_before_anything_is_trained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_wrong_sparsity_is_named_before_the_first_phase():
    diary = Diary()
    with pytest.raises(ValueError, match="sparsity"):
        dense_sparse_dense_(small(), diary, sparsity=1.0)
    assert not diary.factors
