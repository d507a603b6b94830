"""All formats compute what the layer with zeros in place computes."""

import copy
import warnings

import pytest
import torch
from torch import nn

from effdl.prune.break_even import block_mask
from effdl.prune.sparse_formats import CompressedLinear, GatheredLinear, SmallerLinear


def pruned(sparsity, block, shape=(12, 24)):
    """Return a weight with blocks gone, a bias, inputs, and the masked layer's y."""
    weight, bias, x = (
        torch.randn(shape),
        torch.randn(shape[0]),
        torch.randn(5, shape[1]),
    )
    weight = weight * block_mask(weight.abs(), sparsity, block=block)
    return weight, bias, x, nn.functional.linear(x, weight, bias)


def test_the_smaller_layer_is_the_definition_row_by_row():
    """y_i = sum of w_ij x_j + b_i, for rows that have a weight."""
    weight, bias, x, _ = pruned(0.5, (1, 24))
    layer = SmallerLinear(weight, bias)
    assert len(layer.rows) == 6
    for column, row in enumerate(layer.rows.tolist()):
        expected = sum(weight[row, j] * x[:, j] for j in range(24)) + bias[row]
        torch.testing.assert_close(layer(x)[:, column], expected)


def test_values_by_hand():
    """Rows (0 2 0 0) and (3 0 0 4) on (1 10 100 1000) are 20 and 4003."""
    weight = torch.tensor([[0.0, 2, 0, 0], [3, 0, 0, 4]])
    x = torch.tensor([[1.0, 10, 100, 1000]])
    for layer in (
        CompressedLinear(weight),
        CompressedLinear(weight, block=2),
        GatheredLinear(weight, block=(1, 2)),
        SmallerLinear(weight),
    ):
        assert layer(x).tolist() == [[20.0, 4003.0]]
    with_bias = CompressedLinear(weight, torch.tensor([1.0, -3]))
    assert with_bias(x).tolist() == [[21.0, 4000.0]]


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("block", [(1, 1), (4, 4), (3, 2)])
def test_every_format_gives_the_result_of_the_masked_layer(sparsity, block):
    weight, bias, x, expected = pruned(sparsity, block)
    layers = [
        CompressedLinear(weight, bias),
        CompressedLinear(weight, bias, block=block[1]),
        GatheredLinear(weight, bias, block=block),
    ]
    for layer in layers:
        torch.testing.assert_close(layer(x), expected)
    smaller = SmallerLinear(weight, bias)
    torch.testing.assert_close(smaller(x), expected[:, smaller.rows])


def test_the_rows_that_the_smaller_layer_leaves_out_gave_their_bias_alone():
    weight, bias, _, expected = pruned(0.75, (1, 24))
    gone = torch.ones(12, dtype=torch.bool)
    gone[SmallerLinear(weight, bias).rows] = False
    assert gone.sum() == 9
    torch.testing.assert_close(expected[:, gone], bias[gone].expand(5, -1))


def test_only_what_is_left_is_stored():
    weight, _, _, _ = pruned(0.75, (6, 6))
    rows = CompressedLinear(weight).weight
    assert rows.layout == torch.sparse_csr
    assert len(rows.values()) == 72 == weight.count_nonzero()
    blocks = CompressedLinear(weight, block=6).weight
    assert blocks.layout == torch.sparse_bsr
    assert blocks.values().shape == (2, 6, 6)
    for stored in (rows, blocks):
        assert stored.col_indices().dtype == torch.int32
    gathered = GatheredLinear(weight, block=(6, 6))
    assert sum(part.numel() for _, _, part in gathered.rows) == 72
    assert SmallerLinear(weight * 0 + torch.eye(12, 24)).weight.numel() == 288


def test_a_row_of_blocks_that_is_empty_is_not_run():
    weight = torch.zeros(4, 4)
    weight[2:] = 1.0
    layer = GatheredLinear(weight, torch.arange(4.0), block=(2, 2))
    assert [number for number, _, _ in layer.rows] == [1]
    assert layer(torch.ones(1, 4)).tolist() == [[0.0, 1.0, 6.0, 7.0]]


def test_a_weight_without_any_non_zero_still_gives_the_bias():
    bias, x = torch.arange(4.0), torch.ones(2, 4)
    zeros = torch.zeros(4, 4)
    for layer in (
        CompressedLinear(zeros, bias),
        GatheredLinear(zeros, bias, block=(2, 2)),
    ):
        torch.testing.assert_close(layer(x), bias.expand(2, -1))


def test_making_one_warns_of_nothing_and_leaves_the_weight_as_it_is():
    weight, bias, x, expected = pruned(0.5, (4, 6))
    before = weight.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers = [
            CompressedLinear(weight),
            CompressedLinear(weight, block=4),
            GatheredLinear(weight, block=(4, 6)),
            SmallerLinear(weight),
        ]
    assert torch.equal(weight, before)
    layers[3].weight.data.fill_(0)
    weight.fill_(0)
    torch.testing.assert_close(layers[0](x) + bias, expected)
    torch.testing.assert_close(layers[2](x) + bias, expected)


def test_the_gathered_and_the_smaller_layer_can_be_copied():
    weight, bias, x, expected = pruned(0.5, (4, 6))
    gathered = copy.deepcopy(GatheredLinear(weight, bias, block=(4, 6)))
    torch.testing.assert_close(gathered(x), expected)
    smaller = copy.deepcopy(SmallerLinear(weight, bias))
    torch.testing.assert_close(smaller(x), expected[:, smaller.rows])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompressedLinear(torch.ones(3)), r"\(out, in\), got shape \(3,\)"),
        (lambda: SmallerLinear(torch.ones(2, 2, 1)), r"use weight.flatten\(1\)"),
        (lambda: SmallerLinear(torch.zeros(2, 2)), "weight is 0 everywhere"),
        (
            lambda: CompressedLinear(torch.ones(4, 6), block=3),
            "block=3 must divide out, got 4",
        ),
        (
            lambda: GatheredLinear(torch.ones(4, 6), block=(2, 4)),
            "block=4 must divide in, got 6",
        ),
        (
            lambda: GatheredLinear(torch.ones(4, 6), block=(0, 2)),
            "block must be at least 1, got 0",
        ),
        (
            lambda: CompressedLinear(torch.ones(4, 6), block=0),
            "block must be at least 1, got 0",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
