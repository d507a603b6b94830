"""Learned group convolution against loops over groups, and against its conversion."""

import pytest
import torch
import torch.nn.functional as F

from effdl.conv.group import block_diagonal
from effdl.conv.learned_group import (
    LearnedGroupConv2d,
    condensed_mask,
    group_lasso,
)
from effdl.measure.macs import count_macs

SHAPES = [(16, 32, 4, 4), (12, 8, 2, 3), (12, 9, 3, 2), (8, 10, 1, 4), (8, 6, 6, 2)]


def condensed(shape, stages=None, *, bias=False):
    """Return a layer of (c, n, G, C) after some stages, all of them by default."""
    c, n, groups, condensation = shape
    layer = LearnedGroupConv2d(
        c, n, groups=groups, condensation=condensation, bias=bias
    )
    for _ in range(condensation - 1 if stages is None else stages):
        layer.condense_()
    return layer


@pytest.mark.parametrize("shape", SHAPES)
def test_output_is_a_sum_over_the_inputs_that_the_filters_group_kept(shape):
    layer = condensed(shape)
    x = torch.randn(2, shape[0], 3, 4)
    expected = torch.zeros(2, shape[1], 3, 4)
    for i in range(shape[1]):
        for j in range(shape[0]):
            if layer.mask[i % shape[2], j]:
                expected[:, i] += layer.weight[i, j, 0, 0] * x[:, j]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("groups", "drop"), [(1, 2), (2, 3), (3, 1), (6, 4)])
def test_a_stage_is_a_loop_over_groups_that_sorts_sums_of_sizes(groups, drop):
    weight, mask = torch.randn(6, 8), torch.ones(6, 8)
    mask = condensed_mask(weight, mask, groups, 2)
    left = mask.clone()
    for g in range(groups):
        sums = {}
        for j in range(8):
            if mask[g, j]:
                rows = range(g, 6, groups)
                sums[j] = sum(abs(weight[i, j].item()) for i in rows)
        for j in sorted(sums, key=sums.get)[:drop]:
            left[g::groups, j] = 0
    assert torch.equal(condensed_mask(weight, mask, groups, drop), left)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_lasso_is_a_sum_of_norms(groups):
    weight = torch.randn(6, 5)
    total = 0.0
    for g in range(groups):
        for j in range(5):
            total += sum(weight[i, j] ** 2 for i in range(g, 6, groups)) ** 0.5
    torch.testing.assert_close(group_lasso(weight, groups), total)


def test_stages_by_hand():
    """Groups {0, 2} and {1, 3}; sums of sizes 4 5 9 3 and 6 2 1 8."""
    layer = LearnedGroupConv2d(4, 4, groups=2, condensation=4)
    rows = [[1, -2, 4, 0], [3, 1, 0, 4], [-3, 3, 5, 3], [3, -1, 1, -4]]
    layer.weight.data.copy_(torch.tensor(rows)[:, :, None, None])
    layer.condense_()
    first = [[1, 1, 1, 0], [1, 1, 0, 1]]
    assert layer.mask[:, :, 0, 0].tolist() == first + first
    layer.condense_()
    assert layer.mask[:2, :, 0, 0].tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]
    layer.condense_()
    assert layer.mask[:2, :, 0, 0].tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    y = layer(torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1))
    assert y.flatten().tolist() == [400.0, 4000.0, 500.0, -4000.0]


def test_lasso_by_hand():
    """Filters 0 and 2 in one group, 1 and 3 in the other: 5 + 2 + 1 + 13."""
    weight = torch.tensor([[3.0, 0.0], [1.0, 5.0], [-4.0, 2.0], [0.0, -12.0]])
    assert group_lasso(weight, 2).item() == 21.0


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gather_group_convolution_and_shuffle_give_the_same_after_any_stage(
    shape, bias
):
    x = torch.randn(2, shape[0], 5, 4)
    for stages in range(shape[3]):
        layer = condensed(shape, stages, bias=bias)
        torch.testing.assert_close(
            layer.standard_form()(x), layer(x), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_of_filters_and_a_permutation_are_the_papers_form(shape):
    """As the paper numbers: block-diagonal weights on gathered inputs, permuted."""
    c, n, groups, _ = shape
    layer, x = condensed(shape), torch.randn(2, c, 3, 3)
    index, blocks = layer.packed()
    dense = block_diagonal(blocks.flatten(0, 1)[:, :, None, None], groups)
    y = F.conv2d(x[:, index], dense)  # filters of group 0 first
    order = [i % groups * (n // groups) + i // groups for i in range(n)]
    torch.testing.assert_close(layer(x), y[:, order])


@pytest.mark.parametrize("shape", SHAPES)
def test_all_stages_leave_exactly_one_in_c_and_each_group_as_many_inputs(shape):
    c, n, groups, condensation = shape
    layer = condensed(shape)
    mask = layer.mask[:, :, 0, 0]
    assert mask.sum() * condensation == n * c
    for g in range(groups):
        rows = mask[g::groups]
        assert torch.equal(rows, rows[:1].expand_as(rows))
        assert rows[0].sum() == c // condensation
    conv = layer.standard_form()[1]
    assert conv.weight.shape == (n, c // condensation, 1, 1)
    assert conv.groups == groups


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stage_only_removes_and_what_it_removes_is_weakest(shape):
    c, _, groups, condensation = shape
    layer = condensed(shape, 0)
    for stage in range(1, condensation):
        before = layer.mask.clone()
        layer.condense_()
        assert layer.stages_left == condensation - 1 - stage
        assert layer.mask.mean().item() == pytest.approx(1 - stage / condensation)
        assert (layer.mask <= before).all()
        for g in range(groups):
            sums = layer.weight[g::groups, :, 0, 0].abs().sum(0)
            gone = (before - layer.mask)[g, :, 0, 0] == 1
            assert gone.sum() == c // condensation
            assert sums[gone].max() <= sums[layer.mask[g, :, 0, 0] == 1].min()


def test_what_is_dropped_does_not_come_back_nor_is_it_dropped_again():
    layer = condensed((8, 4, 2, 4), 1)
    with torch.no_grad():
        layer.weight[layer.mask == 0] = 100.0  # by whatever trains it
    before = layer.mask.clone()
    layer.condense_()
    assert (layer.mask <= before).all()
    with torch.no_grad():
        layer.weight[layer.mask == 0] = 0.0
    layer.condense_()
    assert layer.mask.mean().item() == 0.25


def test_groups_choose_for_themselves_and_may_share_an_input():
    layer = LearnedGroupConv2d(4, 2, groups=2, condensation=2)
    rows = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 4.0, 3.0]])
    layer.weight.data.copy_(rows[:, :, None, None])
    layer.condense_()
    assert layer.mask[:, :, 0, 0].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    layer.mask.fill_(1.0)
    layer.weight.data[1] = layer.weight.data[0]
    layer.condense_()
    assert layer.standard_form()[0].index.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_macs_of_the_deployed_layer_are_the_share_of_weights_left(stages):
    layer, x = condensed((16, 32, 4, 4), stages), torch.zeros(1, 16, 6, 6)
    dense = 16 * 32 * 36
    assert count_macs(layer, x).total == dense
    assert count_macs(layer.standard_form(), x).total == dense * (4 - stages) // 4


def test_factor_1_is_an_ordinary_convolution():
    layer = LearnedGroupConv2d(6, 4, groups=2, condensation=1, bias=True)
    x = torch.randn(1, 6, 3, 3)
    assert layer.stages_left == 0
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias))
    torch.testing.assert_close(layer.standard_form()(x), layer(x))


