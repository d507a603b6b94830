"""Teacher assistants: a chain is distillations one after the other, and its price."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.data.digits import Split
from effdl.distill.assistant import distil_chain, half_way, training_macs
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.train import accuracy, train_classifier

RECIPE = Recipe(epochs=3, batch_size=20)


@pytest.fixture
def split():
    x = torch.randn(100, 6)
    return Split(x, (x @ torch.randn(6, 4)).argmax(dim=1))


def network(hidden, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 4))


def taught(split):
    teacher = network(32, 0)
    train_classifier(teacher, split, epochs=10, batch_size=20)
    return teacher.eval()


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_chain_is_one_distillation_after_the_other(split):
    teacher = taught(split)
    by_hand = [network(16, 1), network(8, 2), network(2, 3)]
    asked = teacher
    losses = []
    for pupil in by_hand:
        losses.append(distil(pupil, asked, split, RECIPE, temperature=2.0, alpha=0.7))
        asked = pupil.eval()
    ours = [network(16, 1), network(8, 2), network(2, 3)]
    chain = distil_chain(teacher, ours, split, RECIPE, temperature=2.0, alpha=0.7)
    assert [lesson.losses for lesson in chain] == losses
    assert all(same(a, b) for a, b in zip(ours, by_hand, strict=True))


def test_without_an_assistant_it_is_plain_distillation(split):
    teacher, plain, ours = taught(split), network(2, 3), network(2, 3)
    losses = distil(plain, teacher, split, RECIPE)
    (lesson,) = distil_chain(teacher, [ours], split, RECIPE)
    assert lesson.losses == losses
    assert same(ours, plain)


def test_an_assistant_like_the_teacher_is_a_teacher_distilled_from_itself(split):
    teacher = taught(split)
    itself, student = network(32, 5), network(2, 3)
    distil(itself, teacher, split, RECIPE)
    distil(student, itself.eval(), split, RECIPE)
    pupils = [network(32, 5), network(2, 3)]
    distil_chain(teacher, pupils, split, RECIPE)
    assert same(pupils[1], student)


def test_an_assistant_like_the_student_is_a_student_born_again(split):
    teacher = taught(split)
    once, again = network(2, 3), network(2, 3)
    distil(once, teacher, split, RECIPE)
    distil(again, once.eval(), split, RECIPE)
    pupils = [network(2, 3), network(2, 3)]
    distil_chain(teacher, pupils, split, RECIPE)
    assert same(pupils[0], once)
    assert same(pupils[1], again)
    assert not same(once, again)


def test_the_price_by_hand(split):
    """Forward: 6 w + 4 w. Three passes, 3 epochs, 100 inputs; the teacher once."""
    pupils = [network(8, 1), network(2, 2)]
    chain = distil_chain(network(32, 0).eval(), pupils, split, RECIPE)
    assert chain[0].macs == 3 * 80 * 3 * 100 + 320 * 100
    assert chain[1].macs == 3 * 20 * 3 * 100 + 80 * 100
    assert training_macs(pupils[0], split, RECIPE) == 3 * 80 * 3 * 100


def test_the_price_of_a_convolutional_network_is_that_of_its_layers():
    split = Split(torch.zeros(5, 1, 16, 16), torch.zeros(5, dtype=torch.long))
    w = 2
    forward = 9 * (256 * w + 64 * w * w + 64 * 2 * w * w + 16 * 4 * w * w)
    forward += 9 * 16 * 8 * w * w + 40 * w
    assert training_macs(plain_net(w), split, Recipe(epochs=2)) == 3 * forward * 5 * 2


def test_the_teacher_stays_as_it_is_and_the_pupils_are_finished(split):
    teacher = taught(split)
    before = copy.deepcopy(teacher)
    pupils = [network(8, 1), network(2, 2)]
    distil_chain(teacher, pupils, split, RECIPE)
    assert same(teacher, before)
    assert not any(layer.training for layer in teacher.modules())
    assert all(p.grad is None for p in before.parameters())
    assert not any(layer.training for pupil in pupils for layer in pupil.modules())


def test_every_pupil_learns(split):
    teacher, recipe = taught(split), Recipe(epochs=10, batch_size=20)
    pupils = [network(16, 1), network(8, 2)]
    chain = distil_chain(teacher, pupils, split, recipe)
    assert all(lesson.losses[-1] < lesson.losses[0] / 2 for lesson in chain)
    assert all(accuracy(pupil, split.batches(100)) > 0.8 for pupil in pupils)


def test_half_way_goes_by_accuracy_and_leaves_the_ends_out():
    """The mean of 0.5 and 0.9 is 0.7: B is 0.06 away, A is 0.1, C is 0.15."""
    found = {"T": 0.9, "C": 0.85, "B": 0.76, "A": 0.6, "S": 0.5}
    assert half_way(found, "T", "S") == "B"
    assert half_way(found, "C", "S") == "A"
    assert half_way({"T": 0.7, "S": 0.7, "A": 0.1}, "T", "S") == "A"


def test_bad_input_is_refused(split):
    teacher, pupil = network(4, 0).eval(), network(2, 1)
    with pytest.raises(ValueError, match="pupils is empty"):
        distil_chain(teacher, [], split)
    with pytest.raises(ValueError, match="stands in the chain twice"):
        distil_chain(teacher, [pupil, pupil], split)
    with pytest.raises(ValueError, match="stands in the chain twice"):
        distil_chain(teacher, [teacher], split)
    with pytest.raises(ValueError, match="training mode"):
        distil_chain(teacher.train(), [pupil], split)
    with pytest.raises(ValueError, match=r"have 'T', 'S' and one more, got \['T', 'S"):
        half_way({"T": 0.9, "S": 0.5}, "T", "S")
    with pytest.raises(ValueError, match="have 'T', 'X' and one more"):
        half_way({"T": 0.9, "S": 0.5, "A": 0.7}, "T", "X")
