"""Training with a loss on inner layers: what enters it, and what it leaves alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import conv_bn
from effdl.data.digits import Split
from effdl.distill.attention_transfer import attention_loss
from effdl.distill.channel_weights import channel_weight_loss
from effdl.distill.channel_wise import channel_wise_loss
from effdl.distill.feature_training import (
    Inner,
    answers_and_features,
    distil_features,
    each_layer,
    label_loss,
)
from effdl.distill.flow import flow_loss
from effdl.distill.kd import distil, kd_loss
from effdl.distill.recipe import Recipe
from effdl.distill.relational import relational_loss
from effdl.distill.similarity import similarity_loss
from effdl.train import train_classifier

SHORT = Recipe(epochs=2, batch_size=50, learning_rate=0.05)


def made(width):
    return nn.Sequential(
        conv_bn(1, width, 3),
        conv_bn(width, width, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    )


@pytest.fixture
def split():
    return Split(torch.randn(100, 1, 6, 6), torch.randint(3, (100,)))


@pytest.fixture
def teacher(split):
    net = made(6)
    train_classifier(net, split, epochs=2, batch_size=50)
    return net.eval()


def same_state(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def inner_of(loss=attention_loss, weight=1.0):
    return Inner(each_layer(loss), ["0", "1"], ["0", "1"], weight)


def test_the_first_loss_is_the_answers_plus_the_weighted_sum_over_layers(
    split, teacher
):
    """One step of all inputs, by hand."""
    student = made(4)
    start = copy.deepcopy(student)
    whole = Recipe(epochs=1, batch_size=100)
    inner = Inner(each_layer(attention_loss), ["0", "1"], ["1", "0"], 30.0)
    losses = distil_features(student, teacher, split, inner, whole)
    x, y = next(iter(split.batches(100, seed=0)))
    s, t = [start[0](x)], [teacher[0](x)]
    s, t = [*s, start[1](s[0])], [*t, teacher[1](t[0])]
    inside = attention_loss(s[0], t[1]) + attention_loss(s[1], t[0])
    answer = F.cross_entropy(start[2:](s[1]), y)
    torch.testing.assert_close(losses[0], (answer + 30 * inside).item())


def test_with_weight_0_it_is_plain_training_to_the_last_bit(split, teacher):
    student = made(4)
    alone = copy.deepcopy(student)
    distil_features(student, teacher, split, inner_of(weight=0.0), SHORT)
    train_classifier(alone, split, epochs=2, batch_size=50, learning_rate=0.05)
    assert same_state(student, alone)


def test_with_weight_0_and_the_loss_of_distillation_it_is_distillation(split, teacher):
    student = made(4)
    other = copy.deepcopy(student)
    inner = inner_of(weight=0.0)
    distil_features(student, teacher, split, inner, SHORT, answer=kd_loss)
    distil(other, teacher, split, SHORT)
    assert same_state(student, other)


def test_without_answers_nothing_above_the_layer_learns(split, teacher):
    student = made(4)
    before = copy.deepcopy(student)
    inner = Inner(each_layer(attention_loss), ["0"], ["0"])
    distil_features(student, teacher, split, inner, SHORT, answer=None)
    pairs = zip(student.named_parameters(), before.parameters(), strict=True)
    changed = {name.split(".")[0] for (name, p), q in pairs if not torch.equal(p, q)}
    assert changed == {"0"}


def test_the_teacher_stays_as_it_is_and_no_tap_is_left(split, teacher):
    student, before = made(4), copy.deepcopy(teacher)
    for p in teacher.parameters():
        p.grad = None
    distil_features(student, teacher, split, inner_of(), SHORT)
    assert same_state(teacher, before)
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())
    for net in (student, teacher):
        assert not any(m._forward_hooks for m in net.modules())


def test_what_is_beside_learns_and_is_no_part_of_the_student(split, teacher):
    student, maps = made(4), nn.ModuleList([nn.Conv2d(4, 6, 1)])
    names, before = [*student.state_dict()], maps[0].weight.clone()
    inner = Inner(
        each_layer(channel_wise_loss, list(maps)), ["1"], ["1"], 1.0, beside=maps
    )
    distil_features(student, teacher, split, inner, SHORT)
    assert not torch.equal(maps[0].weight, before)
    assert [*student.state_dict()] == names


def test_answers_and_features_are_those_of_a_run_in_one_piece(split, teacher):
    found = answers_and_features(teacher, split.inputs, ["1", "0"], batch_size=33)
    x = split.inputs
    expected = teacher(x), [teacher[:2].eval()(x), teacher[0](x)]
    torch.testing.assert_close(found, expected)
    assert not found[0].requires_grad
    assert not any(f.requires_grad for f in found[1])


def test_each_layer_adds_up_and_maps_the_students_side_only():
    inner = each_layer(lambda s, t: (s - t).sum(), [nn.Identity(), nn.Flatten(0)])
    s, t = [torch.ones(2), torch.ones(3, 1)], [torch.zeros(2), torch.full((3,), 3.0)]
    assert inner(s, t).item() == 2 - 6


@pytest.mark.parametrize(
    ("loss", "weight"),
    [
        (attention_loss, 100.0),
        (similarity_loss, 100.0),
        (relational_loss, 1.0),
        (channel_weight_loss, 10.0),
        (channel_wise_loss, 10.0),
    ],
)
def test_training_makes_the_layers_agree(split, teacher, loss, weight):
    student = made(6)
    inner = Inner(each_layer(loss), ["1"], ["1"], weight)
    recipe = Recipe(epochs=6, batch_size=50, learning_rate=0.05)
    losses = distil_features(student, teacher, split, inner, recipe, answer=None)
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_on_the_list_of_layers_trains_as_well(split, teacher):
    student = made(6)
    inner = Inner(flow_loss, ["0", "1"], ["0", "1"])
    losses = distil_features(student, teacher, split, inner, SHORT, answer=None)
    assert losses[-1] < losses[0]


def test_the_labels_loss_ignores_the_teacher():
    s, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    found = label_loss(s, torch.full((4, 3), torch.nan), y)
    assert torch.equal(found, F.cross_entropy(s, y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((attention_loss, "12", ["1"]), 'student must be a list .* such as \\["2"\\]'),
        ((attention_loss, ["1"], []), "teacher must be a list of layers"),
        ((attention_loss, ["1"], ["1"], -1.0), "weight must be .*, got -1.0; 0 leaves"),
        ((attention_loss, ["1"], ["1"], float("nan")), "got nan"),
        ((attention_loss, ["1"], ["1"], float("inf")), "got inf"),
    ],
)
def test_a_bad_setting_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Inner(*arguments)


def test_a_teacher_in_training_mode_or_a_wrong_name_is_refused(split, teacher):
    student = made(4)
    wrong = Inner(each_layer(attention_loss), ["7"], ["1"])
    with pytest.raises(ValueError, match="names has '7', which is no layer"):
        distil_features(student, teacher, split, wrong, SHORT)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        answers_and_features(teacher, split.inputs, ["1"], batch_size=0)
    with pytest.raises(ValueError, match="teacher is in training mode"):
        distil_features(student, teacher.train(), split, inner_of(), SHORT)
