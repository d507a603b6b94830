"""Sparse feature reactivation against loops, against its conversion, at its limits."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.condensing import condense_fully_, deploy
from effdl.conv.feature_reactivation import (
    ReactivationConv2d,
    SparseFeatureReactivation,
)
from effdl.conv.learned_group import LearnedGroupConv2d
from effdl.measure.macs import count_macs

SHAPES = [(8, 24, 4, 4), (6, 12, 2, 3), (9, 12, 3, 2), (4, 8, 1, 4), (6, 8, 6, 2)]


def condensed(shape, stages=None):
    """Return a layer of (k, C, G, S) after some stages, all of them by default."""
    k, c, groups, condensation = shape
    layer = ReactivationConv2d(k, c, groups=groups, condensation=condensation)
    for _ in range(condensation - 1 if stages is None else stages):
        layer.condense_()
    return layer


def randomised(layer):
    """Move batch norm off its initial state."""
    norm = layer.update[0]
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return layer.eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_sums_over_the_inputs_whose_group_kept_the_output(shape):
    layer = condensed(shape)
    h = torch.randn(2, shape[0], 3, 4)
    expected = torch.zeros(2, shape[1], 3, 4)
    for j in range(shape[1]):
        for i in range(shape[0]):
            if layer.mask[j, i % shape[2]]:
                expected[:, j] += layer.weight[j, i, 0, 0] * h[:, i]
    torch.testing.assert_close(layer(h), expected)


def test_the_module_is_its_equations():
    layer = randomised(SparseFeatureReactivation(4, 8, groups=2, condensation=2))
    x, h = torch.randn(2, 8, 3, 3), torch.randn(2, 4, 3, 3)
    norm, _, conv = layer.update
    a = (h - norm.running_mean[:, None, None]) / (
        norm.running_var[:, None, None] + norm.eps
    ).sqrt()
    a = a * norm.weight[:, None, None] + norm.bias[:, None, None]
    a = a * (a + 3).clamp(0, 6) / 6  # hard-swish
    u = torch.einsum("ji,nihw->njhw", conv.weight[:, :, 0, 0], a)
    torch.testing.assert_close(layer(x, h), torch.cat((x + u, h), dim=1))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stage_is_a_loop_over_groups_of_inputs_that_sorts_sums_of_sizes(shape):
    k, c, groups, condensation = shape
    layer = condensed(shape, 0)
    for _ in range(condensation - 1):
        expected = layer.mask[:, :, 0, 0].clone()
        for g in range(groups):
            members = range(g, k, groups)
            sums = {
                j: sum(abs(layer.weight[j, i].item()) for i in members)
                for j in range(c)
                if layer.mask[j, g]
            }
            for j in sorted(sums, key=sums.get)[: c // condensation]:
                expected[j, g::groups] = 0
        layer.condense_()
        assert torch.equal(layer.mask[:, :, 0, 0], expected)


def test_stages_by_hand():
    """Groups of inputs {0, 2} and {1, 3}; sums of sizes 4 5 9 and 6 7 1."""
    layer = ReactivationConv2d(4, 3, groups=2, condensation=3)
    rows = [[1, 3, -3, 3], [2, -6, 3, 1], [4, 0, 5, -1]]
    layer.weight.data.copy_(torch.tensor(rows)[:, :, None, None])
    layer.condense_()
    assert layer.mask[:, :2, 0, 0].tolist() == [[0, 1], [1, 1], [1, 0]]
    layer.condense_()
    assert layer.mask[:, :, 0, 0].tolist() == [[0] * 4, [0, 1, 0, 1], [1, 0, 1, 0]]
    u = layer(torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1))
    assert u.flatten().tolist() == [0.0, 940.0, 504.0]


@pytest.mark.parametrize("shape", SHAPES)
def test_group_convolution_and_index_add_give_the_same_after_any_stage(shape):
    h = torch.randn(2, shape[0], 5, 4)
    for stages in range(shape[3]):
        layer = condensed(shape, stages)
        torch.testing.assert_close(
            layer.standard_form()(h), layer(h), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_learned_group_convolution_transposed(shape):
    k, c, groups, condensation = shape
    layer = condensed(shape, 0)
    twin = LearnedGroupConv2d(c, k, groups=groups, condensation=condensation)
    twin.weight.data.copy_(layer.weight.data.transpose(0, 1))
    condense_fully_(layer)
    condense_fully_(twin)
    assert torch.equal(layer.mask.transpose(0, 1), twin.mask)
    h = torch.randn(1, k, 2, 2)
    torch.testing.assert_close(layer(h), F.conv_transpose2d(h, twin.weight * twin.mask))


@pytest.mark.parametrize("shape", SHAPES)
def test_all_stages_leave_exactly_one_in_s_and_each_group_as_many_outputs(shape):
    k, c, groups, condensation = shape
    layer = condensed(shape)
    mask = layer.mask[:, :, 0, 0]
    assert layer.stages_left == 0
    assert mask.sum() * condensation == k * c
    for g in range(groups):
        columns = mask[:, g::groups]
        assert torch.equal(columns, columns[:, :1].expand_as(columns))
        assert columns[:, 0].sum() == c // condensation
    conv = layer.standard_form()[1]
    assert conv.weight.shape == (groups * c // condensation, k // groups, 1, 1)
    assert conv.groups == groups


def test_macs_of_the_deployed_layer_are_the_share_of_weights_left():
    layer, h = condensed((8, 24, 4, 4)), torch.zeros(1, 8, 5, 5)
    assert count_macs(layer, h).total == 8 * 24 * 25
    assert count_macs(layer.standard_form(), h).total == 8 * 24 * 25 // 4


def test_gamma_0_starts_as_the_identity_on_old_features():
    layer = SparseFeatureReactivation(4, 8, groups=2, condensation=2)
    x, h = torch.randn(2, 8, 3, 3), torch.randn(2, 4, 3, 3)
    assert torch.equal(layer(x, h), torch.cat((x, h), dim=1))
    other = SparseFeatureReactivation(4, 8, groups=2, condensation=2, gamma=1.0)
    assert not torch.allclose(other(x, h)[:, :8], x)
    assert torch.equal(other(x, h)[:, 8:], h)


@pytest.mark.parametrize(
    ("activation", "learns"), [(nn.ReLU, False), (nn.Hardswish, True)]
)
def test_with_gamma_0_no_gradient_ever_passes_relu(activation, learns):
    layer = SparseFeatureReactivation(
        4, 8, groups=2, condensation=2, activation=activation
    )
    x, h = torch.randn(8, 8, 3, 3), torch.randn(8, 4, 3, 3)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        sgd.zero_grad()
        layer(x, h).square().mean().backward()
        sgd.step()
    moved = [bool(p.grad.any()) for p in layer.parameters()]
    assert moved == [learns] * 3
    assert torch.equal(layer(x, h)[:, :8], x) is not learns


def test_an_output_that_no_group_kept_passes_unchanged():
    layer = randomised(
        SparseFeatureReactivation(4, 4, groups=2, condensation=4, gamma=1.0)
    )
    weight = torch.tensor([4.0, 3.0, 2.0, 1.0])[:, None, None, None].expand(4, 4, 1, 1)
    layer.update[2].weight.data.copy_(weight)  # both groups keep output 0
    condense_fully_(layer)
    x, h = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    y = layer(x, h)
    assert torch.equal(y[:, 1:4], x[:, 1:])
    assert not torch.allclose(y[:, 0], x[:, 0])
    torch.testing.assert_close(deploy(layer)(x, h), y)


def test_without_a_weight_it_is_the_concatenation_of_condensenet():
    layer = randomised(SparseFeatureReactivation(4, 8, groups=2, condensation=2))
    nn.init.zeros_(layer.update[2].weight)
    x, h = torch.randn(2, 8, 3, 3), torch.randn(2, 4, 3, 3)
    assert torch.equal(layer(x, h), torch.cat((x, h), dim=1))


def test_the_input_is_not_changed():
    layer = randomised(SparseFeatureReactivation(4, 8, groups=2, condensation=2))
    x, h = torch.randn(2, 8, 3, 3), torch.randn(2, 4, 3, 3)
    copies = x.clone(), h.clone()
    layer(x, h)
    assert torch.equal(x, copies[0])
    assert torch.equal(h, copies[1])


def test_exactly_the_weights_that_are_left_learn():
    layer = SparseFeatureReactivation(4, 8, groups=2, condensation=4, gamma=1.0)
    conv = layer.update[2]
    conv.condense_()
    layer(torch.randn(2, 8, 3, 3), torch.randn(2, 4, 3, 3)).square().sum().backward()
    assert torch.equal(conv.weight.grad != 0, conv.mask == 1)
    assert layer.update[0].weight.grad.all()
    assert layer.update[0].bias.grad.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"new": 0}, "new must be at least 1, got 0"),
        ({"preceding": 0}, "preceding must be at least 1, got 0"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"condensation": 0}, "condensation must be at least 1, got 0"),
        ({"groups": 3}, "groups=3 must divide in_channels, got 8; use 6 or 9"),
        (
            {"condensation": 5},
            "condensation=5 must divide out_channels, got 12; use 10 or 15",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"new": 8, "preceding": 12, "groups": 4, "condensation": 4}
    with pytest.raises(ValueError, match=message):
        SparseFeatureReactivation(**good | arguments)


@pytest.mark.parametrize(
    ("x", "h", "message"),
    [
        ((1, 7, 3, 3), (1, 4, 3, 3), "x must have 8 channels in dimension 1, got 7"),
        ((1, 8, 3, 3), (1, 5, 3, 3), "x must have 4 channels in dimension 1, got 5"),
        ((8, 3, 3), (1, 4, 3, 3), r"x must be \(N, C, H, W\), got shape \(8, 3, 3\)"),
    ],
)
def test_bad_inputs_are_named(x, h, message):
    layer = SparseFeatureReactivation(4, 8, groups=2, condensation=2)
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(x), torch.zeros(h))


def test_a_stage_too_many_is_refused():
    with pytest.raises(ValueError, match="no stage left: condensation=4 has 3"):
        condensed((8, 24, 4, 4)).condense_()
