"""Magnitudes, LAMP, thresholds by the deviation, and the dropout that follows."""

import copy
import math

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import moved_digits
from effdl.prune.magnitude import (
    deviation_masks,
    dropout_after_pruning,
    lamp,
    lamp_scores,
    magnitude_scores,
)
from effdl.prune.masks import prune_
from effdl.prune.thresholds import global_masks, layer_masks
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier


def rescaled(model, factor):
    """Multiply the first linear layer, bias too, and divide the weights after it."""
    first, second = [m for m in model if isinstance(m, nn.Linear)][:2]
    with torch.no_grad():
        first.weight *= factor
        first.bias *= factor
        second.weight /= factor
    return model


def changed(before, after):
    """Return how many entries of two sets of masks differ."""
    return sum(int((before[name] != after[name]).sum()) for name in before)


def test_magnitudes_are_those_of_linear_and_convolutional_weights():
    model = plain_net(2)
    scores = magnitude_scores(model)
    assert len(scores) == 6
    for name, score in scores.items():
        assert torch.equal(score, model.get_parameter(name).abs())


def test_lamp_is_the_share_in_all_weights_that_are_not_smaller():
    """The definition as a double loop, ties included."""
    weight = torch.randn(6, 5).round(decimals=1)
    squares = [w**2 for w in weight.flatten().tolist()]
    assert len(set(squares)) < len(squares)
    expected = [s / sum(t for t in squares if t >= s) for s in squares]
    torch.testing.assert_close(lamp(weight).flatten(), torch.tensor(expected))
    assert lamp(weight).shape == weight.shape


def test_lamp_by_hand():
    """Squares 1, 4 and 9: 1/14, 4/13 and 9/9."""
    found = lamp(torch.tensor([[-1.0, 3.0, 2.0]]))
    assert found[0].tolist() == pytest.approx([1 / 14, 1, 4 / 13])


def test_the_largest_weight_of_every_layer_has_the_lamp_score_1():
    model = plain_net(4)
    for name, score in lamp_scores(model).items():
        weight = model.get_parameter(name)
        assert score.max() == 1
        assert score.flatten().argmax() == weight.abs().flatten().argmax()


@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.97])
def test_lamp_of_one_layer_keeps_what_magnitudes_keep(sparsity):
    weight = {"weight": torch.randn(40, 30)}
    scores = {"weight": lamp(weight["weight"])}
    expected = global_masks({"weight": weight["weight"].abs()}, sparsity)
    assert changed(global_masks(scores, sparsity), expected) == 0


def test_lamp_empties_no_layer_where_global_magnitudes_do():
    """The last layer is a hundred times smaller; 10 of 3,300 weights are to stay."""
    model = plain_mlp((20, 100, 10, 30))
    with torch.no_grad():
        model[5].weight /= 100
    kept = 10 / 3300
    plain = global_masks(magnitude_scores(model), 1 - kept)
    layer_adaptive = global_masks(lamp_scores(model), 1 - kept)
    assert not plain["5.weight"].any()
    assert all(mask.any() for mask in layer_adaptive.values())


@pytest.mark.parametrize("factor", [8.0, 0.125])
def test_a_change_of_scale_changes_global_magnitude_masks_and_not_the_function(factor):
    """Powers of 2, so that nothing is rounded. Layer by layer and LAMP stay."""
    model = plain_mlp((20, 30, 10))
    x = torch.randn(7, 20)
    before = model(x)
    plain = global_masks(magnitude_scores(model), 0.8)
    each = layer_masks(magnitude_scores(model), 0.8)
    adaptive = global_masks(lamp_scores(model), 0.8)
    rescaled(model, factor)
    torch.testing.assert_close(model(x), before)
    assert changed(plain, global_masks(magnitude_scores(model), 0.8)) > 30
    assert changed(each, layer_masks(magnitude_scores(model), 0.8)) == 0
    assert changed(adaptive, global_masks(lamp_scores(model), 0.8)) == 0


def test_scores_of_a_pruned_network_are_0_where_a_weight_is_gone():
    model = plain_mlp((6, 5, 3))
    mask = torch.rand(5, 6) < 0.5
    weight = model[1].weight.detach().clone()
    prune_(model, {"1.weight": mask})
    for scores in (magnitude_scores(model), lamp_scores(model)):
        assert not scores["1.weight"][~mask].any()
        assert scores["1.weight"][mask].all()
    left = lamp(weight[mask])
    torch.testing.assert_close(lamp_scores(model)["1.weight"][mask], left)


def test_the_deviation_is_that_of_each_layer():
    weights = {"a": torch.randn(50, 40), "b": 0.1 * torch.randn(40, 30)}
    for name, mask in deviation_masks(weights, 0.7).items():
        values = weights[name].flatten().tolist()
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        expected = [abs(v) >= 0.7 * deviation for v in values]
        assert mask.flatten().tolist() == expected


def test_the_share_of_normal_weights_that_a_threshold_takes():
    """P(|z| < q) = erf(q / sqrt 2): 68 % below one deviation."""
    weight = {"weight": 3 * torch.randn(300, 300)}
    for quality in (0.5, 1.0, 2.0):
        gone = 1 - deviation_masks(weight, quality)["weight"].float().mean().item()
        assert gone == pytest.approx(math.erf(quality / math.sqrt(2)), abs=0.005)


def test_quality_0_takes_nothing():
    assert deviation_masks({"a": torch.zeros(3)}, 0)["a"].all()


def test_dropout_follows_the_square_root_of_what_is_left():
    """A ninth of the weights: a third of the rate."""
    assert dropout_after_pruning(0.5, 1 / 9) == pytest.approx(1 / 6)
    assert dropout_after_pruning(0.3, 1) == 0.3
    assert dropout_after_pruning(0, 0.5) == 0
    assert dropout_after_pruning(1, 0.25) == 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_largest_weights_are_worth_more_than_any_and_none_are_worth_chance(seed):
    """At sparsity 0 nothing changes; without weights there is one answer for all."""
    data = moved_digits(n_train=1500, n_validation=500)
    part = data.validation
    with seeded(seed):
        net = plain_mlp((256, 64, 10))
        noise = {n: torch.rand_like(s) for n, s in magnitude_scores(net).items()}
    train_classifier(net, data.train, epochs=4, learning_rate=0.05, seed=seed)

    def after(masks):
        pruned = copy.deepcopy(net)
        prune_(pruned, masks)
        return accuracy(pruned, part.batches(500))

    whole = layer_masks(magnitude_scores(net), 0.0)
    assert after(whole) == accuracy(net, part.batches(500))
    largest = after(layer_masks(magnitude_scores(net), 0.8))
    assert largest > after(layer_masks(noise, 0.8)) + 0.1
    with pytest.warns(UserWarning, match="loses all its weights"):
        nothing = after({name: ~mask for name, mask in whole.items()})
    share = (part.targets == net[-1].bias.argmax()).double().mean().item()
    assert nothing == pytest.approx(share)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lamp(torch.zeros(3)), "weight is 0 everywhere"),
        (lambda: deviation_masks({}, -0.1), r"quality must be 0 or more, got -0\.1"),
        (lambda: deviation_masks({}, math.nan), "quality must be 0 or more, got nan"),
        (lambda: dropout_after_pruning(1.5, 0.5), "rate must be from 0 to 1, got 1.5"),
        (lambda: dropout_after_pruning(-0.1, 0.5), "rate must be from 0 to 1, got -0"),
        (lambda: dropout_after_pruning(0.5, 0), "kept must be above 0 and at most 1"),
        (lambda: dropout_after_pruning(0.5, 2), "kept must be above 0 and at most 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
