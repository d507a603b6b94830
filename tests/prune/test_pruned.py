"""Counts, ordinary copies, and pruned networks back from a file."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.nas.proxies.snip import connection_sensitivity
from effdl.prune.masks import make_permanent_, masks_of, prune_
from effdl.prune.pruned import Kept, count_kept, load_pruned_, plain_copy, weights_of


def pruned_net():
    """Return a small convolutional network without half of its weights."""
    model = plain_net(2).eval()
    prune_(model, {n: torch.rand(w.shape) < 0.5 for n, w in weights_of(model).items()})
    return model


def test_counts_are_those_of_the_weights_that_are_not_0():
    model = pruned_net()
    kept, total = count_kept(masks_of(model))
    weights = weights_of(model).values()
    assert kept == sum(int((w != 0).sum()) for w in weights)
    assert total == sum(w.numel() for w in weights)


def test_the_sparsity_by_hand():
    """3 of 4 and 1 of 6 are left: 4 of 10."""
    masks = {
        "a": torch.tensor([True, True, False, True]),
        "b": torch.tensor([[False, False, True], [False, False, False]]),
    }
    assert count_kept(masks) == (4, 10)
    assert count_kept(masks).sparsity == 0.6
    assert Kept(10, 10).sparsity == 0


def test_a_plain_copy_computes_the_same_and_leaves_the_network_pruned():
    model = pruned_net()
    masks = masks_of(model)
    copied = plain_copy(model)
    assert masks_of(copied) == {}
    x = torch.randn(3, 1, 16, 16)
    assert torch.equal(copied(x), model(x))
    assert masks_of(model).keys() == masks.keys()
    copied[0][0].weight.data.fill_(1)
    assert not torch.equal(copied(x), model(x))


def test_gradient_scores_work_on_a_plain_copy():
    """They refuse a network whose weights are computed from others."""
    model = pruned_net()
    x, y = torch.randn(4, 1, 16, 16), torch.arange(4)
    with pytest.raises(ValueError, match="undo the weight norm or parametrization"):
        connection_sensitivity(model, x, y)
    scores = connection_sensitivity(plain_copy(model), x, y)
    assert scores.keys() == masks_of(model).keys()
    assert all(not scores[name][~mask].any() for name, mask in masks_of(model).items())


def test_weights_are_those_of_linear_and_convolutional_layers_only():
    assert list(weights_of(plain_mlp((6, 5, 3)))) == ["1.weight", "3.weight"]
    assert len(weights_of(plain_net(2))) == 6  # of 5 convolutions, 1 linear layer


def test_weights_are_copies_as_they_compute():
    model = plain_mlp((6, 5, 3))
    mask = torch.rand(5, 6) < 0.5
    before = model[1].weight.detach().clone()
    prune_(model, {"1.weight": mask})
    found = weights_of(model)["1.weight"]
    assert torch.equal(found, before * mask)
    assert not found.requires_grad
    found.fill_(7)
    assert not (model[1].weight == 7).any()


def test_a_pruned_network_comes_back_from_its_state():
    model, other = pruned_net(), plain_net(2).eval()
    load_pruned_(other, model.state_dict())
    for name, mask in masks_of(model).items():
        assert torch.equal(masks_of(other)[name], mask)
    x = torch.randn(3, 1, 16, 16)
    assert torch.equal(other(x), model(x))
    make_permanent_(other)
    assert torch.equal(other(x), model(x))


def test_a_network_that_is_one_layer_comes_back_too():
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    prune_(layer, {"weight": torch.eye(2, 3).bool()})
    load_pruned_(other, layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


def test_a_state_without_masks_is_loaded_as_usual():
    model, other = plain_mlp((6, 5, 3)), plain_mlp((6, 5, 3))
    load_pruned_(other, model.state_dict())
    assert masks_of(other) == {}
    assert torch.equal(other[1].weight, model[1].weight)


def test_nothing_to_count_is_refused():
    with pytest.raises(ValueError, match="masks is empty: there is nothing to count"):
        count_kept({})


def test_the_state_of_another_architecture_is_refused_and_nothing_changed():
    model = plain_mlp((6, 5, 3))
    prune_(model, {"1.weight": torch.ones(5, 6).bool()})
    other = plain_mlp((6, 4, 3))
    with pytest.raises(ValueError, match=r"mask of 1\.weight must have shape \[4, 6\]"):
        load_pruned_(other, model.state_dict())
    assert masks_of(other) == {}
