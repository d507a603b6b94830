"""Scores are trained, weights are not touched."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import small_digits
from effdl.prune.edge_popup import Popup, popup_, signed_constant_, supermasks
from effdl.prune.masks import prune_
from effdl.prune.pruned import count_kept
from effdl.train import accuracy, fit


def with_scores(scores, sparsity=0.5):
    """Return a popup with given scores."""
    popup = Popup(torch.tensor(scores), sparsity)
    with torch.no_grad():
        popup.scores.copy_(torch.tensor(scores))
    return popup


def test_the_largest_scores_by_size_are_used_and_their_weights_exact():
    popup = with_scores([[0.1, -0.9, 0.3], [0.2, 0.8, -0.4]])
    weight = torch.randn(2, 3)
    wanted = [[False, True, False], [False, True, True]]
    assert popup.mask.tolist() == wanted
    assert torch.equal(popup(weight), weight * torch.tensor(wanted))


def test_the_gradient_of_a_score_by_hand():
    """dL/ds = dL/dw' * w * sign(s), also for what is not used.

    With w' = m w, L = sum of c w', c = (1, 2, 3), w = (4, -5, 6), s = (.1, -.9, .3).
    """
    popup = with_scores([0.1, -0.9, 0.3], 0.6)
    used = popup(torch.tensor([4.0, -5.0, 6.0]))
    assert used.tolist() == [0, -5, 0]
    (used * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    torch.testing.assert_close(popup.scores.grad, torch.tensor([4.0, 10.0, 18.0]))


def test_weights_are_the_same_to_the_bit_after_training_and_all_scores_move():
    net = plain_mlp((16, 12, 4))
    before = copy.deepcopy(net.state_dict())
    scores = popup_(net, 0.5)
    first = [s.detach().clone() for s in scores]
    x, y = torch.randn(40, 16), torch.randint(4, (40,))
    sgd = SGD(scores, 0.5, 0.9)
    fit(net, lambda x, y: F.cross_entropy(net(x), y), [(x, y)], sgd, epochs=20)
    after = net.state_dict()
    for place in (1, 3):
        original = after[f"{place}.parametrizations.weight.original"]
        assert torch.equal(original, before[f"{place}.weight"])
        assert torch.equal(after[f"{place}.bias"], before[f"{place}.bias"])
    for old, new in zip(first, scores, strict=True):
        assert (old != new).float().mean() > 0.5  # those of dead neurons stay


def test_only_scores_ask_for_a_gradient():
    net = plain_net(2)
    scores = popup_(net, 0.3)
    asking = [p for p in net.parameters() if p.requires_grad]
    assert {id(p) for p in asking} == {id(s) for s in scores}
    assert len(scores) == 6


def test_scores_begin_as_small_as_weights_of_the_layer():
    net = nn.Conv2d(4, 50, 5)
    (scores,) = popup_(net, 0.5)
    assert 0.09 < scores.abs().max() <= 0.1
    assert scores.mean().abs() < 0.01


def test_the_supermask_makes_an_ordinary_pruned_network():
    net = plain_mlp((16, 12, 4))
    plain = copy.deepcopy(net)
    popup_(net, 0.75)
    masks = supermasks(net)
    assert list(masks) == ["1.weight", "3.weight"]
    assert count_kept(masks).sparsity == 0.75
    prune_(plain, masks)
    x = torch.randn(5, 16)
    assert torch.equal(plain(x), net(x))
    layer = nn.Linear(4, 1)
    popup_(layer, 0.5)
    assert list(supermasks(layer)) == ["weight"]


def test_a_signed_constant_keeps_signs_and_has_the_size_of_he():
    """fan_in 2 * 9 = 18: sqrt(2 / 18) = 1/3, and sqrt(2) times as much for a half."""
    layer = nn.Conv2d(2, 5, 3)
    signs = layer.weight.sign()
    signed_constant_(layer)
    torch.testing.assert_close(layer.weight, signs / 3)
    signed_constant_(layer, kept=0.5)
    torch.testing.assert_close(layer.weight, signs * 2**0.5 / 3)


def test_a_subnetwork_that_was_never_trained_knows_digits():
    digits = small_digits(n_train=600, n_validation=300, n_test=1)
    held_out = digits.validation.batches(300)
    net = plain_mlp((144, 200, 10))
    signed_constant_(net, kept=0.5)
    scores = popup_(net, 0.5)
    by_chance = accuracy(net, held_out)
    sgd = SGD(scores, 0.2, 0.9)
    batches = digits.train.batches(50, seed=0)
    fit(net, lambda x, y: F.cross_entropy(net(x), y), batches, sgd, epochs=15)
    assert by_chance < 0.3
    assert accuracy(net, held_out) > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: popup_(nn.Linear(2, 1), 1.0), "sparsity must be at least 0"),
        (lambda: Popup(torch.zeros(2), -0.1), "sparsity must be at least 0"),
        (lambda: popup_(nn.ReLU(), 0.5), "no linear or convolutional layer"),
        (lambda: supermasks(nn.Linear(2, 1)), "model has no scores; call popup_"),
        (lambda: signed_constant_(nn.Linear(2, 1), kept=0), "kept must be"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_popping_up_twice_is_refused():
    net = nn.Linear(4, 1)
    popup_(net, 0.5)
    with pytest.raises(ValueError, match="computed from other parameters"):
        popup_(net, 0.5)
