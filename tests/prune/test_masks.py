"""Masks that the network holds: through training, copies, files, and back."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as reference

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.masks import Mask, make_permanent_, masks_of, prune_, set_masks_


def halves(model):
    """Return masks that keep about half of every weight matrix or kernel."""
    weights = {n: p for n, p in model.named_parameters() if p.ndim > 1}
    return {name: torch.rand(w.shape) < 0.5 for name, w in weights.items()}


def steps(model, optimizer, count=5):
    """Train for a few steps on noise."""
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()


def test_a_masked_layer_is_the_layer_with_the_product_as_its_weight():
    layer, mask = nn.Linear(5, 4), torch.rand(4, 5) < 0.5
    x = torch.randn(3, 5)
    expected = x @ (layer.weight.detach() * mask).T + layer.bias.detach()
    prune_(layer, {"weight": mask})
    torch.testing.assert_close(layer(x), expected)


def test_a_lost_weight_is_0_even_where_the_original_is_infinite():
    """Infinity times 0 would be no number."""
    mask = Mask(torch.tensor([True, False]))
    assert mask(torch.tensor([3.0, torch.inf])).tolist() == [3.0, 0.0]


def test_masks_by_hand():
    """Row (1, 2) without its 2, plus the bias 4: inputs of (10, 100) give 14."""
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[1.0, 2.0]])
    layer.bias.data = torch.tensor([4.0])
    prune_(layer, {"weight": torch.tensor([[True, False]])})
    assert layer(torch.tensor([[10.0, 100.0]])).tolist() == [[14.0]]


def test_a_network_computes_and_learns_as_one_that_torch_has_masked():
    """With the same masks: outputs, and the weights after steps of momentum."""
    ours = plain_mlp((6, 5, 3))
    theirs = copy.deepcopy(ours)
    masks = halves(ours)
    prune_(ours, masks)
    for name, mask in masks.items():
        layer = theirs.get_submodule(name.removesuffix(".weight"))
        reference.custom_from_mask(layer, "weight", mask)
    for model in (ours, theirs):
        torch.manual_seed(1)
        sgd = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
        steps(model, sgd)
    x = torch.randn(4, 6)
    torch.testing.assert_close(ours(x), theirs(x))
    assert not torch.equal(masks["1.weight"], torch.ones(5, 6, dtype=torch.bool))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, 0, 0.1, nesterov=True),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
    ],
)
def test_lost_weights_stay_exactly_0_and_the_others_move(make):
    """The optimiser is made and used before pruning, so it has momentum."""
    model = plain_mlp((6, 5, 3))
    optimizer = make(model.parameters())
    steps(model, optimizer)
    masks = halves(model)
    prune_(model, masks)
    before = model[1].weight.detach().clone()
    steps(model, optimizer)
    for name, mask in masks.items():
        weight = model.get_submodule(name[0]).weight
        assert not weight[~mask].any()
    assert (model[1].weight != before)[masks["1.weight"]].all()


def test_lost_weights_get_no_gradient_and_the_others_the_usual_one():
    layer, mask = nn.Linear(5, 4), torch.rand(4, 5) < 0.5
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        plain.weight[~mask] = 0
    prune_(layer, {"weight": mask})
    x = torch.randn(3, 5)
    layer(x).square().sum().backward()
    plain(x).square().sum().backward()
    found = layer.parametrizations.weight.original.grad
    torch.testing.assert_close(found, plain.weight.grad * mask)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad)


def test_the_parameters_are_the_same_objects_before_and_after():
    model = plain_mlp((6, 5, 3))
    before = {id(p) for p in model.parameters()}
    prune_(model, halves(model))
    assert {id(p) for p in model.parameters()} == before
    make_permanent_(model)
    assert {id(p) for p in model.parameters()} == before


def test_masks_are_saved_and_loaded_with_the_network(tmp_path):
    model, other = plain_net(2), plain_net(2)
    prune_(model, halves(model))
    prune_(other, halves(other))
    torch.save(model.state_dict(), tmp_path / "pruned.pt")
    other.load_state_dict(torch.load(tmp_path / "pruned.pt"))
    for name, mask in masks_of(model).items():
        assert torch.equal(masks_of(other)[name], mask)
    x = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(other.eval()(x), model.eval()(x))


def test_masks_of_returns_what_was_given_and_a_copy_of_it():
    model = plain_mlp((6, 5, 3))
    masks = halves(model)
    prune_(model, masks)
    assert masks_of(model).keys() == masks.keys()
    given = masks["1.weight"].clone()
    masks_of(model)["1.weight"].fill_(0)
    masks["1.weight"].fill_(0)  # nor does the caller's tensor lead into the network
    assert torch.equal(masks_of(model)["1.weight"], given)
    assert masks_of(nn.Linear(2, 2)) == {}


def test_other_masks_bring_back_what_the_original_holds():
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[3.0, 4.0]])
    prune_(layer, {"weight": torch.tensor([[True, False]])})
    set_masks_(layer, {"weight": torch.tensor([[False, True]])})
    assert layer.weight.tolist() == [[0.0, 4.0]]


def test_other_masks_of_some_weights_leave_the_others_alone():
    model = plain_mlp((6, 5, 3))
    masks = halves(model)
    prune_(model, masks)
    set_masks_(model, {"1.weight": ~masks["1.weight"]})
    assert torch.equal(masks_of(model)["1.weight"], ~masks["1.weight"])
    assert torch.equal(masks_of(model)["3.weight"], masks["3.weight"])


def test_permanent_networks_compute_the_same_with_ordinary_parameters():
    model = plain_net(2).eval()
    names = list(model.state_dict())
    masks = halves(model)
    prune_(model, masks)
    x = torch.randn(3, 1, 16, 16)
    before = model(x)
    make_permanent_(model)
    assert torch.equal(model(x), before)
    assert sorted(model.state_dict()) == sorted(names)
    assert not any(parametrize.is_parametrized(m) for m in model.modules())
    weights = dict(model.named_parameters())
    assert all(not weights[name][~mask].any() for name, mask in masks.items())


def test_after_that_it_may_be_pruned_again():
    layer = nn.Linear(2, 1)
    prune_(layer, {"weight": torch.tensor([[True, False]])})
    make_permanent_(layer)
    prune_(layer, {"weight": torch.tensor([[False, True]])})
    assert layer.weight.tolist() == [[0.0, 0.0]]


def test_a_copy_has_masks_and_weights_of_its_own():
    model = plain_mlp((6, 5, 3))
    prune_(model, halves(model))
    before = masks_of(model)["1.weight"]
    copied = copy.deepcopy(model)
    set_masks_(copied, {"1.weight": ~before})
    copied[1].parametrizations.weight.original.data.fill_(7)
    assert torch.equal(masks_of(model)["1.weight"], before)
    assert not (model[1].weight == 7).any()


@pytest.mark.parametrize("first", ["copy", "original"])
def test_a_network_works_on_when_its_copy_is_made_permanent(first):
    """PyTorch keeps the computed weight in a class that both share."""
    model = plain_mlp((6, 5, 3))
    prune_(model, halves(model))
    x = torch.randn(4, 6)
    expected = model(x)
    copied, third = copy.deepcopy(model), copy.deepcopy(model)
    permanent, other = (copied, model) if first == "copy" else (model, copied)
    make_permanent_(permanent)
    for network in (permanent, other, third):
        assert torch.equal(network(x), expected)
    make_permanent_(other)
    assert torch.equal(other(x), expected)
    assert masks_of(third).keys() == {"1.weight", "3.weight"}


def test_a_bias_masked_in_a_copy_is_whole_in_the_original():
    layer = nn.Linear(3, 2)
    prune_(layer, {"weight": torch.eye(2, 3).bool()})
    copied, bias = copy.deepcopy(layer), layer.bias.detach().clone()
    prune_(copied, {"bias": torch.tensor([True, False])})
    assert copied.bias[1] == 0
    assert torch.equal(layer.bias, bias)
    assert masks_of(layer).keys() == {"weight"}
    make_permanent_(copied)
    assert (copied.bias[1], copied.weight[0, 1]) == (0, 0)


def test_a_layer_that_is_used_twice_is_masked_in_both_places():
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, layer)
    prune_(model, {"0.weight": torch.eye(3).bool()})
    diagonal = layer.parametrizations.weight.original.detach().diagonal()
    torch.testing.assert_close(model(torch.ones(1, 3))[0], diagonal.square())


def test_a_weight_of_two_layers_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    message = r"0\.weight is shared by 0, 1: give each its own weight"
    with pytest.raises(ValueError, match=message):
        prune_(model, {"0.weight": torch.eye(3).bool()})


def test_other_parametrizations_are_not_taken_for_masks():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    assert masks_of(layer) == {}
    make_permanent_(layer)
    assert parametrize.is_parametrized(layer, "weight")


def test_a_layer_that_loses_everything_is_named():
    model = plain_mlp((6, 5, 3))
    masks = halves(model)
    masks["3.weight"].fill_(0)
    with pytest.warns(UserWarning, match=r"3\.weight loses all its weights") as caught:
        prune_(model, masks)
    assert caught[0].filename == __file__
    masks["1.weight"].fill_(0)
    with pytest.warns(UserWarning, match=r"1\.weight loses all its weights"):
        set_masks_(model, {"1.weight": masks["1.weight"]})


WRONG = [
    ("3.weight", torch.ones(3, 5), r"mask of 3\.weight must be bool, got torch\.float"),
    ("3.weight", torch.ones(5, 3).bool(), r"must have shape \[3, 5\], got \[5, 3\]"),
]


@pytest.mark.parametrize(("name", "mask", "message"), WRONG)
@pytest.mark.parametrize("pruned", [False, True])
def test_a_bad_mask_is_named_and_nothing_is_half_changed(name, mask, message, pruned):
    model = plain_mlp((6, 5, 3))
    good = halves(model)
    if pruned:
        prune_(model, good)
    change = set_masks_ if pruned else prune_
    other = {"1.weight": ~good["1.weight"], name: mask}
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        change(model, other)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    model = plain_mlp((6, 5, 3))
    masks = {"1.weight": torch.ones(5, 6).bool(), "2.weight": torch.ones(1).bool()}
    message = r"'2\.weight', which is no parameter of the model; it has 1\.weight, "
    with pytest.raises(ValueError, match=message):
        prune_(model, masks)
    assert masks_of(model) == {}


def test_pruning_twice_is_refused():
    model = plain_mlp((6, 5, 3))
    masks = halves(model)
    prune_(model, {"3.weight": masks["3.weight"]})
    with pytest.raises(ValueError, match=r"3\.weight is pruned already; use set_masks"):
        prune_(model, masks)
    assert masks_of(model).keys() == {"3.weight"}


def test_a_mask_for_what_was_never_pruned_is_refused():
    model = plain_mlp((6, 5, 3))
    masks = halves(model)
    with pytest.raises(ValueError, match=r"1\.weight has no mask, only none; use prun"):
        set_masks_(model, masks)
    prune_(model, {"1.weight": masks["1.weight"]})
    with pytest.raises(ValueError, match=r"3\.weight has no mask, only 1\.weight"):
        set_masks_(model, masks)
