"""Be your own teacher: the loss of an exit, who learns, and no exits at all."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.data.digits import Split
from effdl.distill.own_teacher import Exit, exit_loss, train_with_exits
from effdl.distill.recipe import Recipe
from effdl.train import train_classifier

N, C = 6, 4
RECIPE = Recipe(epochs=1, batch_size=10, seed=2)


def net():
    return plain_net(2, classes=C)


def data():
    return Split(torch.randn(30, 1, 8, 8), torch.randint(0, C, (30,)))


def test_the_loss_of_an_exit_by_the_definition():
    leave, x = Exit(3, 5, C), torch.randn(N, 3, 4, 4)
    f, z, y = torch.randn(N, 5), torch.randn(N, C), torch.randint(0, C, (N,))
    found = exit_loss(leave, x, (f, z), y, temperature=2.0, alpha=0.4, hint=0.1)
    own = leave(x)
    logits = leave.logits(own)
    p, q = (z / 2).softmax(dim=1), (logits / 2).softmax(dim=1)
    hard = F.cross_entropy(logits, y)
    soft = 4 * (p * (p / q).log()).sum(dim=1).mean()
    distance = ((own - f) ** 2).sum() / N
    torch.testing.assert_close(found, 0.6 * hard + 0.4 * soft + 0.1 * distance)


def test_by_hand():
    """Exit logits 0, 0 and features 1, 1, of one input; f = 3, 1: 4 * 0.5 apart."""
    leave = Exit(1, 2, 2).eval()
    leave.conv = nn.Identity()
    nn.init.zeros_(leave.logits.weight)
    nn.init.zeros_(leave.logits.bias)
    x, end = torch.ones(1, 2, 1, 1), (torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2))
    found = exit_loss(leave, x, end, torch.tensor([0]), alpha=0.0, hint=0.5)
    torch.testing.assert_close(found, torch.tensor(2.0).log() + 2)


def test_an_exit_has_a_convolution_a_mean_and_a_linear_layer():
    leave = Exit(3, 5, C).eval()
    x = torch.randn(N, 3, 4, 4)
    f = leave(x)
    torch.testing.assert_close(f, leave.conv(x).flatten(2).mean(dim=2))
    assert f.shape == (N, 5)
    assert leave.conv[0].kernel_size == (1, 1)
    assert leave.logits(f).shape == (N, C)


def test_the_end_is_a_constant_of_the_exit_and_the_layer_is_not():
    leave, x = Exit(3, 5, C), torch.randn(N, 3, 4, 4, requires_grad=True)
    f = torch.randn(N, 5, requires_grad=True)
    z = torch.randn(N, C, requires_grad=True)
    exit_loss(leave, x, (f, z), torch.zeros(N).long()).backward()
    assert f.grad is None
    assert z.grad is None
    assert x.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in leave.logits.parameters())


def test_without_exits_it_is_plain_training_bit_by_bit():
    split, student = data(), net()
    twin = copy.deepcopy(student)
    losses = train_with_exits(student, {}, split, RECIPE, last="6")
    expected = train_classifier(twin, split, epochs=1, batch_size=10, seed=2)
    assert losses == expected
    for own, other in zip(
        student.state_dict().values(), twin.state_dict().values(), strict=True
    ):
        assert torch.equal(own, other)


def first_loss(split, student, exits, **options):
    """Return the loss of one batch, from copies."""
    recipe = Recipe(epochs=1, batch_size=len(split))
    student, exits = copy.deepcopy((student, exits))
    return train_with_exits(student, exits, split, recipe, last="6", **options)[0]


def test_the_loss_is_the_last_exits_plus_that_of_every_other():
    split, student = data(), net()
    exits = {"1": Exit(2, 8, C), "3": Exit(4, 8, C)}
    for linear in (student[7], exits["1"].logits, exits["3"].logits):
        nn.init.normal_(linear.weight, std=3.0)  # so that the temperature matters
    options = {"temperature": 2.0, "alpha": 0.6, "hint": 0.2}
    found = first_loss(split, student, exits, **options)
    x = split.inputs
    ends = student[:7](x), student(x)
    expected = F.cross_entropy(ends[1], split.targets)
    for name, depth in (("1", 2), ("3", 4)):
        layer = student[:depth](x)
        expected += exit_loss(exits[name], layer, ends, split.targets, **options)
    assert found == pytest.approx(expected.item(), rel=1e-4)


def test_exits_are_trained_along_and_the_student_gets_no_larger():
    split, student = data(), net()
    names = set(student.state_dict())
    exits = {"1": Exit(2, 8, C).eval()}
    before = copy.deepcopy(exits["1"])
    train_with_exits(student, exits, split, RECIPE, last="6")
    assert set(student.state_dict()) == names
    assert exits["1"].training
    assert not torch.equal(exits["1"].conv[0].weight, before.conv[0].weight)
    assert not torch.equal(exits["1"].logits.weight, before.logits.weight)
    assert not any(module._forward_hooks for module in student.modules())


def test_exits_reach_the_shared_layers_and_not_the_ones_behind():
    """One step: the first layer moves otherwise than alone, the last one does not."""
    split, student = data(), net()
    alone = copy.deepcopy(student)
    recipe = Recipe(epochs=1, batch_size=30)
    train_with_exits(student, {"1": Exit(2, 8, C)}, split, recipe, last="6")
    train_classifier(alone, split, epochs=1, batch_size=30)
    assert not torch.allclose(student[0][0].weight, alone[0][0].weight)
    assert torch.equal(student[3][0].weight, alone[3][0].weight)
    assert torch.equal(student[7].weight, alone[7].weight)


def test_bad_input_is_refused():
    end, y = (torch.zeros(N, 5), torch.zeros(N, C)), torch.zeros(N).long()
    x = torch.zeros(N, 3, 2, 2)
    with pytest.raises(
        ValueError, match=r"must be \(6, 4\), as those of the exit, got"
    ):
        exit_loss(Exit(3, 4, C), x, end, y)
    for hint in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"hint must be at least 0, got {hint}"):
            exit_loss(Exit(3, 5, C), x, end, y, hint=hint)
    with pytest.raises(ValueError, match="in_channels must be at least 1"):
        Exit(0, 4, C)
    with pytest.raises(ValueError, match="classes must be at least 1"):
        Exit(2, 4, 0)
    with pytest.raises(ValueError, match="names has '99'"):
        train_with_exits(net(), {"99": Exit(2, 8, C)}, data(), last="6")
    with pytest.raises(ValueError, match="alpha must be from 0 to 1"):
        train_with_exits(net(), {}, data(), last="6", alpha=3)
