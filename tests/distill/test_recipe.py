"""The classifier's training with another loss."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import plain_net
from effdl.data.digits import Split
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.seed import seeded
from effdl.train import train_classifier


def split() -> Split:
    return Split(torch.randn(30, 1, 16, 16), torch.arange(30) % 10)


def net() -> nn.Module:
    with seeded(1):
        return plain_net(2)


@pytest.mark.parametrize("seed", [0, 4])
def test_with_the_cross_entropy_it_is_the_training_of_all_chapters(seed: int) -> None:
    data, ours, theirs = split(), net(), net()
    recipe = Recipe(3, 0.05, 8, 1e-3, seed)
    got = train_student(ours, data, lambda x, y: F.cross_entropy(ours(x), y), recipe)
    want = train_classifier(
        theirs,
        data,
        epochs=3,
        learning_rate=0.05,
        batch_size=8,
        weight_decay=1e-3,
        seed=seed,
    )
    assert got == want
    ours_now, theirs_now = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(ours_now[name], theirs_now[name]) for name in ours_now)


def test_the_default_is_the_default_of_all_chapters() -> None:
    data, ours, theirs = split(), net(), net()
    got = train_student(ours, data, lambda x, y: F.cross_entropy(ours(x), y))
    assert got == train_classifier(theirs, data)
    assert Recipe() == TEN_EPOCHS


def test_what_stands_beside_learns_and_keeps_its_mode() -> None:
    student, beside = nn.Linear(2, 2), nn.Linear(2, 2).eval()
    data = Split(torch.randn(20, 2), torch.arange(20) % 2)
    before = beside.weight.clone()

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        assert student.training and not beside.training
        return F.cross_entropy(beside(student(inputs)), targets)

    train_student(student.eval(), data, loss_of, Recipe(epochs=1), beside=beside)
    assert not torch.equal(before, beside.weight)
    assert not beside.training


def test_after_every_step_it_calls() -> None:
    student, calls = nn.Linear(2, 2), []
    data = Split(torch.randn(20, 2), torch.arange(20) % 2)
    train_student(
        student,
        data,
        lambda x, y: F.cross_entropy(student(x), y),
        Recipe(epochs=3, batch_size=7),
        after_step=lambda: calls.append(1),
    )
    assert len(calls) == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be 0 or larger"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay at least 0"),
    ],
)
def test_numbers_out_of_range_are_named(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**values)  # type: ignore[arg-type]
