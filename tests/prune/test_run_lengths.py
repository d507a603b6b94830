"""Gaps between weights: against a loop, the paper's figure, and back."""

import pytest
import torch

from effdl.prune.run_lengths import places_of, run_lengths


def by_loop(kept, bits):
    """Count zeros one by one; when no more fit, write a filler."""
    runs, is_weight, zeros = [], [], 0
    most = 2**bits - 1
    pending = []
    for here in kept.flatten().tolist():
        if here:
            for run, weight in [*pending, (zeros, True)]:
                runs.append(run)
                is_weight.append(weight)
            pending, zeros = [], 0
        elif zeros == most:
            pending.append((most, False))  # this zero is the filler's own
            zeros = 0
        else:
            zeros += 1
    return runs, is_weight


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_every_gap_is_what_a_loop_counts(bits, density):
    kept = torch.rand(20, 30) < density
    runs, is_weight = run_lengths(kept, bits)
    assert (runs.tolist(), is_weight.tolist()) == by_loop(kept, bits)


def test_the_papers_figure_has_one_filler():
    """Weights at 1, 4 and 15, distances 1, 3 and 11 in 3 bits: 8 go to the filler."""
    kept = torch.zeros(16, dtype=torch.bool)
    kept[[1, 4, 15]] = True
    runs, is_weight = run_lengths(kept, 3)
    assert runs.tolist() == [1, 2, 7, 2]
    assert is_weight.tolist() == [True, True, False, True]


@pytest.mark.parametrize("gap", [0, 6, 7, 8, 15, 16, 17, 100])
def test_places_come_back(gap):
    kept = torch.zeros(gap + 1, dtype=torch.bool)
    kept[gap] = True
    runs, is_weight = run_lengths(kept, 3)
    assert places_of(runs)[is_weight].tolist() == [gap]
    assert len(runs) == 1 + gap // 8
    assert runs.max() <= 7


def test_fillers_stand_on_zeros():
    kept = torch.rand(500) < 0.03
    runs, is_weight = run_lengths(kept, 4)
    assert not is_weight.all()
    assert not kept[places_of(runs)[~is_weight]].any()


def test_nothing_left_needs_no_entry():
    runs, is_weight = run_lengths(torch.zeros(4, 4, dtype=torch.bool), 3)
    assert len(runs) == len(is_weight) == 0


def test_bits_below_1_are_refused():
    with pytest.raises(ValueError, match="bits must be at least 1, got 0"):
        run_lengths(torch.ones(2, dtype=torch.bool), 0)
