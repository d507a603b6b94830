"""Structure, channels, bits in a row: at most as good as all three at once."""

from itertools import product

import numpy as np
import pytest

from effdl.compress.joint_space import JointTable, weight_count
from effdl.compress.sequential import best_plan, drawn, evolved, sequential
from effdl.nas.evolution import AgingEvolution

WIDTHS, KEEPS, BITS = (4, 6, 8, 12), (1.0, 0.75, 0.5), (2, 4, 8, 32)
BUDGETS = (200, 700, 1500, 3000, 9000, 1e5)


def random_table(seed=0):
    """Return a table without any order in it."""
    scores = np.random.default_rng(seed).random((2, 4, 3, 4))
    return JointTable(WIDTHS, KEEPS, BITS, *scores)


def sensible_table():
    """Return scores that grow with width, channels and bits, each on its own."""
    score = np.add.outer(np.add.outer([0, 3, 5, 7], [4, 2, 0]), [0, 3, 4, 5]) / 16
    return JointTable(WIDTHS, KEEPS, BITS, score, score)


def literally(table, budget, share, bits):
    """The pipeline in nested loops, with costs of its own."""

    def cost(w, k, b):
        return weight_count(WIDTHS[w], KEEPS[k]) * BITS[b] / 8

    best_w, best = None, -1.0
    for w in range(4):
        if cost(w, share, bits) <= budget and table.validation[w, 0, 3] > best:
            best_w, best = w, table.validation[w, 0, 3]
    best_k, best = None, -1.0
    for k in range(3):
        if cost(best_w, k, bits) <= budget and table.validation[best_w, k, 3] > best:
            best_k, best = k, table.validation[best_w, k, 3]
    best_b, best = None, -1.0
    for b in range(4):
        fits = cost(best_w, best_k, b) <= budget
        if fits and table.validation[best_w, best_k, b] > best:
            best_b, best = b, table.validation[best_w, best_k, b]
    return best_w, best_k, best_b


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_pipeline_written_out(seed):
    table = random_table(seed)
    for budget, (share, bits) in product(BUDGETS, product(range(3), range(4))):
        if weight_count(4, KEEPS[share]) * BITS[bits] / 8 <= budget:
            expected = literally(table, budget, share, bits)
            assert sequential(table, budget, (share, bits)) == expected


def test_without_a_plan_it_assumes_the_smallest_share_and_the_fewest_bits():
    table = random_table()
    for budget in BUDGETS:
        assert sequential(table, budget) == sequential(table, budget, (2, 0))


@pytest.mark.parametrize("seed", range(20))
def test_the_sequential_optimum_is_at_most_the_joint_one_and_fits(seed):
    table = random_table(seed)
    for budget in BUDGETS:
        joint = table.validation[table.best(budget)]
        for found in (sequential(table, budget), best_plan(table, budget)[0]):
            assert table.cost(found) <= budget
            assert table.validation[found] <= joint


def test_by_hand_the_pipeline_takes_a_width_that_rounding_spoils():
    """Float: .7 and .8; in 2 bits .5 and .4. The wide one fits in 2 bits only."""
    scores = np.array([[[0.5, 0.7]], [[0.4, 0.8]]])
    table = JointTable((4, 8), (1.0,), (2, 32), scores, scores)
    assert sequential(table, 9500) == (1, 0, 0)  # .4
    assert table.best(9500) == (0, 0, 1)  # .7
    assert best_plan(table, 9500) == ((0, 0, 1), (0, 1))  # plans for float


def test_with_room_for_everything_all_agree_if_scores_grow():
    table = sensible_table()
    assert sequential(table, 1e9) == table.best(1e9) == (3, 0, 3)


def test_with_a_greedy_plan_early_stages_leave_nothing_to_later_ones():
    table = sensible_table()
    budget = table.cost((3, 2, 0))
    assert sequential(table, budget) == (3, 2, 0)
    assert table.validation[table.best(budget)] > table.validation[3, 2, 0]


def test_a_plan_decides_how_large_the_structure_is():
    table = sensible_table()
    widths = [sequential(table, 3000, (2, b))[0] for b in range(4)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1]


def test_the_best_plan_is_the_best_of_all_plans():
    table = random_table(3)
    for budget in BUDGETS:
        every = [
            table.validation[sequential(table, budget, (k, b))]
            for k, b in product(range(3), range(4))
            if weight_count(4, KEEPS[k]) * BITS[b] / 8 <= budget
        ]
        found, plan = best_plan(table, budget)
        assert table.validation[found] == max(every)
        assert sequential(table, budget, plan) == found


def test_it_asks_for_no_more_members_than_its_stages_have_choices():
    table = random_table()
    sequential(table, 1e9)
    assert len(table.asked) == 4 + 3 + 4 - 2  # two are asked for in two stages


@pytest.mark.parametrize("search", [drawn, evolved])
def test_a_joint_search_asks_for_as_many_members_as_it_may_all_within(search):
    table = random_table()
    within = {*table.within(3000)}
    found = search(table, 3000, 9, np.random.default_rng(0))
    assert len(table.asked) == 9
    assert table.asked <= within
    assert found == max(table.asked, key=lambda m: table.validation[m])


@pytest.mark.parametrize("search", [drawn, evolved])
def test_with_enough_queries_a_joint_search_finds_the_optimum(search):
    for seed, budget in enumerate(BUDGETS):
        table = random_table(seed)
        found = search(table, budget, 10**6, np.random.default_rng(seed))
        assert found == table.best(budget)
        assert len(table.asked) == len(table.within(budget))


@pytest.mark.parametrize("search", [drawn, evolved])
def test_the_same_draws_find_the_same(search):
    first, again, other = (
        search(random_table(), 1e5, 6, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert other in random_table().members


def test_evolution_beats_random_search_where_neighbours_are_alike():
    def mean(search):
        table = sensible_table()
        found = [
            search(table, 3000, 12, np.random.default_rng(seed)) for seed in range(60)
        ]
        return np.mean([table.validation[m] for m in found])

    assert mean(evolved) > mean(drawn)


def test_evolution_has_children_one_choice_away():
    """After its four first members, all come from neighbours of what is known."""
    table, seen = random_table(), []
    ask = table.ask
    table.ask = lambda member: seen.append(member) or ask(member)
    evolved(table, 1e9, 12, np.random.default_rng(0))
    for n, child in enumerate(seen[4:], start=4):
        apart = [sum(a != b for a, b in zip(child, m, strict=True)) for m in seen[:n]]
        assert min(apart) == 1


def test_evolution_is_told_what_was_answered(monkeypatch):
    told = []

    class Listening(AgingEvolution):
        def tell(self, member, score):
            told.append((member, score))
            super().tell(member, score)

    monkeypatch.setattr("effdl.compress.sequential.AgingEvolution", Listening)
    table = random_table()
    evolved(table, 1e9, 12, np.random.default_rng(0))
    assert {member for member, _ in told} == table.asked
    assert all(score == table.validation[member] for member, score in told)


def test_bad_input_is_refused():
    table = random_table()
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="budget must be at least 9424 bytes with"):
        sequential(table, 3000, (0, 3))
    for search in (
        lambda b: sequential(table, b),
        lambda b: best_plan(table, b),
        lambda b: drawn(table, b, 3, random),
        lambda b: evolved(table, b, 3, random),
    ):
        with pytest.raises(ValueError, match=r"budget must be at least 159\.5 bytes"):
            search(9)
    for search in (drawn, evolved):
        with pytest.raises(ValueError, match="queries must be at least 1, got 0"):
            search(table, 3000, 0, random)
