"""Controls: each keeps what it should, and changes what it should."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.lottery_controls import (
    reinitialised,
    shuffled_masks,
    uniform_masks,
)
from effdl.prune.masks import prune_
from effdl.seed import seeded


def masks():
    """Return masks with a quarter of one layer left, and three quarters of another."""
    a = torch.zeros(40, 30, dtype=torch.bool)
    a[:10] = True
    b = torch.ones(8, 10, 3, 3, dtype=torch.bool)
    b[:2] = False
    return {"a": a, "b": b}


def test_new_weights_are_those_that_the_constructor_would_draw():
    with seeded(4):
        wanted = plain_mlp((6, 8, 4))
    initial = plain_mlp((6, 8, 4))
    with seeded(4):
        fresh = reinitialised(initial)
    for a, b in zip(fresh.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_first_weights_stay_and_none_is_kept():
    initial = plain_net(2)
    before = {n: p.clone() for n, p in initial.named_parameters()}
    fresh = reinitialised(initial)
    for name, parameter in initial.named_parameters():
        assert torch.equal(parameter, before[name])
        if parameter.ndim > 1:
            assert (fresh.get_parameter(name) != parameter).all()


def test_batch_norm_forgets_what_it_has_seen():
    initial = plain_net(2)
    initial(torch.randn(4, 1, 16, 16))
    fresh = reinitialised(initial)
    assert initial[0][1].running_mean.any()
    assert not fresh[0][1].running_mean.any()


def test_a_shuffled_mask_has_as_many_in_every_layer_at_other_places():
    old = masks()
    new = shuffled_masks(old)
    assert list(new) == ["a", "b"]
    for name in old:
        assert new[name].shape == old[name].shape
        assert new[name].dtype == torch.bool
        assert new[name].sum() == old[name].sum()
        assert not torch.equal(new[name], old[name])
    assert torch.equal(old["a"], masks()["a"])


def test_a_uniform_mask_has_as_many_altogether_and_the_same_share_of_each_layer():
    """300 of 1200 and 540 of 720 become about 525 and 315: 43.75 % of each."""
    old = masks()
    new = uniform_masks(old)
    assert list(new) == ["a", "b"]
    assert sum(int(m.sum()) for m in new.values()) == 840
    for name in old:
        assert new[name].shape == old[name].shape
        assert new[name].float().mean().item() == pytest.approx(0.4375, abs=0.06)
    assert torch.equal(old["b"], masks()["b"])


@pytest.mark.parametrize("make", [shuffled_masks, uniform_masks])
def test_every_place_is_equally_likely(make):
    few = {"a": torch.tensor([True, False, False]), "b": torch.tensor([[False]])}
    mean = torch.stack([make(few)["a"].float() for _ in range(600)]).mean(dim=0)
    wanted = 1 / 3 if make is shuffled_masks else 1 / 4
    torch.testing.assert_close(mean, torch.full((3,), wanted), atol=0.08, rtol=0)


@pytest.mark.parametrize("make", [shuffled_masks, uniform_masks])
def test_the_same_seed_gives_the_same_masks(make):
    found = []
    for _ in range(2):
        with seeded(5):
            found.append(make(masks())["a"])
    assert torch.equal(*found)


class Scale(nn.Module):
    """A layer that cannot draw its parameter again."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))


def pruned():
    """Return a network that is pruned already."""
    model = nn.Linear(2, 1)
    prune_(model, {"weight": torch.tensor([[True, False]])})
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reinitialised(pruned()), "initial is pruned; draw weights first"),
        (
            lambda: reinitialised(nn.Sequential(nn.ReLU(), Scale())),
            "initial has Scale '1', which cannot draw",
        ),
        (lambda: uniform_masks({}), "masks is empty"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
