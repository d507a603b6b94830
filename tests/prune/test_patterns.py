"""Patterns: the closest of all, the most frequent, and a new order of the kernels."""

from itertools import combinations, pairwise

import pytest
import torch
import torch.nn.functional as F

from effdl.prune.patterns import (
    all_patterns,
    distinct_loops,
    drop_kernels,
    loop_changes,
    nearest_patterns,
    pattern_library,
    pattern_mask,
    reorder,
)


def chosen(weight, size=6, sparsity=0.0):
    """Return a library and the choice of each kernel, some kernels gone."""
    library = pattern_library([weight], all_patterns(), size)
    return library, drop_kernels(weight, nearest_patterns(weight, library), sparsity)


def test_there_are_126_patterns_and_56_with_the_middle():
    patterns = all_patterns()
    assert patterns.shape == (126, 3, 3)
    assert patterns.sum(dim=(1, 2)).unique().tolist() == [4]
    assert len(patterns.flatten(1).unique(dim=0)) == 126
    middle = all_patterns(middle=True)
    assert len(middle) == 56
    assert middle[:, 1, 1].all()
    assert middle.sum(dim=(1, 2)).unique().tolist() == [4]


def test_the_projection_is_the_closest_of_all_126_by_brute_force():
    weight = torch.randn(4, 5, 3, 3)
    found = nearest_patterns(weight, all_patterns())
    for n in range(4):
        for c in range(5):
            kernel = weight[n, c].flatten().double()
            distances = []
            for places in combinations(range(9), 4):
                gone = [p for p in range(9) if p not in places]
                distances.append(kernel[gone].norm())
            best = torch.stack(distances).argmin()
            assert found[n, c] == best


def test_of_a_small_library_the_closest_is_taken():
    weight = torch.randn(8, 8, 3, 3)
    library = all_patterns()[[3, 40, 77]]
    found = nearest_patterns(weight, library)
    distances = torch.stack(
        [(weight - weight * p).flatten(2).norm(dim=-1) for p in library], dim=-1
    )
    assert torch.equal(found, distances.argmin(dim=-1))


def test_with_all_patterns_the_4_largest_weights_stay():
    weight = torch.randn(6, 3, 3, 3)
    mask = pattern_mask(nearest_patterns(weight, all_patterns()), all_patterns())
    for kernel, left in zip(weight.view(-1, 9), mask.view(-1, 9), strict=True):
        largest = kernel.abs().argsort(descending=True)[:4]
        assert left.nonzero().flatten().tolist() == sorted(largest.tolist())


def test_every_kernel_keeps_4_weights_or_none():
    weight = torch.randn(16, 8, 3, 3)
    library, choice = chosen(weight, sparsity=0.25)
    kept = pattern_mask(choice, library).sum(dim=(2, 3))
    assert torch.equal(kept, 4 * choice.ne(-1))
    assert (kept == 0).sum() == 32


def test_the_library_holds_the_patterns_of_the_most_kernels():
    """By hand: pattern 7 for three kernels, 2 for two, 9 for one."""
    patterns = all_patterns()
    numbers = torch.tensor([7, 7, 2, 9, 2, 7])
    weight = patterns[numbers].float().view(2, 3, 3, 3)
    for layers in ([weight], [weight[:1], weight[1:]]):
        library = pattern_library(layers, patterns, 2)
        assert torch.equal(library, patterns[[7, 2]])


def test_a_larger_library_is_closer():
    weight = torch.randn(32, 16, 3, 3)
    lost = []
    for size in (1, 8, 126):
        library, choice = chosen(weight, size)
        lost.append((weight * ~pattern_mask(choice, library)).norm())
    assert lost[0] > lost[1] > lost[2]


def test_the_kernels_with_the_smallest_norms_go():
    weight = torch.randn(6, 4, 3, 3)
    choice = torch.zeros(6, 4, dtype=torch.long)
    dropped = drop_kernels(weight, choice, 0.5).eq(-1)
    norms = weight.square().sum(dim=(2, 3))
    assert dropped.sum() == 12
    assert norms[dropped].max() < norms[~dropped].min()


