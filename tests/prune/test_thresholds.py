"""From scores to masks: exact counts, layer by layer and over all layers."""

import copy
import math

import pytest
import torch
from torch.nn.utils import prune as reference

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.thresholds import (
    check_sparsity,
    global_masks,
    keep_largest,
    layer_masks,
)

SPARSITIES = [0.0, 0.1, 0.333, 0.5, 0.9, 0.99]


def some_scores():
    """Return scores of three layers, the second one of small values."""
    shapes = {"a": (7, 5), "b": (4, 3, 3, 3), "c": (11,)}
    factors = {"a": 1.0, "b": 0.2, "c": 3.0}
    return {name: factors[name] * torch.rand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_what_goes_has_a_rank_below_the_number_that_goes(sparsity):
    """A weight goes if fewer than round(p n) others have a smaller score."""
    scores = torch.rand(7, 5)
    values = scores.flatten().tolist()
    gone = round(sparsity * 35)
    stays = [sum(other < score for other in values) >= gone for score in values]
    assert keep_largest(scores, sparsity).flatten().tolist() == stays


def test_layer_by_layer_and_globally_by_hand():
    """Halves: of (1, 2), (3, 4) each layer loses its smaller one; all, 1 and 2."""
    scores = {"a": torch.tensor([2.0, 1.0]), "b": torch.tensor([3.0, 4.0])}
    each, together = layer_masks(scores, 0.5), global_masks(scores, 0.5)
    assert (each["a"].tolist(), each["b"].tolist()) == ([True, False], [False, True])
    assert (together["a"].any(), together["b"].all()) == (False, True)


def test_of_equal_scores_the_first_in_memory_stay():
    mask = keep_largest(torch.ones(2, 4), 0.6)
    assert mask.flatten().tolist() == [True] * 3 + [False] * 5
    masks = global_masks({"a": torch.ones(3), "b": torch.ones(3)}, 0.5)
    assert (masks["a"].all(), masks["b"].any()) == (True, False)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_layer_masks_are_those_of_torch(sparsity):
    model = plain_net(4)
    masks = layer_masks(magnitude_scores(model), sparsity)
    for name, mask in masks.items():
        layer = copy.deepcopy(model.get_submodule(name.removesuffix(".weight")))
        reference.l1_unstructured(layer, "weight", sparsity)
        assert torch.equal(mask, layer.weight_mask.bool())


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_global_masks_are_those_of_torch(sparsity):
    model = plain_mlp((20, 15, 5))
    masks = global_masks(magnitude_scores(model), sparsity)
    pairs = [(model[1], "weight"), (model[3], "weight")]
    reference.global_unstructured(pairs, reference.L1Unstructured, amount=sparsity)
    for layer, name in ((model[1], "1.weight"), (model[3], "3.weight")):
        assert torch.equal(masks[name], layer.weight_mask.bool())


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_counts_are_exact_in_every_layer_or_altogether(sparsity):
    scores = some_scores()
    for name, mask in layer_masks(scores, sparsity).items():
        total = scores[name].numel()
        assert mask.sum() == total - round(sparsity * total)
        assert (mask.shape, mask.dtype) == (scores[name].shape, torch.bool)
    kept, total = count_kept(global_masks(scores, sparsity))
    assert kept == total - round(sparsity * total)
    assert total == 35 + 108 + 11


@pytest.mark.parametrize("sparsity", SPARSITIES[1:])
def test_no_weight_that_goes_is_larger_than_one_that_stays(sparsity):
    weights = weights_of(plain_net(4))
    scores = {name: w.abs() for name, w in weights.items()}
    for name, mask in layer_masks(scores, sparsity).items():
        stays, goes = weights[name][mask].abs(), weights[name][~mask].abs()
        assert not len(goes) or not len(stays) or goes.max() <= stays.min()
    masks = global_masks(scores, sparsity)
    stays = torch.cat([weights[name][mask].abs() for name, mask in masks.items()])
    goes = torch.cat([weights[name][~mask].abs() for name, mask in masks.items()])
    assert goes.max() <= stays.min()


def test_each_layer_may_have_a_sparsity_of_its_own():
    scores = some_scores()
    masks = layer_masks(scores, {"a": 0.2, "b": 0.75, "c": 0.0})
    assert {n: int(m.sum()) for n, m in masks.items()} == {"a": 28, "b": 27, "c": 11}


def test_global_masks_do_not_depend_on_the_order_of_the_layers():
    scores = some_scores()
    forwards = global_masks(scores, 0.7)
    backwards = global_masks(dict(reversed(scores.items())), 0.7)
    assert all(torch.equal(backwards[name], mask) for name, mask in forwards.items())


@pytest.mark.parametrize("select", [layer_masks, global_masks])
def test_what_is_gone_stays_gone(select):
    """Though its score has become the largest; and the count is of all weights."""
    scores = some_scores()
    first = select(scores, 0.5)
    turned = {name: 10 - score for name, score in scores.items()}
    second = select(turned, 0.8, within=first)
    for name, mask in second.items():
        assert not (mask & ~first[name]).any()
    kept, total = count_kept(second)
    assert kept == pytest.approx(0.2 * total, abs=2)
    # of what was left the turned scores keep the smallest
    assert not torch.equal(second["a"], select(scores, 0.8)["a"])


@pytest.mark.parametrize("select", [layer_masks, global_masks])
def test_the_same_sparsity_again_changes_nothing(select):
    scores = some_scores()
    first = select(scores, 0.5)
    second = select(
        {n: torch.rand_like(s) for n, s in scores.items()}, 0.5, within=first
    )
    assert all(torch.equal(second[name], mask) for name, mask in first.items())


def test_scores_and_earlier_masks_are_left_as_they_are():
    scores = some_scores()
    first = global_masks(scores, 0.5)
    copies = copy.deepcopy((scores, first))
    global_masks(scores, 0.8, within=first)
    layer_masks(scores, 0.9, within=first)
    for before, after in zip(copies, (scores, first), strict=True):
        assert all(torch.equal(before[name], value) for name, value in after.items())


def test_masks_are_where_the_scores_are():
    scores = torch.tensor([1.0, 2.0])
    with torch.device("meta"):  # where new tensors would go by default
        mask = keep_largest(scores, 0.5)
    assert mask.tolist() == [False, True]


@pytest.mark.parametrize("sparsity", [-0.1, 1, 1.5, 90, math.nan, math.inf])
def test_a_sparsity_out_of_range_is_told(sparsity):
    message = f"sparsity must be at least 0 and below 1, got {sparsity}"
    for call in (
        lambda: check_sparsity(sparsity),
        lambda: keep_largest(torch.ones(3), sparsity),
        lambda: layer_masks({"a": torch.ones(3)}, sparsity),
        lambda: global_masks({"a": torch.ones(3)}, sparsity),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_percents_are_recognised():
    with pytest.raises(ValueError, match=r"got 90; 90 % is 0\.9$"):
        check_sparsity(90)
    with pytest.raises(ValueError, match=r"got -5$"):
        check_sparsity(-5)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="scores has nan"):
        keep_largest(torch.tensor([1.0, math.nan]), 0.5)


@pytest.mark.parametrize("select", [layer_masks, global_masks])
def test_weights_that_are_gone_cannot_be_kept(select):
    scores = {"a": torch.rand(10)}
    first = select(scores, 0.8)
    message = "sparsity keeps 5 weights of a, but only 2 are left; give a higher one"
    with pytest.raises(ValueError, match=message):
        select(scores, 0.5, within=first)


def test_other_bad_arguments_are_named():
    scores = {"a": torch.rand(4), "b": torch.rand(3)}
    with pytest.raises(ValueError, match="sparsity has no entry for b"):
        layer_masks(scores, {"a": 0.5})
    with pytest.raises(ValueError, match="scores is empty"):
        global_masks({}, 0.5)
    for within in ({"a": torch.ones(4).bool()}, {"b": torch.ones(2).bool()}):
        with pytest.raises(ValueError, match=r"within needs a mask of shape \(\d,\) f"):
            layer_masks(scores, 0.5, within={"a": torch.ones(4).bool()} | within)
