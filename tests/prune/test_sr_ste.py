"""SR-STE: the slope of all weights, the pull on what is gone, and masks that flap."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.prune.masks import masks_of
from effdl.prune.nm import nm_mask
from effdl.prune.nm_moving import hold_still_, move_masks_
from effdl.prune.sr_ste import SrSte, architecture_divergence, sr_ste


def test_the_slope_is_that_of_the_product_plus_the_pull_on_what_is_gone():
    weight = torch.randn(3, 8, requires_grad=True)
    mask, g = nm_mask(weight.detach().abs()), torch.randn(3, 8)
    value = sr_ste(weight, mask, 0.3)
    assert torch.equal(value, mask * weight)
    (found,) = torch.autograd.grad((value * g).sum(), weight)
    torch.testing.assert_close(found, g + 0.3 * (~mask) * weight)


def test_by_hand():
    """Kept 3, gone -2, slope 5 for both: 5, and 5 + 0.5 * (-2) = 4."""
    weight = torch.tensor([3.0, -2.0], requires_grad=True)
    (5 * sr_ste(weight, torch.tensor([True, False]), 0.5)).sum().backward()
    assert weight.grad.tolist() == [5, 4]


def test_without_decay_it_is_the_plain_straight_through_estimator():
    weight = torch.randn(3, 8, requires_grad=True)
    mask, target = nm_mask(weight.detach().abs()), torch.randn(3, 8)
    plain = straight_through(weight, torch.where(mask, weight, 0).detach())
    slopes = [
        torch.autograd.grad(F.mse_loss(value, target), weight)[0]
        for value in (plain, sr_ste(weight, mask, 0.0))
    ]
    assert torch.equal(*slopes)


def test_the_pull_is_the_slope_of_a_penalty():
    """In the loss: decay / 2 times the sum of squares of what is gone."""
    weight = torch.randn(3, 8, requires_grad=True)
    mask, x, y = nm_mask(weight.detach().abs()), torch.randn(5, 8), torch.randn(5, 3)
    loss = F.mse_loss(x @ sr_ste(weight, mask, 0.0).T, y)
    (by_penalty,) = torch.autograd.grad(
        loss + 0.1 / 2 * weight[~mask].square().sum(), weight
    )
    (by_pull,) = torch.autograd.grad(
        F.mse_loss(x @ sr_ste(weight, mask, 0.1).T, y), weight
    )
    torch.testing.assert_close(by_pull, by_penalty)


def test_a_step_of_sgd_is_that_of_the_paper():
    layer = nn.Linear(4, 2, bias=False)
    move_masks_(layer, ["weight"], SrSte)
    assert layer.parametrizations.weight[0].decay == 2e-4
    original = layer.parametrizations.weight.original
    before, x = original.detach().clone(), torch.randn(6, 4)
    sgd = torch.optim.SGD(layer.parameters(), 0.1)
    layer(x).square().sum().backward()
    sgd.step()
    mask = nm_mask(before.abs())
    masked = (before * mask).requires_grad_()
    (g,) = torch.autograd.grad((x @ masked.T).square().sum(), masked)
    expected = before - 0.1 * (g + 2e-4 * (~mask) * before)
    torch.testing.assert_close(original.detach(), expected)


def divergence_with(decay):
    """Return SAD summed over 40 steps of a noisy regression."""
    torch.manual_seed(1)
    layer = nn.Linear(32, 16)
    move_masks_(layer, ["weight"], lambda w: SrSte(w, decay=decay))
    sgd, total = torch.optim.SGD(layer.parameters(), 0.05), 0
    truth = torch.randn(16, 32)
    for _ in range(40):
        x, before = torch.randn(16, 32), masks_of(layer)
        sgd.zero_grad()
        F.mse_loss(layer(x), x @ truth.T, reduction="sum").div(16).backward()
        sgd.step()
        _ = layer.weight
        total += architecture_divergence(before, masks_of(layer))
    return total


def test_masks_flap_less_with_the_pull_and_more_against_it():
    with_pull, plain, against = (divergence_with(d) for d in (0.5, 0.0, -0.5))
    assert with_pull < 0.8 * plain
    assert against > 1.2 * plain


def test_the_divergence_counts_weights_of_all_layers_in_both_directions():
    a = {"x": torch.tensor([True, False]), "y": torch.tensor([[True], [True]])}
    b = {"x": torch.tensor([False, True]), "y": torch.tensor([[True], [False]])}
    assert architecture_divergence(a, b) == architecture_divergence(b, a) == 3
    assert architecture_divergence(a, a) == 0


def test_density_is_exact_and_every_weight_has_a_slope():
    layer = nn.Linear(16, 4)
    move_masks_(layer, ["weight"], lambda w: SrSte(w, 1, 8))
    layer(torch.randn(3, 16)).square().sum().backward()
    assert int(layer.weight.count_nonzero()) == 8
    assert layer.parametrizations.weight.original.grad.count_nonzero() == 64


def test_when_masks_stand_still_nothing_pulls_any_more():
    layer = nn.Linear(8, 2)
    move_masks_(layer, ["weight"], lambda w: SrSte(w, decay=9.0))
    hold_still_(layer)
    layer(torch.randn(3, 8)).sum().backward()
    gone = ~masks_of(layer)["weight"]
    assert layer.parametrizations.weight.original.grad[gone].count_nonzero() == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="decay must be finite, got nan"):
        SrSte(torch.ones(2, 4), decay=float("nan"))
    mask = torch.ones(2) > 0
    with pytest.raises(ValueError, match=r"must have the names \['a'\], got \['b'\]"):
        architecture_divergence({"a": mask}, {"b": mask})
