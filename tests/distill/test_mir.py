"""MiR: features mimicked without labels, and the teacher's head put on."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.compress.channels import largest_filters, remove_channels
from effdl.distill.mir import mimic, mimic_loss, mir, with_head
from effdl.distill.recipe import Recipe

BRIEF = Recipe(epochs=3, batch_size=10, weight_decay=0.0)


def pair():
    """Return a teacher and a pruned student that keeps the last channels."""
    teacher = plain_net(4).eval()
    names = frozenset({"0.0", "1.0", "2.0", "3.0"})
    student = remove_channels(teacher, largest_filters(teacher, 0.5, names=names))
    nn.init.normal_(student[7].weight)
    return student, teacher


def test_the_loss_is_the_mean_of_squared_differences():
    a, b = torch.randn(2, 3, 4, 2, 2)
    expected = sum((x - y) ** 2 for x, y in zip(a.flatten(), b.flatten(), strict=True))
    torch.testing.assert_close(mimic_loss(a, b), expected / a.numel())


def test_by_hand():
    """Differences 0 and 2: (0 + 4) / 2 = 2."""
    loss = mimic_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
    assert loss.item() == 2


def test_one_step_goes_down_the_slope_of_the_features():
    student, teacher = pair()
    x, untrained = torch.randn(6, 1, 8, 8), copy.deepcopy(student).train()
    recipe = Recipe(epochs=1, batch_size=6, learning_rate=0.1, weight_decay=0.0)
    losses = mimic(student, teacher, x, "4", recipe)
    loss = (untrained[:5](x) - teacher[:5](x).detach()).square().mean()
    assert losses[0] == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    old, new = untrained[0][0].weight, student[0][0].weight
    torch.testing.assert_close(new, old - 0.19 * old.grad)  # (1 + 0.9) by Nesterov


def test_the_head_learns_nothing_and_has_no_part():
    student, teacher = pair()
    x, head = torch.randn(20, 1, 8, 8), copy.deepcopy(student[7].state_dict())
    other = copy.deepcopy(student)
    nn.init.zeros_(other[7].weight)
    decaying = Recipe(epochs=2, batch_size=10, weight_decay=0.1)
    first, second = (mimic(s, teacher, x, "4", decaying) for s in (student, other))
    assert first == second
    assert all(torch.equal(v, head[n]) for n, v in student[7].state_dict().items())


def test_the_composed_head_is_the_teachers_bitwise():
    student, teacher = pair()
    net = mir(student, teacher, torch.randn(20, 1, 8, 8), BRIEF, layer="4", head=["7"])
    assert torch.equal(net[7].weight, teacher[7].weight)
    assert torch.equal(net[7].bias, teacher[7].bias)
    assert net[7].weight.data_ptr() != teacher[7].weight.data_ptr()
    assert not net.training


def test_without_mimic_error_the_composed_network_is_the_teacher():
    _, teacher = pair()
    student = copy.deepcopy(teacher)
    nn.init.normal_(student[7].weight)
    x = torch.randn(5, 1, 8, 8)
    assert mimic_loss(student[:5](x), teacher[:5](x)) == 0
    assert torch.equal(with_head(student, teacher, ["7"])(x), teacher(x))


def test_logits_differ_by_no_more_than_the_heads_norm_times_the_features():
    student, teacher = pair()
    x = torch.randn(50, 1, 8, 8)
    net = mir(student, teacher, x, BRIEF, layer="6", head=["7"])
    with torch.no_grad():
        features = (net[:7](x) - teacher[:7](x)).norm(dim=1)
        logits = (net(x) - teacher(x)).norm(dim=1)
        bound = torch.linalg.matrix_norm(teacher[7].weight, 2) * features
    assert (logits <= bound * (1 + 1e-5)).all()
    assert (logits > 0.05 * bound).any()  # the bound is of the right size


def test_the_error_falls_and_reaches_every_layer_of_the_body():
    student, teacher = pair()
    before = copy.deepcopy(student.state_dict())
    recipe = Recipe(epochs=15, batch_size=10, weight_decay=0.0)
    losses = mimic(student, teacher, torch.randn(20, 1, 8, 8), "4", recipe)
    assert losses[-1] < 0.6 * losses[0]
    for name, parameter in student.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("7")


def test_student_and_teacher_stay_as_they_are():
    student, teacher = pair()
    before = [copy.deepcopy(net.state_dict()) for net in (student, teacher)]
    mir(student, teacher, torch.randn(20, 1, 8, 8), BRIEF, layer="4", head=["7"])
    for net, state in zip((student, teacher), before, strict=True):
        assert all(torch.equal(v, state[n]) for n, v in net.state_dict().items())
        assert all(p.grad is None for p in net.parameters())


def test_bad_input_is_refused():
    student, teacher = pair()
    x = torch.randn(4, 1, 8, 8)
    with pytest.raises(ValueError, match=r"leave the last channels of the body"):
        mimic(student, teacher, x, "3", BRIEF)
    with pytest.raises(ValueError, match="names has '9', which is no layer"):
        mimic(student, teacher, x, "9", BRIEF)
    with pytest.raises(ValueError, match=r"call teacher.eval\(\) first"):
        mimic(student, copy.deepcopy(teacher).train(), x, "4", BRIEF)
    for name in ("9", ""):
        with pytest.raises(ValueError, match=f"head has '{name}', which is no layer"):
            with_head(student, teacher, [name])
