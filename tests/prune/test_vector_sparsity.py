"""Runs of weights: whole ones go here, never of a 1010 row of a 2:4 mask."""

from collections import Counter
from itertools import combinations, groupby, product

import pytest
import torch

from effdl.prune.nm import is_nm, nm_mask
from effdl.prune.thresholds import keep_largest
from effdl.prune.vector_sparsity import removed_runs, vector_mask


def literal_runs(mask):
    found = Counter()
    for row in mask.movedim(1, -1).flatten(0, -2).tolist():
        for stays, run in groupby(row):
            if not stays:
                found[len(list(run))] += 1
    return found


def test_runs_of_removed_weights_are_counted_as_by_hand():
    row = torch.tensor([[False, False, True, False, True, True, False, False, False]])
    assert removed_runs(row) == {2: 1, 1: 1, 3: 1}
    assert removed_runs(torch.cat([row, row])) == {2: 2, 1: 2, 3: 2}
    assert removed_runs(torch.ones(2, 3, dtype=torch.bool)) == {}
    assert removed_runs(torch.zeros(2, 3, dtype=torch.bool)) == {3: 2}


@pytest.mark.parametrize("shape", [(7, 12), (3, 8, 3, 3)])
def test_they_are_those_of_every_output_and_pixel_along_the_inputs(shape):
    mask = torch.rand(shape) > 0.6
    runs = removed_runs(mask)
    assert runs == literal_runs(mask)
    assert sum(length * n for length, n in runs.items()) == int((~mask).sum())


def test_a_2_4_row_of_1010_removes_no_two_neighbours_and_a_vector_mask_differs():
    scores = torch.tensor([[2.0, 1.0] * 8])
    assert removed_runs(nm_mask(scores)) == {1: 8}
    assert removed_runs(vector_mask(scores, 0.5)) == {8: 1}
    assert not is_nm(vector_mask(scores, 0.5))


def test_three_of_the_six_patterns_of_2_4_remove_no_two_neighbours():
    rows = [[i in kept for i in range(4)] for kept in combinations(range(4), 2)]
    longest = [max(removed_runs(torch.tensor([row]))) for row in rows]
    assert sorted(longest) == [1, 1, 1, 2, 2, 2]


def test_2_4_removes_runs_of_at_most_four_and_vectors_multiples_of_four():
    scores = torch.rand(64, 128)
    assert set(removed_runs(nm_mask(scores))) == {1, 2, 3, 4}
    runs = removed_runs(vector_mask(scores, 0.5))
    assert all(length % 4 == 0 for length in runs)
    free = removed_runs(keep_largest(scores, 0.5))
    assert max(free) > 4
    assert free[1] + free[3] > 0


def test_the_runs_with_the_smallest_sums_go():
    scores = torch.rand(6, 24, 3, 3)
    mask = vector_mask(scores, 0.25, 8)
    sums, stays = [], []
    for out, y, x, start in product(range(6), range(3), range(3), (0, 8, 16)):
        run = (out, slice(start, start + 8), y, x)
        assert mask[run].all() or not mask[run].any()
        sums.append(scores[run].sum())
        stays.append(bool(mask[run].all()))
    assert stays.count(False) == round(0.25 * len(sums))
    kept = [s for s, stay in zip(sums, stays, strict=True) if stay]
    gone = [s for s, stay in zip(sums, stays, strict=True) if not stay]
    assert max(gone) <= min(kept)


def test_runs_of_one_are_unstructured():
    scores = torch.rand(5, 8)
    assert torch.equal(vector_mask(scores, 0.5, 1), keep_largest(scores, 0.5))
    assert vector_mask(scores, 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vector_mask(torch.rand(2, 6), 0.5), "group=4 must divide inputs"),
        (lambda: vector_mask(torch.rand(2, 8), 1.0), "sparsity must be at least 0"),
        (lambda: removed_runs(torch.ones(4)), r"weight must be \(out, in\)"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
