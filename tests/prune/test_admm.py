"""ADMM towards N:M: the exact projection, fixed points by enumeration, the residual."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.prune.admm import Admm, project
from effdl.prune.masks import prune_
from effdl.prune.nm import is_nm
from effdl.train import fit


def patterns(keep, group):
    """Return all masks of one group, (count, M)."""
    kept = combinations(range(group), keep)
    return torch.tensor([[i in chosen for i in range(group)] for chosen in kept])


def best_masks(a, h, keep=2):
    """Return the mask of least loss of every row, by trying all."""
    every = patterns(keep, a.shape[1])
    losses = torch.stack([(h * a**2 * ~mask).sum(dim=1) for mask in every])
    return every[losses.argmin(dim=0)]


def solved(a, h, rho, *, rounds=1000, start=None):
    """Return W and the Admm after rounds with exact W-steps, for 1/2 sum h (w-a)^2."""
    layer = nn.Linear(a.shape[1], len(a), bias=False).double()
    layer.weight.data.copy_(a if start is None else start)
    admm = Admm(layer, ["weight"], rho=rho)
    for _ in range(rounds):
        apart = admm.target["weight"] - admm.dual["weight"]
        layer.weight.data.copy_((h * a + rho * apart) / (h + rho))
        admm.update()
    return layer.weight.detach(), admm


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (1, 8), (3, 4)])
def test_the_projection_is_the_nearest_of_all_that_are_n_m(keep, group):
    weight = torch.randn(30, group)
    every = patterns(keep, group)
    distances = torch.stack([(weight * ~mask).square().sum(dim=1) for mask in every])
    found = project(weight, keep, group)
    assert is_nm(found, keep, group)
    torch.testing.assert_close(
        (weight - found).square().sum(dim=1), distances.min(dim=0).values
    )
    assert torch.equal(found[found != 0], weight[found != 0])
    assert torch.equal(project(found, keep, group), found)


def test_by_hand():
    """W = (3, 1), 1:2, rho 2: Z = (3, 0), then U = (0, 1), then Z = P(3, 2)."""
    layer = nn.Linear(2, 1)
    layer.weight.data.copy_(torch.tensor([[3.0, 1.0]]))
    admm = Admm(layer, ["weight"], 1, 2, rho=2.0)
    assert admm.target["weight"].tolist() == [[3, 0]]
    assert admm.penalty().item() == 1  # 2 / 2 * 1^2
    admm.update()
    assert admm.dual["weight"].tolist() == [[0, 1]]
    assert admm.penalty().item() == 4  # (1 - 0 + 1)^2
    admm.penalty().backward()
    assert layer.weight.grad.tolist() == [[0, 4]]
    for _ in range(2):
        admm.update()  # W + U = (3, 3): of equal ones the first stays
    assert admm.target["weight"].tolist() == [[3, 0]]
    admm.update()  # (3, 4): now the other
    assert admm.target["weight"].tolist() == [[0, 4]]
    assert admm.dual["weight"].tolist() == [[3, 0]]
    assert admm.masks()["weight"].tolist() == [[True, False]]


def test_with_the_same_curvature_everywhere_it_finds_the_best_mask_from_any_start():
    """For rho = h the best set is the only one that the projection confirms."""
    a = torch.randn(200, 4, dtype=torch.float64)
    start = torch.randn(200, 4, dtype=torch.float64)
    weight, admm = solved(a, torch.full_like(a, 1.7), 1.7, start=start)
    best = best_masks(a, torch.ones_like(a))
    assert torch.equal(admm.target["weight"] != 0, best)
    torch.testing.assert_close(weight, a * best)
    assert admm.residual() < 1e-6


def test_it_may_find_a_better_mask_than_that_by_magnitude():
    """Losses 16, 0.9, 8 and 1 without each: the first and the third should stay.

    Of the mask by magnitude the third goes: u = h a / rho = 4 > 3, not confirmed. Of
    the best one u = 0.3 and 1 of those that go, below the 4 and 2 of those that stay.
    """
    a = torch.tensor([[4.0, 3.0, 2.0, 1.0]], dtype=torch.float64)
    h = torch.tensor([[1.0, 0.1, 2.0, 1.0]], dtype=torch.float64)
    assert best_masks(a, h).tolist() == [[True, False, True, False]]
    weight, admm = solved(a, h, 1.0)
    assert admm.masks()["weight"].tolist() == [[True, False, True, False]]
    torch.testing.assert_close(weight, torch.tensor([[4.0, 0, 2, 0]]).double())
    torch.testing.assert_close(
        admm.dual["weight"], torch.tensor([[0, 0.3, 0, 1.0]]).double()
    )


def test_where_it_comes_to_rest_the_projection_confirms_the_optimum_on_its_set():
    a = torch.randn(300, 4, dtype=torch.float64)
    h = torch.randn(300, 4, dtype=torch.float64).exp()
    weight, admm = solved(a, h, 2.0)
    z, u = admm.target["weight"], admm.dual["weight"]
    rests = (weight - z).norm(dim=1) < 1e-9
    assert rests.sum() > 200
    kept = z[rests] != 0
    torch.testing.assert_close(z[rests], a[rests] * kept)
    torch.testing.assert_close(u[rests], (h * a / 2.0)[rests] * ~kept)
    least = torch.where(kept, a[rests].abs(), torch.inf).amin(dim=1)
    assert (least >= u[rests].abs().amax(dim=1) - 1e-9).all()


def test_a_large_rho_keeps_the_mask_by_magnitude_and_a_small_one_does_not_rest():
    a = torch.randn(300, 4, dtype=torch.float64)
    h = torch.randn(300, 4, dtype=torch.float64).exp()
    best, by_size = best_masks(a, h), project(a) != 0
    right, resting = {}, {}
    for rho in (0.1, 1.0, 100.0):
        weight, admm = solved(a, h, rho)
        found = admm.target["weight"] != 0
        right[rho] = int((found == best).all(dim=1).sum())
        apart = (weight - admm.target["weight"]).norm(dim=1)
        resting[rho] = int((apart < 1e-6).sum())
    assert torch.equal(found, by_size)
    assert resting[0.1] < 30 < resting[1.0] < resting[100.0] == 300
    assert right[1.0] > right[100.0] > right[0.1]


def test_training_with_the_penalty_brings_weights_and_target_together():
    torch.manual_seed(0)
    layer = nn.Linear(16, 4)
    x = torch.randn(200, 16)
    split = Split(x, x @ torch.randn(16, 4))
    admm = Admm(layer, ["weight"], rho=3.0)
    before = admm.residual()

    def loss_of(inputs, targets):
        return (
            F.mse_loss(layer(inputs), targets, reduction="sum") / 200 + admm.penalty()
        )

    sgd = torch.optim.SGD(layer.parameters(), 0.1)
    batches = split.batches(200)
    fit(layer, loss_of, batches, sgd, epochs=400, after_step=admm.updates(10))
    assert before > 0.3
    assert admm.residual() < 0.05
    prune_(layer, admm.masks())
    assert is_nm(layer.weight.detach())


def test_it_updates_once_in_so_many_steps():
    layer = nn.Linear(4, 1)
    admm = Admm(layer, ["weight"], rho=1.0)
    after_step, changed = admm.updates(3), []
    for _ in range(7):
        before = admm.dual["weight"]
        after_step()
        changed.append(admm.dual["weight"] is not before)
    assert changed == [False, False, True, False, False, True, False]


def test_only_the_named_weights_are_drawn():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    admm = Admm(net, ["1.weight"], rho=1.0)
    admm.penalty().backward()
    assert net[0].weight.grad is None
    assert net[1].weight.grad.count_nonzero() == 8
    assert list(admm.masks()) == ["1.weight"]


@pytest.mark.parametrize(
    ("names", "rho", "message"),
    [
        ([], 1.0, "names must be some of"),
        (["none"], 1.0, r"got \['none'\]"),
        (["weight"], 0.0, "rho must be above 0 and finite, got 0.0"),
        (["weight"], float("inf"), "rho must be above 0"),
    ],
)
def test_bad_input_is_refused(names, rho, message):
    with pytest.raises(ValueError, match=message):
        Admm(nn.Linear(4, 1), names, rho=rho)
    with pytest.raises(ValueError, match="every"):
        Admm(nn.Linear(4, 1), ["weight"], rho=1.0).updates(0)
