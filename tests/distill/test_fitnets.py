"""FitNets: hints for the lower half, then answers with a falling share."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from effdl.blocks import conv_bn, plain_net
from effdl.data.digits import Split
from effdl.distill.fitnets import (
    annealed_alpha,
    distil_annealed,
    hint_loss,
    hint_regressor,
    learn_hints,
)
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe

SHORT = Recipe(epochs=2, batch_size=50, learning_rate=0.05)


def made(width):
    return nn.Sequential(
        conv_bn(1, width, 3),
        conv_bn(width, width, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    )


@pytest.fixture
def split():
    return Split(torch.randn(100, 1, 5, 5), torch.randint(3, (100,)))


def changed(net, before):
    pairs = zip(net.named_parameters(), before.parameters(), strict=True)
    return {name.split(".")[0] for (name, p), q in pairs if not torch.equal(p, q)}


def test_the_loss_is_half_the_square_over_the_number_of_features():
    s, t = (torch.randn(2, 3, 2, 2, dtype=torch.float64) for _ in range(2))
    total = 0.0
    for index in product(range(2), range(3), range(2), range(2)):
        total += (t[index] - s[index]).item() ** 2 / 2
    np.testing.assert_allclose(float(hint_loss(s, t)), total / 24)


def test_by_hand():
    """Differences 1 and 3: (1 + 9) / 2 / 2."""
    s, t = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 5.0]])
    assert hint_loss(s[..., None, None], t[..., None, None]).item() == 2.5


def test_the_regressor_is_a_convolution_without_padding_and_the_hints_activation():
    guided, hint = torch.randn(2, 3, 7, 6), torch.randn(2, 5, 4, 6)
    r = hint_regressor(guided, hint)
    conv, relu = r
    assert conv.weight.shape == (5, 3, 4, 1)
    assert isinstance(relu, nn.ReLU)
    out, (n, c, h, w) = r(guided), (1, 2, 3, 5)
    assert out.shape == hint.shape
    window = guided[n, :, h : h + 4, w : w + 1]
    expected = ((conv.weight[c] * window).sum() + conv.bias[c]).clamp_min(0)
    torch.testing.assert_close(out[n, c, h, w], expected)


def test_without_activation_there_is_only_the_convolution():
    maps = torch.ones(1, 3, 4, 4)
    (conv,) = hint_regressor(maps, torch.ones(1, 6, 4, 4), activation=None)
    assert conv.weight.shape == (6, 3, 1, 1)


def test_same_width_same_weights_and_the_identity_give_no_loss(split):
    teacher = made(4).eval()
    student = copy.deepcopy(teacher)
    x = split.inputs
    hint, guided = teacher[:2].eval()(x), student[:2].eval()(x)
    r = hint_regressor(guided, hint)
    with torch.no_grad():
        r[0].weight.copy_(torch.eye(4)[:, :, None, None])
        r[0].bias.zero_()
    assert hint_loss(r(guided), hint).item() == 0


def test_only_layers_up_to_the_guided_one_learn(split):
    student, teacher = made(4), made(6).eval()
    x = split.inputs[:1]
    r = hint_regressor(student[0].eval()(x), teacher[0](x))
    before, r_before = copy.deepcopy(student), copy.deepcopy(r)
    taught = copy.deepcopy(teacher)
    losses = learn_hints(student, teacher, split, ("0", "0"), r, SHORT)
    assert changed(student, before) == {"0"}
    assert changed(r, r_before) == {"0"}
    assert changed(teacher, taught) == set()
    assert losses[1] < losses[0]
    assert len(losses) == 2


def test_guided_and_hint_may_be_different_layers(split):
    student, teacher = made(4), made(6).eval()
    x = split.inputs[:1]
    r = hint_regressor(student[:2].eval()(x), teacher[0](x))
    before = copy.deepcopy(student)
    learn_hints(student, teacher, split, ("1", "0"), r, SHORT)
    assert changed(student, before) == {"0", "1"}


def test_labels_play_no_part_in_stage_1(split):
    teacher, states = made(6).eval(), []
    start, r_start = made(4), nn.Conv2d(4, 6, 1)
    for targets in (split.targets, split.targets.flip(0)):
        student, r = copy.deepcopy(start), copy.deepcopy(r_start)
        learn_hints(student, teacher, Split(split.inputs, targets), ("1", "1"), r)
        states.append(student[0][0].weight)
    assert torch.equal(*states)


def test_the_regressor_is_no_part_of_the_student(split):
    student, teacher = plain_net(2), plain_net(3).eval()
    names = [*student.state_dict()]
    r = nn.Conv2d(4, 6, 1)
    learn_hints(student, teacher, split, ("2", "2"), r, SHORT)
    assert [*student.state_dict()] == names


def test_the_share_falls_from_four_fifths_to_one_half():
    """Lambda is 4, 3, 2, 1 over four steps."""
    found = [annealed_alpha(step, 4) for step in range(4)]
    np.testing.assert_allclose(found, [4 / 5, 3 / 4, 2 / 3, 1 / 2])


def test_the_weight_of_a_single_step_is_the_first():
    assert annealed_alpha(0, 1, (3.0, 1.0)) == 0.75


def test_a_share_that_stays_is_plain_distillation_to_the_last_bit(split):
    teacher, student = made(6).eval(), made(4)
    other = copy.deepcopy(student)
    distil_annealed(student, teacher, split, SHORT, temperature=3.0, weights=(3.0, 3.0))
    distil(other, teacher, split, SHORT, temperature=3.0, alpha=0.75)
    assert changed(student, other) == set()


def test_the_share_has_fallen_when_the_last_step_is_taken(split):
    """With a learning rate near 0 the mean loss of an epoch is that of its shares."""
    teacher, student = made(6).eval(), made(4)
    still = Recipe(epochs=3, batch_size=100, learning_rate=1e-9)
    runs = {}
    for weights in ((4.0, 1.0), (4.0, 4.0), (2.5, 2.5), (1.0, 1.0)):
        net = copy.deepcopy(student)
        runs[weights] = distil_annealed(net, teacher, split, still, weights=weights)
    falling = runs.pop((4.0, 1.0))
    expected = [losses[0] for losses in runs.values()]
    np.testing.assert_allclose(falling, expected, rtol=1e-5)


def test_bad_input_is_refused(split):
    with pytest.raises(ValueError, match=r"hint has \(6, 4\) pixels and guided only"):
        hint_regressor(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 6, 4))
    with pytest.raises(ValueError, match=r"student has shape \(1, 2, 4, 4\) and teach"):
        hint_loss(torch.ones(1, 2, 4, 4), torch.ones(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"got -1\.0"):
        annealed_alpha(0, 5, (-1.0, 1.0))
    net = made(4)
    with pytest.raises(ValueError, match="temperature must be finite"):
        distil_annealed(net, made(4).eval(), split, temperature=0)
    with pytest.raises(ValueError, match="teacher is in training mode"):
        distil_annealed(net, made(4), split)
    with pytest.raises(ValueError, match="names has '9'"):
        learn_hints(net, made(4).eval(), split, ("9", "1"), nn.Identity())
