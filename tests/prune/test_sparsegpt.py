"""Wanda and SparseGPT on one layer: what the outputs lose, and what is promised."""

from functools import partial

import pytest
import torch
from torch import nn

from effdl.prune.masks import prune_
from effdl.prune.nm import is_nm, nm_mask
from effdl.prune.sparsegpt import (
    column_sweep,
    curvature,
    output_error,
    refit,
    sparsegpt_,
    wanda_scores,
)
from effdl.prune.thresholds import keep_largest


def correlated(samples=300, inputs=16):
    """Return inputs that go with each other, of different sizes, in float64."""
    mixed = torch.randn(samples, inputs, dtype=torch.float64)
    mixed = mixed @ (torch.randn(inputs, inputs) / inputs**0.5 + 0.3).double()
    return mixed * torch.randn(inputs, dtype=torch.float64).mul(0.7).exp()


def drawn(outputs=6, inputs=16):
    return torch.randn(outputs, inputs, dtype=torch.float64)


def literal_sweep(weight, curvature, keep, group):
    """Return the sweep with a new inverse of what is left for every input."""
    swept, inputs = weight.clone(), weight.shape[1]
    for j in range(inputs):
        if j % group == 0:
            costs = [
                swept[:, i].square() / torch.linalg.inv(curvature[i:, i:])[0, 0]
                for i in range(j, j + group)
            ]
            order = torch.stack(costs, dim=1).argsort(dim=1)
            gone = order[:, : group - keep] + j
        inverse = torch.linalg.inv(curvature[j:, j:])
        for row in range(len(swept)):
            if j in gone[row]:
                swept[row, j:] -= swept[row, j] / inverse[0, 0] * inverse[0]
                swept[row, j] = 0
    return swept


def given(mask, block=4):
    """Return what hands out the blocks of a mask one after the other."""
    blocks = iter(mask.split(block, dim=1))
    return lambda scores: next(blocks)


def masked(weight, mask):
    return torch.where(mask, weight, 0)


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 8)])
def test_the_sweep_is_one_removal_after_the_other(keep, group):
    weight, h = drawn(), curvature(correlated())
    choose = partial(nm_mask, keep=keep, group=group)
    found = column_sweep(weight, h, choose, block=group)
    torch.testing.assert_close(found, literal_sweep(weight, h, keep, group))
    assert is_nm(found, keep, group)


def test_the_error_is_that_of_the_outputs():
    weight, x = drawn(), correlated()
    after = masked(weight, nm_mask(weight.abs()))
    expected = (x @ weight.T - x @ after.T).square().sum().item()
    assert output_error(weight, after, x.T @ x) == pytest.approx(expected)


