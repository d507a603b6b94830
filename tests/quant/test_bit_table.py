"""All members of a small space, searched with the strategies of the NAS chapter."""

import numpy as np
import pytest

from effdl.nas.evolution import AgingEvolution
from effdl.nas.random_search import RandomSearch, expected_best
from effdl.nas.search import run_search
from effdl.quant.bit_choices import LayerSize, bit_space, bits_of
from effdl.quant.bit_table import BitTable, bit_tables

SIZES = [LayerSize("a", 10, 10), LayerSize("b", 30, 10), LayerSize("c", 50, 10)]


def toy_table():
    """Scores that rise with bits, most in the first layer, and never twice the same."""
    space = bit_space(3)
    scores = [
        0.3 * a**0.5 + 0.05 * b**0.5 + 0.011 * c**0.5
        for a, b, c in (bits_of(space, m) for m in space.all_choices())
    ]
    values = np.array(scores) / 2
    return BitTable(space, SIZES, values, values - 0.1, 1 - values)


def test_members_costs_and_rows_agree():
    table = toy_table()
    for row, member in enumerate(table.members):
        a, b, c = bits_of(table.space, member)
        assert table.row(member) == row
        assert table.costs[row] == table.cost(member) == 10 * a + 30 * b + 50 * c
        assert table.evaluate(member) == table.validation[row]
    assert table.seconds == 27


def test_asking_twice_is_charged_once():
    table = toy_table()
    table.evaluate((0, 0, 0))
    table.evaluate((0, 0, 0))
    table.evaluate((0, 0, 1))
    assert table.seconds == 2


@pytest.mark.parametrize("budget", [180, 250, 333, 720])
def test_the_best_within_a_budget_is_that_of_a_loop(budget):
    table, best = toy_table(), None
    for member in table.space.all_choices():
        if table.cost(member) <= budget:
            score = table.evaluate(member)
            best = score if best is None else max(best, score)
    assert table.validation[table.best(budget)] == best
    assert len(table.within(budget)) == int((table.costs <= budget).sum())
    for member in table.within(budget):
        assert table.regret(member, budget) == best - table.evaluate(member)


def test_among_equal_scores_the_least_loss_is_best():
    ones = np.ones(3)
    table = BitTable(bit_space(1), SIZES[:1], ones, ones, np.array([3.0, 1.0, 2.0]))
    assert table.best(80) == 1
    assert table.best(20) == 0


def test_no_member_has_a_negative_regret_and_no_uniform_one_is_above_the_front():
    table = toy_table()
    assert all(table.regret(member) >= 0 for member in table.members)
    for row in table.uniform():
        best = table.best(table.costs[row])
        assert table.validation[best] >= table.validation[row]
    assert [table.members[row] for row in table.uniform()] == [
        (k,) * 3 for k in range(3)
    ]


def test_random_search_of_the_nas_chapter_runs_on_bits_and_finds_what_theory_says():
    table = toy_table()
    found = []
    for seed in range(300):
        strategy = RandomSearch(table.members, np.random.default_rng(seed))
        found.append(run_search(strategy, table, queries=5)[-1].best_score)
    assert np.mean(found) == pytest.approx(expected_best(table.validation, 5), abs=0.02)
    strategy = RandomSearch(table.members, np.random.default_rng(0))
    steps = run_search(strategy, toy_table())
    assert len(steps) == 27
    assert table.regret(steps[-1].best, budget=720) == 0


def test_evolution_runs_on_bits_within_a_budget():
    table, random = toy_table(), np.random.default_rng(0)
    allowed = table.within(400)

    def mutate(choices):
        while True:
            child = table.space.mutate(choices, random)
            if table.cost(child) <= 400:
                return child

    def sample():
        return allowed[random.integers(len(allowed))]

    strategy = AgingEvolution(sample, mutate, random, population=6, tournament=3)
    steps = run_search(strategy, table, queries=80)
    assert all(table.cost(step.cell) <= 400 for step in steps)
    assert table.regret(steps[-1].best, 400) == 0


def test_parts_of_stored_rows_are_put_together_in_order():
    def part(seed, numbers):
        text = " ".join(map(str, numbers))
        columns = {"seed": seed, "names": "a b", "weights": "1 2", "macs": "3 4"}
        return columns | dict.fromkeys(("validation", "test", "loss"), text)

    rows = [part("0", range(3)), part("1", range(9)), part("0", range(3, 9))]
    tables = bit_tables(rows)
    assert tables[0].validation.tolist() == tables[1].loss.tolist() == [*range(9)]
    assert tables[0].sizes == [LayerSize("a", 1, 3), LayerSize("b", 2, 4)]


def test_bad_input_is_refused():
    values = np.zeros(3)
    with pytest.raises(ValueError, match=r"test must be \(3,\), one for each member"):
        BitTable(bit_space(1), SIZES[:1], values, values[:2], values)
    with pytest.raises(ValueError, match="budget must be at least 180, got 5"):
        toy_table().best(5)
    with pytest.raises(ValueError, match="choice of layer 0 must be in 0 to 2"):
        toy_table().row((3, 0, 0))
