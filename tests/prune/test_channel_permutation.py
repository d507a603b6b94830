"""Channel permutation: all orders of eight inputs, swaps, and what none exceeds."""

import math
from itertools import permutations

import pytest
import torch

from effdl.prune.channel_permutation import (
    best_order,
    greedy_order,
    kept_magnitude,
    stripe_orders,
)
from effdl.prune.nm import nm_mask
from effdl.seed import seeded


def kept(weight, order, keep=2, group=4):
    """Return the magnitude that is kept, by sorting every group of every row."""
    total = 0.0
    for row in weight.double().abs().movedim(1, -1).flatten(0, -2):
        ordered = [row[i].item() for i in order]
        for start in range(0, len(ordered), group):
            total += sum(sorted(ordered[start : start + group])[-keep:])
    return total


def no_swap_gains(weight, order, keep=2, group=4):
    now = kept(weight, order, keep, group)
    for a in range(len(order)):
        for b in range(a):
            other = list(order)
            other[a], other[b] = order[b], order[a]
            if kept(weight, other, keep, group) > now * (1 + 1e-6):
                return False
    return True


def test_the_kept_magnitude_is_that_of_the_largest_of_every_group():
    weight = torch.randn(5, 8, 3, 3)
    assert kept_magnitude(weight) == pytest.approx(kept(weight, range(8)), rel=1e-6)
    assert kept_magnitude(weight, 1, 2) == pytest.approx(
        kept(weight, range(8), 1, 2), rel=1e-6
    )


def test_eight_inputs_have_35_orders_that_differ():
    """8! / (4! 4! 2!) = 35; and 12! / (4!^3 3!) = 5,775."""
    orders = list(stripe_orders(8))
    shared = {frozenset((frozenset(o[:4]), frozenset(o[4:]))) for o in orders}
    every = {
        frozenset((frozenset(o[:4]), frozenset(o[4:]))) for o in permutations(range(8))
    }
    assert len(orders) == len(shared) == 35
    assert shared == every
    assert len(list(stripe_orders(12))) == 5775 == math.factorial(12) // 24**3 // 6
    assert len(list(stripe_orders(6, 2))) == 15
    assert list(stripe_orders(4)) == [[0, 1, 2, 3]]


def test_brute_force_finds_the_best_of_all_40320_orders():
    weight = torch.randn(2, 8)
    size = weight.abs()[:, list(permutations(range(8)))]  # (2, 40320, 8)
    groups = size.view(2, -1, 2, 4).sort(dim=-1).values
    sums = groups[..., 2:].sum(dim=(0, 2, 3))
    assert kept(weight, best_order(weight)) == pytest.approx(sums.max().item())


@pytest.mark.parametrize(("keep", "group"), [(1, 4), (3, 4), (1, 2)])
def test_other_ratios_have_a_best_order_of_their_own(keep, group):
    weight = torch.randn(4, 8)
    every = [kept(weight, o, keep, group) for o in stripe_orders(8, group)]
    found = kept(weight, best_order(weight, keep, group), keep, group)
    assert found == pytest.approx(max(every))


def test_two_stripes_by_hand():
    """4 and 3 and 2 and 9 share a stripe: 13 stays; apart, all 18 does."""
    weight = torch.tensor([[4.0, 3.0, 2.0, 9.0, 0.0, 0.0, 1.0, 0.0]])
    assert kept_magnitude(weight) == 14
    assert kept_magnitude(weight[:, best_order(weight)]) == 18
    assert kept_magnitude(weight[:, greedy_order(weight)]) == 18


@pytest.mark.parametrize("shape", [(6, 24), (4, 16, 3, 3), (3, 8), (2, 4)])
@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (3, 4), (1, 2)])
def test_swaps_never_lose_and_end_where_none_gains(shape, keep, group):
    weight = torch.randn(shape)
    order = greedy_order(weight, keep, group)
    assert sorted(order) == list(range(shape[1]))
    before, after = (kept(weight, o, keep, group) for o in (range(shape[1]), order))
    assert after >= before * (1 - 1e-9)
    assert no_swap_gains(weight, order, keep, group)


def test_the_first_swap_is_that_which_gains_most():
    """5 against 4, or 5 against 3: the smaller rival is the better one."""
    weight = torch.tensor([[6.0, 5.0, 4.0, 0.0, 3.0, 0.0, 0.0, 0.0]])
    order = greedy_order(weight)
    assert kept_magnitude(weight[:, order]) == 18
    assert sum(a != b for a, b in enumerate(order)) == 2


def test_it_lies_between_no_order_and_free_weights_in_every_row():
    weight = torch.randn(12, 32)
    size = weight.abs()
    free = size.sort(dim=1).values[:, 16:].sum().item()
    order = greedy_order(weight)
    assert kept_magnitude(weight) < kept_magnitude(weight[:, order]) < free
    some = kept_magnitude(weight[:, order]) - kept_magnitude(weight)
    assert some > 0.2 * (free - kept_magnitude(weight))


def test_swaps_come_close_to_the_best_order_of_eight():
    found, best = 0.0, 0.0
    for _ in range(5):
        weight = torch.randn(3, 8)
        found += kept(weight, greedy_order(weight))
        best += kept(weight, best_order(weight))
    assert 0.98 * best < found <= best * (1 + 1e-9)


def test_escapes_never_lose_and_sometimes_gain():
    gained = 0
    for seed in range(3):
        with seeded(seed):
            weight = torch.randn(6, 24)
        found = []
        for escapes in range(8):  # the same random numbers, each time one more escape
            with seeded(seed):
                found.append(kept(weight, greedy_order(weight, escapes=escapes)))
        assert found == sorted(found)
        gained += found[-1] > found[0] * 1.0001
    assert gained >= 2


def test_one_row_can_always_be_sorted_so_that_its_largest_half_stays():
    weight = torch.randn(1, 16)
    free = weight.abs().sort(dim=1).values[:, 8:].sum().item()
    assert kept(weight, greedy_order(weight)) == pytest.approx(free)
    assert nm_mask(weight[:, greedy_order(weight)].abs()).sum() == 8


def test_the_weight_stays_as_it_is_and_nothing_random_happens_without_escapes():
    weight = torch.randn(4, 16, requires_grad=True)
    before, state = weight.detach().clone(), torch.get_rng_state()
    first, second = greedy_order(weight), greedy_order(weight)
    assert first == second
    assert torch.equal(weight, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_order(torch.rand(2, 12)), "12 inputs, too many"),
        (lambda: best_order(torch.rand(2, 8), 4, 4), "keep must be below group=4"),
        (lambda: best_order(torch.rand(2, 6)), "group=4 must divide inputs, got 6"),
        (lambda: greedy_order(torch.rand(2, 6)), "group=4 must divide inputs, got 6"),
        (lambda: greedy_order(torch.rand(2, 8), 4), "keep must be below group=4"),
        (
            lambda: greedy_order(torch.rand(2, 8), escapes=-1),
            "escapes must be 0 or larger, got -1",
        ),
        (lambda: list(stripe_orders(6)), "group=4 must divide inputs, got 6"),
        (lambda: greedy_order(torch.full((2, 8), float("nan"))), "nan or inf"),
        (lambda: greedy_order(torch.full((2, 8), float("inf"))), "nan or inf"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