def test_wanda_by_hand():
    """Columns of X have the norms 5, 1 and 0."""
    x = torch.tensor([[3.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
    scores = wanda_scores(torch.tensor([[1.0, -4.0, 9.0]]), x)
    assert scores.tolist() == [[5, 4, 0]]
    assert torch.equal(wanda_scores(torch.ones(1, 3), x[None]), x.norm(dim=0)[None])


def test_curvature_by_hand():
    """X^T X = diag(4, 12): mean 8, a quarter of it is 2."""
    x = torch.tensor([[2.0, 0.0], [0.0, 12.0**0.5]])
    torch.testing.assert_close(curvature(x, 0.25), torch.tensor([[6.0, 0], [0, 14]]))


def test_with_columns_of_equal_norm_wanda_is_magnitude():
    x = torch.nn.functional.normalize(correlated(), dim=0)
    weight = drawn()
    by_size = nm_mask(weight.abs())
    assert torch.equal(nm_mask(wanda_scores(weight, x)), by_size)
    assert not torch.equal(nm_mask(wanda_scores(weight, correlated())), by_size)


def test_with_inputs_that_do_not_go_together_all_three_choose_alike():
    """H is diagonal: nothing makes up for anything; scores are Wanda's, squared."""
    weight, sizes = drawn(), torch.rand(16, dtype=torch.float64) + 0.1
    x = torch.diag(sizes)
    expected = masked(weight, nm_mask(wanda_scores(weight, x)))
    found = column_sweep(weight, x.T @ x, nm_mask)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(refit(weight, x.T @ x, expected != 0), expected)


def test_the_best_for_a_mask_never_loses_more_than_to_change_nothing():
    """Nor more than the sweep. Exact: it is the minimum over all weights there."""
    for _ in range(30):
        weight, h = drawn(2), curvature(correlated(40), 1e-3)
        mask = nm_mask(torch.rand(2, 16))
        best = output_error(weight, refit(weight, h, mask), h)
        swept = column_sweep(weight, h, given(mask))
        assert torch.equal(swept != 0, mask)
        for other in (masked(weight, mask), swept):
            assert best <= output_error(weight, other, h) * (1 + 1e-9)


def test_the_best_for_a_mask_is_a_least_squares_fit():
    weight, x = drawn(1), correlated()
    mask = nm_mask(weight.abs())
    kept = mask[0]
    fitted = torch.linalg.lstsq(x[:, kept], x @ weight[0]).solution
    found = refit(weight, x.T @ x, mask)
    torch.testing.assert_close(found[0, kept], fitted)
    assert found[0, ~kept].count_nonzero() == 0


def test_the_sweep_may_lose_more_than_to_change_nothing():
    """Of w = (1, 5, -2) the first and last go.

    H^-1 = U^T U with U = [[1, 1, 0], [0, 1, 2], [0, 0, 1]]. The first goes: the second
    becomes 4, the last stays -2, and goes: 1 + 4 = 5. But without a change the errors
    in the outputs cancel: d = (1, 0, -2), d^T H d = 6 - 8 + 4 = 2.
    """
    h = torch.tensor([[6.0, -5, 2], [-5, 5, -2], [2, -2, 1]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 5.0, -2.0]], dtype=torch.float64)
    mask = torch.tensor([[False, True, False]])
    swept = column_sweep(weight, h, lambda scores: mask, block=3)
    torch.testing.assert_close(swept, torch.tensor([[0, 4.0, 0]]).double())
    assert output_error(weight, swept, h) == pytest.approx(5)
    assert output_error(weight, masked(weight, mask), h) == pytest.approx(2)


def test_on_correlated_inputs_the_order_is_the_usual_one():
    """On average; no theorem for a single layer."""
    totals = [0.0, 0.0, 0.0]
    for _ in range(20):
        weight, x = drawn(), correlated()
        h = curvature(x)
        pruned = (
            column_sweep(weight, h, nm_mask),
            masked(weight, nm_mask(wanda_scores(weight, x))),
            masked(weight, nm_mask(weight.abs())),
        )
        zeros = output_error(weight, torch.zeros_like(weight), h)
        for place, after in enumerate(pruned):
            totals[place] += output_error(weight, after, h) / zeros
    assert totals[0] < 0.8 * totals[1] < 0.8 * totals[2]


def test_any_sparsity_is_chosen_block_by_block():
    weight, h = drawn(), curvature(correlated())
    found = column_sweep(weight, h, lambda scores: keep_largest(scores, 0.75), block=10)
    kept = found != 0
    assert [int(part.sum()) for part in kept.split(10, dim=1)] == [15, 9]


def test_inputs_that_are_always_0_lose_their_weights_first():
    weight, x = drawn(), correlated()
    x[:, [1, 6]] = 0
    found = column_sweep(weight, curvature(x), nm_mask)
    assert found[:, [1, 6]].count_nonzero() == 0
    assert found.isfinite().all()


def test_a_layer_is_changed_and_its_mask_returned():
    layer, x = nn.Linear(16, 6), torch.randn(4, 30, 16)
    weight, bias = (p.detach().clone() for p in (layer.weight, layer.bias))
    mask = sparsegpt_(layer, x, nm_mask)
    expected = column_sweep(weight, curvature(x), nm_mask)
    assert torch.equal(layer.weight, expected)
    assert torch.equal(mask, expected != 0)
    assert torch.equal(layer.bias, bias)
    half = partial(keep_largest, sparsity=0.5)
    assert int(sparsegpt_(nn.Linear(16, 6), x, half, block=8, damping=0.1).sum()) == 48


def test_nothing_else_is_changed():
    weight, h = drawn(), curvature(correlated())
    before = weight.clone(), h.clone()
    column_sweep(weight, h, nm_mask)
    refit(weight, h, nm_mask(weight.abs()))
    assert torch.equal(weight, before[0])
    assert torch.equal(h, before[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: wanda_scores(torch.ones(2, 4), torch.ones(4)),
            r"inputs must be \(\.\.\., 4\)",
        ),
        (
            lambda: sparsegpt_(nn.Linear(4, 2), torch.ones(3, 5), nm_mask),
            r"got \(3, 5\)",
        ),
        (lambda: curvature(torch.zeros(3, 4)), "inputs are 0 everywhere"),
        (lambda: curvature(torch.ones(3, 4), damping=0.0), "damping"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_layer_with_a_mask_is_refused():
    layer = nn.Linear(4, 2)
    prune_(layer, {"weight": torch.ones(2, 4) > 0})
    with pytest.raises(ValueError, match="make_permanent_"):
        sparsegpt_(layer, torch.randn(9, 4), nm_mask)
