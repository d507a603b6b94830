"""Bi-directional masks: exact without a mask, and better the more the two overlap."""

import pytest
import torch
import torch.nn.functional as F

from effdl.prune.bidirectional import (
    backward_mask,
    bidirectional_linear,
    drawn_order,
    overlap,
)
from effdl.prune.channel_permutation import greedy_order
from effdl.prune.nm import is_nm, nm_mask
from effdl.seed import seeded


def a_layer(outputs=16, inputs=24, batch=5):
    weight = torch.randn(outputs, inputs)
    return torch.randn(batch, inputs), weight, nm_mask(weight.abs())


def slopes(x, weight, forward, backward, sent):
    x, weight = (t.clone().requires_grad_() for t in (x, weight))
    bidirectional_linear(x, weight, forward, backward).backward(sent)
    return x.grad, weight.grad


def test_the_slope_for_x_is_the_product_with_both_masks():
    x, weight, m = a_layer()
    b = torch.rand(16, 24) > 0.4
    sent = torch.randn(5, 16)
    to_x, to_weight = slopes(x, weight, m, b, sent)
    expected = torch.zeros(5, 24)
    for n, o, i in torch.cartesian_prod(*map(torch.arange, (5, 16, 24))).tolist():
        if m[o, i] and b[o, i]:
            expected[n, i] += sent[n, o] * weight[o, i]
    torch.testing.assert_close(to_x, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(to_weight, sent.T @ x)


def test_with_ones_as_the_backward_mask_it_is_what_autograd_finds():
    x, weight, m = a_layer()
    sent = torch.randn(5, 16)
    ones = torch.ones_like(m)
    to_x, to_weight = slopes(x, weight, m, ones, sent)
    x.requires_grad_()
    masked = (weight * m).requires_grad_()
    out = F.linear(x, masked)
    torch.testing.assert_close(bidirectional_linear(x, weight, m, ones), out)
    exact_x, exact_weight = torch.autograd.grad(out, (x, masked), sent)
    torch.testing.assert_close(to_x, exact_x)
    torch.testing.assert_close(to_weight, exact_weight)  # to every weight


def test_without_any_mask_numbers_confirm_both_slopes():
    x, weight, _ = (t.double() for t in a_layer(4, 8, 3))
    ones = torch.ones(4, 8, dtype=torch.bool)
    x, weight = x.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *t: bidirectional_linear(*t, ones, ones), (x, weight)
    )


@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 8)])
def test_any_number_of_leading_dimensions_will_do(shape):
    weight, x, sent = torch.randn(4, 8), torch.randn(shape), torch.randn(*shape[:-1], 4)
    m = nm_mask(weight.abs())
    to_x, to_weight = slopes(x, weight, m, m, sent)
    assert to_x.shape == x.shape
    flat = sent.reshape(-1, 4).T @ x.reshape(-1, 8)
    torch.testing.assert_close(to_weight, flat)


def test_the_backward_mask_by_hand():
    """Outputs 4 3 | 2 1 keep 4 and 2; in the order 0 3 1 2, 4 1 | 3 2 keep 4 and 3."""
    weight = torch.tensor([[4.0], [-3.0], [2.0], [1.0]])
    kept = [backward_mask(weight, o, 1, 2)[:, 0].tolist() for o in (None, [0, 3, 1, 2])]
    assert kept == [[True, False, True, False], [True, True, False, False]]


def test_put_in_order_the_backward_mask_is_n_m_along_the_outputs():
    _, weight, m = a_layer()
    order = torch.randperm(16).tolist()
    mask = backward_mask(weight * m, order)
    assert is_nm(mask[order].T)
    assert mask.sum() == 16 * 24 / 2
    assert mask.shape == weight.shape
    assert torch.equal(backward_mask(weight), nm_mask(weight.abs().T).T)
    conv = torch.randn(8, 3, 3, 3)
    for x in range(3):
        flat = backward_mask(conv[:, :, 0, x])
        assert torch.equal(backward_mask(conv)[:, :, 0, x], flat)


def test_the_overlap_counts_what_both_masks_keep():
    _, weight, m = a_layer()
    order = torch.randperm(16).tolist()
    kept = backward_mask(weight * m, order)
    assert overlap(weight * m, order) == int((m & kept).sum())
    assert overlap(weight * m) == int((m & backward_mask(weight * m)).sum())
    assert overlap(weight * m) <= int(m.sum())


def test_the_drawn_order_is_the_best_of_those_drawn_and_of_none():
    _, weight, m = a_layer(32)
    with seeded(1):
        drawn = [list(range(32)), *(torch.randperm(32).tolist() for _ in range(20))]
    with seeded(1):
        order = drawn_order(weight * m, 20)
    counts = [overlap(weight * m, o) for o in drawn]
    assert order == drawn[counts.index(max(counts))]
    assert max(counts) > counts[0]


def test_if_no_draw_is_better_the_order_stays():
    weight = torch.tensor([[4.0], [0.0], [3.0], [0.0]])
    assert drawn_order(weight, keep=1, group=2) == [0, 1, 2, 3]


def test_the_slope_comes_closer_to_the_exact_one_with_a_chosen_order():
    """As they are, then of a hundred drawn, then by swaps for magnitude."""
    similar = torch.zeros(3)
    for seed in range(3):
        with seeded(seed):
            x, weight, m = a_layer(32, 64, 50)
            sent = torch.randn(50, 32)
            exact, _ = slopes(x, weight, m, torch.ones_like(m), sent)
            masked = weight * m
            orders = [None, drawn_order(masked), greedy_order(masked.T)]
        for i, order in enumerate(orders):
            found, _ = slopes(x, weight, m, backward_mask(masked, order), sent)
            similar[i] += F.cosine_similarity(found, exact).mean() / 3
    assert 0.9 < similar[0] < similar[1] < similar[2] < 1


def test_no_mask_on_the_way_back_can_bring_a_weight_back():
    x, weight, m = a_layer()
    sent = torch.randn(5, 16)
    both, _ = slopes(x, weight, m, torch.ones_like(m), sent)
    same, _ = slopes(x, weight, m, m, sent)
    assert torch.equal(both, same)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: backward_mask(torch.rand(4, 2), [0, 1, 2]), "each of 0 to 3 once"),
        (lambda: backward_mask(torch.rand(4, 2), [0, 1, 2, 2]), "each of 0 to 3 once"),
        (lambda: backward_mask(torch.rand(6, 2)), "group=4 must divide inputs, got 6"),
        (lambda: overlap(torch.rand(4, 2), keep=4), "keep must be below group=4"),
        (lambda: drawn_order(torch.rand(4, 2), 0), "candidates must be at least 1"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
