"""How much goes when: rounds that multiply up, and the cubic rise."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD

from effdl.blocks import plain_mlp
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.schedules import (
    cubic_sparsity,
    prune_gradually,
    rate_of_a_round,
    sparsity_of_rounds,
)
from effdl.prune.thresholds import global_masks
from effdl.train import fit


def ones(model):
    """Return masks that keep every weight."""
    weights = weights_of(model)
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}


def smallest(model, sparsity):
    """Return masks that keep the largest of what is left."""
    return global_masks(magnitude_scores(model), sparsity, within=masks_of(model))


def recorded(calls):
    """Return a function for masks that writes down the sparsities it is asked for."""

    def masks_for(model, sparsity):
        calls.append(sparsity)
        return smallest(model, sparsity)

    return masks_for


@pytest.mark.parametrize("rounds", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
def test_survivors_multiply_up_to_what_is_to_be_left(sparsity, rounds):
    rate = rate_of_a_round(sparsity, rounds)
    left = 1.0
    for found in sparsity_of_rounds(sparsity, rounds):
        left *= 1 - rate
        assert found == pytest.approx(1 - left)
    assert left == pytest.approx(1 - sparsity)
    assert sparsity_of_rounds(sparsity, rounds)[-1] == sparsity  # exactly


def test_rates_by_hand():
    """Three halvings leave an eighth; one round takes all; 90 % in ten, 20.6 %."""
    assert rate_of_a_round(0.875, 3) == pytest.approx(0.5)
    assert rate_of_a_round(0.7, 1) == pytest.approx(0.7)
    assert rate_of_a_round(0.9, 10) == pytest.approx(0.20567, abs=1e-5)


def test_the_rule_in_the_survey_leaves_most_of_the_weights():
    """90^(1/10) = 1.568 percent, ten times: 85.4 % of the weights are left."""
    percent = 90 ** (1 / 10)
    assert percent == pytest.approx(1.568, abs=0.001)
    assert (1 - percent / 100) ** 10 == pytest.approx(0.854, abs=0.001)


@pytest.mark.parametrize(("start", "steps", "initial"), [(0, 10, 0.0), (5, 8, 0.3)])
def test_the_cubic_schedule_is_its_formula_between_its_ends(start, steps, initial):
    final = 0.9
    for step in range(start, start + steps + 1):
        expected = final + (initial - final) * (1 - (step - start) / steps) ** 3
        found = cubic_sparsity(
            step, final=final, steps=steps, start=start, initial=initial
        )
        assert found == pytest.approx(expected)


def test_the_ends_of_the_cubic_schedule():
    def schedule(step):
        return cubic_sparsity(step, final=0.8, steps=10, start=4, initial=0.2)

    assert [schedule(step) for step in (0, 3, 4)] == pytest.approx([0.2] * 3)
    assert [schedule(step) for step in (14, 15, 99)] == [0.8] * 3
    values = [schedule(step) for step in range(4, 15)]
    rises = [after - before for before, after in pairwise(values)]
    assert all(x > y > 0 for x, y in pairwise(rises))  # flatter


def test_half_way_seven_eighths_are_done():
    assert cubic_sparsity(5, final=0.8, steps=10) == pytest.approx(0.7)


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_gradual_pruning_asks_when_it_is_due_and_in_the_last_step(every):
    model, calls = plain_mlp((6, 5, 3)), []
    prune_(model, ones(model))
    masks_for = recorded(calls)
    after_step = prune_gradually(
        model, masks_for, final=0.8, steps=10, start=2, every=every
    )
    due = sorted({*range(2, 13, every), 12})
    for step in range(1, 20):
        after_step()
        assert len(calls) == sum(other <= step for other in due)
    expected = [cubic_sparsity(step, final=0.8, steps=10, start=2) for step in due]
    assert calls == pytest.approx(expected)


def test_it_begins_where_the_network_is():
    model, calls = plain_mlp((6, 5, 3)), []
    prune_(model, global_masks(magnitude_scores(model), 0.4))
    masks_for = recorded(calls)
    after_step = prune_gradually(model, masks_for, final=0.8, steps=4, initial=0.4)
    for _ in range(4):
        after_step()
    expected = [cubic_sparsity(t, final=0.8, steps=4, initial=0.4) for t in range(1, 5)]
    assert calls == pytest.approx(expected)


def test_gradual_pruning_while_training_ends_with_exact_counts_and_a_lower_loss():
    model = plain_mlp((6, 20, 3))
    prune_(model, ones(model))
    x, y = torch.randn(90, 6), torch.arange(90) % 3
    x[:, 0] += y
    left = []
    gradual = prune_gradually(model, smallest, final=0.75, steps=20)

    def after_step():
        gradual()
        left.append(count_kept(masks_of(model)).kept)

    sgd = SGD(model.parameters(), 0.1, momentum=0.9)
    losses = fit(
        model,
        lambda a, b: F.cross_entropy(model(a), b),
        [(x, y)],
        sgd,
        epochs=40,
        after_step=after_step,
    )
    assert left == sorted(left, reverse=True)
    assert left[-1] == 180 - 135
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rate_of_a_round(1.0, 3), "sparsity must be at least 0 and below 1"),
        (lambda: rate_of_a_round(0.5, 0), "rounds must be at least 1, got 0"),
        (lambda: sparsity_of_rounds(0.5, 0), "rounds must be at least 1, got 0"),
        (lambda: cubic_sparsity(0, final=1.0, steps=3), "sparsity must be at least 0"),
        (
            lambda: cubic_sparsity(0, final=0.5, steps=3, initial=-0.1),
            "sparsity must be at least 0",
        ),
        (lambda: cubic_sparsity(0, final=0.5, steps=0), "steps must be at least 1"),
        (
            lambda: cubic_sparsity(0, final=0.5, steps=3, initial=0.6),
            r"final must be at least initial=0\.6, got 0\.5",
        ),
        (
            lambda: cubic_sparsity(0, final=math.nan, steps=3),
            "sparsity must be at least 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"final": 1.2}, "sparsity must be at least 0 and below 1"),
        ({"initial": 0.9}, r"final must be at least initial=0\.9, got 0\.5"),
    ],
)
def test_gradual_pruning_refuses_bad_numbers_before_it_begins(arguments, message):
    model = plain_mlp((6, 5, 3))
    prune_(model, ones(model))
    with pytest.raises(ValueError, match=message):
        prune_gradually(model, smallest, **{"final": 0.5, "steps": 3} | arguments)


def test_gradual_pruning_needs_masks_to_change():
    with pytest.raises(ValueError, match="model has no masks; call prune_ with masks"):
        prune_gradually(plain_mlp((6, 5, 3)), smallest, final=0.5, steps=3)
