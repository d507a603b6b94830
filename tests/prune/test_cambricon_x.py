"""Steps point to the weights that are left; bits and cycles are counted right."""

import math

import pytest
import torch

from effdl.prune.cambricon_x import (
    Cycles,
    crossing,
    cycles,
    gather,
    step_bits,
    steps_of,
)


def random_kept(neurons, n, density):
    """Return which weights are left, at random."""
    return torch.rand(neurons, n) < density


def test_steps_are_the_distances_between_weights_that_are_left():
    kept = random_kept(1, 60, 0.3)[0]
    place, expected = 0, []
    for number, left in enumerate(kept.tolist()):
        if left:
            expected.append(number - place)
            place = number
    assert steps_of(kept).tolist() == expected


def test_steps_by_hand():
    """Places 1, 2 and 9: steps 1, 1, 7; with 2 bits 7 is 3 + 3 + 1."""
    kept = torch.zeros(12, dtype=torch.bool)
    kept[[1, 2, 9]] = True
    assert steps_of(kept).tolist() == [1, 1, 7]
    assert steps_of(kept, bits=3).tolist() == [1, 1, 7]
    assert steps_of(kept, bits=2).tolist() == [1, 1, 3, 3, 1]
    assert steps_of(kept, bits=1).tolist() == [1] * 9
    assert steps_of(~kept[:0]).tolist() == []


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_the_sums_of_the_steps_are_the_places_of_the_non_zeros(density):
    kept = random_kept(1, 400, density)[0]
    assert torch.equal(steps_of(kept).cumsum(0), kept.nonzero().flatten())


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_short_steps_pass_every_non_zero_and_stop_at_zeros_in_between(bits):
    kept = random_kept(1, 400, 0.1)[0]
    steps = steps_of(kept, bits=bits)
    assert steps.max() <= 2**bits - 1
    places = steps.cumsum(0)
    assert torch.equal(places[kept[places]], kept.nonzero().flatten())


def test_gathered_activations_times_the_weights_left_are_the_layer():
    weight = torch.randn(20, 64) * random_kept(20, 64, 0.2)
    x = torch.randn(3, 64)
    outputs = []
    for row in weight:
        steps = steps_of(row != 0, bits=2)
        outputs.append(gather(x, steps) @ gather(row, steps))
    torch.testing.assert_close(torch.stack(outputs, dim=1), x @ weight.t())


def test_bits_of_a_layer_are_those_of_all_its_steps():
    kept = random_kept(30, 100, 0.1)
    for bits in (2, 4, 8):
        expected = bits * sum(len(steps_of(row, bits=bits)) for row in kept)
        assert step_bits(kept, bits) == expected
    assert step_bits(kept, 8) == 8 * kept.sum()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_steps_take_less_than_one_bit_a_weight_below_the_crossing_only(bits):
    density = crossing(bits)
    below, above = (random_kept(200, 2000, d) for d in (0.95 * density, 1.05 * density))
    assert step_bits(below, bits) < below.numel()
    assert step_bits(above, bits) > above.numel()


def test_the_crossing_is_one_over_the_bits_but_for_few_bits():
    for bits in (5, 6, 8, 12):
        assert crossing(bits) == pytest.approx(1 / bits, rel=0.005)
    assert crossing(4) == pytest.approx(1 / 4, rel=0.02)
    assert crossing(2) == pytest.approx((3 - math.sqrt(5)) / 2)  # 2 d = 1 - (1 - d)^3


def test_the_crossing_solves_its_equation():
    for bits in (2, 3, 7):
        d = crossing(bits)
        steps = sum(  # expected steps of a gap, term by term
            (1 + (gap - 1) // (2**bits - 1)) * d * (1 - d) ** (gap - 1)
            for gap in range(1, 3000)
        )
        assert d * bits * steps == pytest.approx(1, rel=1e-6)


def test_cycles_by_hand():
    """Neurons with 3, 1, 0 and 4 weights left of 6, two elements, 2 multipliers.

    They take 2, 1, 0 and 2 cycles. In step this is max(2, 1) + max(0, 2) = 4; alone,
    element 0 needs 2 + 0, element 1 needs 1 + 2. Dense it is 3 cycles twice.
    """
    kept = torch.zeros(4, 6, dtype=torch.bool)
    for neuron, left in enumerate((3, 1, 0, 4)):
        kept[neuron, :left] = True
    assert cycles(kept, elements=2, multipliers=2) == Cycles(6, 4, 3)


def test_elements_take_the_neurons_in_turn():
    """3, 3, 1 and 1 weights on two elements of one multiplier: 3 + 1 on each."""
    kept = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.bool)
    assert cycles(kept, elements=2, multipliers=1) == (6, 4, 4)


def test_16_elements_have_16_multipliers_each():
    kept = torch.ones(33, 40, dtype=torch.bool)
    assert cycles(kept) == cycles(kept, elements=16, multipliers=16)
    assert cycles(kept) == Cycles(9, 9, 9)
    assert cycles(kept, elements=8).dense == 15
    assert cycles(kept, multipliers=8).dense == 15


@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
def test_not_waiting_is_never_slower_and_nothing_beats_the_multipliers(density):
    kept = random_kept(100, 300, density)
    found = cycles(kept)
    assert found.asynchronous <= found.in_step <= found.dense
    assert found.asynchronous >= kept.sum() / 256


def test_not_waiting_pays_where_neurons_differ():
    kept = random_kept(512, 300, 0.5)
    kept[torch.rand(512) < 0.5] = False
    found = cycles(kept)
    assert found.asynchronous < 0.8 * found.in_step


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: steps_of(k), r"bool vector, got torch.bool of shape \(4, 6\)"),
        (lambda k: steps_of(k[0].int()), "bool vector, got torch.int32"),
        (lambda k: steps_of(k[0], bits=0), "bits must be at least 1, got 0"),
        (lambda k: crossing(1), "bits must be at least 2, got 1"),
        (lambda k: cycles(k[0]), r"bool matrix, \(neurons, n\), got torch.bool"),
        (lambda k: cycles(k.float()), "bool matrix"),
        (lambda k: cycles(k, elements=0), "elements must be at least 1"),
        (lambda k: cycles(k, multipliers=0), "multipliers must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(4, 6, dtype=torch.bool))