def test_the_standard_form_has_a_memory_of_its_own():
    layer = condensed((8, 4, 2, 2), bias=True)
    x = torch.randn(1, 8, 3, 3)
    before = layer(x)
    form = layer.standard_form()
    assert all(p.requires_grad for p in form.parameters())
    for tensor in form.state_dict().values():
        tensor.zero_()
    torch.testing.assert_close(layer(x), before)


def test_the_mask_travels_with_the_state():
    source, target = condensed((8, 4, 2, 4), 2), condensed((8, 4, 2, 4), 0)
    target.load_state_dict(source.state_dict())
    assert target.stages_left == 1
    x = torch.randn(1, 8, 2, 2)
    torch.testing.assert_close(target(x), source(x))


def test_exactly_the_weights_that_are_left_learn():
    layer = condensed((8, 4, 2, 4), 2, bias=True)
    layer(torch.randn(2, 8, 3, 3)).square().sum().backward()
    assert torch.equal(layer.weight.grad != 0, layer.mask == 1)
    assert layer.bias.grad.all()


def test_the_gradient_of_the_lasso_is_zero_for_dropped_inputs():
    layer = condensed((8, 4, 2, 4), 2)
    group_lasso((layer.weight * layer.mask)[:, :, 0, 0], 2).backward()
    assert layer.weight.grad.isfinite().all()
    assert torch.equal(layer.weight.grad != 0, layer.mask == 1)


def test_the_lasso_drives_the_weights_of_a_group_to_zero_together():
    weight = torch.tensor([[0.3, 3.0], [0.4, 4.0]], requires_grad=True)
    sgd = torch.optim.SGD([weight], lr=0.1)
    for _ in range(5):
        sgd.zero_grad()
        group_lasso(weight, 1).backward()
        sgd.step()
    norms = weight.detach().norm(dim=0)
    torch.testing.assert_close(norms, torch.tensor([0.0, 4.5]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"condensation": 0}, "condensation must be at least 1, got 0"),
        ({"groups": 3}, "groups=3 must divide out_channels, got 8; use 6 or 9"),
        (
            {"condensation": 5},
            "condensation=5 must divide in_channels, got 12; use 10 or 15",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"in_channels": 12, "out_channels": 8, "groups": 4, "condensation": 4}
    with pytest.raises(ValueError, match=message):
        LearnedGroupConv2d(**good | arguments)


def test_a_stage_too_many_is_refused():
    with pytest.raises(ValueError, match="no stage left: condensation=4 has 3"):
        condensed((8, 4, 2, 4)).condense_()


@pytest.mark.parametrize(
    ("groups", "drop", "message"),
    [
        (0, 1, "groups must be at least 1, got 0"),
        (2, 0, "drop must be at least 1, got 0"),
        (2, 6, "drop must be below the 6 inputs left, got 6"),
        (3, 1, "groups=3 must divide filters, got 4"),
    ],
)
def test_a_bad_stage_is_named(groups, drop, message):
    with pytest.raises(ValueError, match=message):
        condensed_mask(torch.randn(4, 6), torch.ones(4, 6), groups, drop)


def test_bad_inputs_are_named():
    with pytest.raises(
        ValueError, match="x must have 8 channels in dimension 1, got 7"
    ):
        condensed((8, 4, 2, 2))(torch.zeros(1, 7, 3, 3))
    with pytest.raises(ValueError, match="groups=3 must divide filters, got 4"):
        group_lasso(torch.zeros(4, 2), 3)