@pytest.mark.parametrize("sparsity", [0.0, 0.4])
def test_the_new_order_permutes_the_outputs_and_nothing_else(sparsity):
    weight = torch.randn(12, 7, 3, 3).double()
    library, choice = chosen(weight, sparsity=sparsity)
    weight = weight * pattern_mask(choice, library)
    order = reorder(choice)
    assert order.filters.sort().values.tolist() == list(range(12))
    assert (order.kernels.sort(dim=1).values == torch.arange(7)).all()
    x = torch.randn(2, 7, 6, 6).double()
    expected = F.conv2d(x, weight, padding=1)
    permuted = F.conv2d(x, weight[order.filters], padding=1)
    torch.testing.assert_close(permuted, expected[:, order.filters])
    for place, old in enumerate(order.filters.tolist()):
        summed = sum(
            F.conv2d(x[:, c : c + 1], weight[old : old + 1, c : c + 1], padding=1)
            for c in order.kernels[place].tolist()
        )
        torch.testing.assert_close(summed[:, 0], expected[:, old])


def test_filters_of_equal_length_stand_together():
    _, choice = chosen(torch.randn(40, 10, 3, 3), sparsity=0.5)
    lengths = choice.ne(-1).sum(dim=1)[reorder(choice).filters]
    assert lengths.tolist() == sorted(lengths.tolist())


def test_within_a_filter_every_loop_is_begun_once():
    _, choice = chosen(torch.randn(20, 30, 3, 3), size=6, sparsity=0.3)
    order = reorder(choice)
    ordered = choice[order.filters].gather(1, order.kernels)
    for row in ordered:
        run = row[row != -1]
        assert len(run.unique_consecutive()) == len(run.unique())


def test_loops_change_less_often_in_the_new_order():
    """At most 6 a filter, and one fewer where two filters meet in the same pattern."""
    _, choice = chosen(torch.randn(32, 24, 3, 3), size=6, sparsity=0.3)
    before, after = loop_changes(choice), loop_changes(choice, reorder(choice))
    assert after <= 6 * 32 < before
    assert after < 6 * 32 - 20


def test_changes_by_hand():
    """0 1 1 then 1 gone 0: loops 0, 1, 0 begin; kernels that are gone do not count."""
    choice = torch.tensor([[0, 1, 1], [1, -1, 0]])
    assert loop_changes(choice) == 3
    run = choice.flatten().tolist()
    left = [number for number in run if number != -1]
    assert loop_changes(choice) == 1 + sum(a != b for a, b in pairwise(left))
    order = reorder(choice)
    assert order.filters.tolist() == [1, 0]
    assert order.kernels.tolist() == [[2, 0, 1], [2, 1, 0]]
    assert loop_changes(choice, order) == 3


def test_patterns_need_few_loops_where_single_weights_need_one_for_nearly_each():
    weight = torch.randn(32, 32, 3, 3)
    library, choice = chosen(weight, 8, sparsity=0.2)
    assert distinct_loops(pattern_mask(choice, library)) == 8
    largest = weight.abs() > weight.abs().flatten().median()
    masks = {tuple(k.tolist()) for k in largest.view(-1, 9) if k.any()}
    assert distinct_loops(largest) == len(masks) > 300


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, p: nearest_patterns(w[0], p), r"\(n, c, 3, 3\), got shape"),
        (lambda w, p: nearest_patterns(w[..., :2], p), "patterns are for 3 x 3"),
        (lambda w, p: drop_kernels(w[0], torch.zeros(2, 2), 0.5), "got shape"),
        (lambda w, p: pattern_library([w], p, 127), "at most 126 patterns, got 127"),
        (lambda w, p: pattern_library([w], p, 0), "size must be at least 1, got 0"),
    ],
)
def test_what_has_no_patterns_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2, 2, 3, 3), all_patterns())
