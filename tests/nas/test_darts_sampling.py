"""Cells of DARTS listed, drawn and changed: against counts and by definition."""

import itertools
from collections import Counter

import numpy as np
import pytest

from effdl.nas.darts_sampling import (
    darts_neighbours,
    enumerate_darts_cells,
    mutate_genotype,
    sample_darts_cell,
    sample_genotype,
)
from effdl.nas.darts_space import CANDIDATES, DARTS_V2
from effdl.nas.space_size import darts_cells


@pytest.mark.parametrize("nodes", [1, 2])
def test_as_many_cells_are_listed_as_the_closed_form_says(nodes):
    """49, and 49 * 147."""
    cells = list(enumerate_darts_cells(nodes))
    assert len(cells) == len(set(cells)) == darts_cells(nodes=nodes)
    assert {len(cell.nodes) for cell in cells} == {nodes}


def differences(one, other):
    """Return the edges that only one of two cells has."""
    return set(one.graph().items()) ^ set(other.graph().items())


@pytest.mark.parametrize("number", [0, 48, 5_000])
def test_neighbours_are_the_cells_one_step_away(number):
    """Among all cells of two nodes: one edge exchanged, its operation or source kept.

    Of the 7,203 there are 4 edges with 6 operations, and 2 edges with another source.
    """
    cells = list(enumerate_darts_cells(2))
    wanted = set()
    for other in cells:
        changed = differences(cells[number], other)
        if len(changed) == 2:
            ((a, b), o), ((c, d), p) = changed
            if (a, b) == (c, d) or (b == d and o == p):
                wanted.add(other)
    near = darts_neighbours(cells[number])
    assert len(near) == len(wanted) == 4 * 6 + 2
    assert set(near) == wanted


def test_a_cell_of_four_nodes_has_60_neighbours():
    for cell in DARTS_V2:
        near = darts_neighbours(cell)
        assert len(set(near)) == len(near) == 8 * 6 + 2 * (0 + 1 + 2 + 3)
        assert cell not in near
        assert all(cell in darts_neighbours(other) for other in near[::7])


def test_sampling_draws_every_cell_of_one_node_equally():
    """9,800 draws: each of the 49 about 200 times, with a deviation of 14."""
    random = np.random.default_rng(0)
    drawn = Counter(sample_darts_cell(random, nodes=1) for _ in range(9_800))
    assert len(drawn) == 49
    assert max(abs(times - 200) for times in drawn.values()) < 4 * 14


def test_sampling_draws_every_edge_equally():
    """2,000 draws of four nodes: an edge into the last node 2 of 5 times."""
    random = np.random.default_rng(0)
    drawn = Counter(
        edge for _ in range(2_000) for edge in sample_darts_cell(random).graph()
    )
    assert set(drawn) == {(i, j) for j in range(2, 6) for i in range(j)}
    for (_, target), times in drawn.items():
        assert times == pytest.approx(2_000 * 2 / target, abs=4 * 22)


def test_both_cells_of_a_genotype_are_drawn_by_themselves():
    random = np.random.default_rng(0)
    drawn = [sample_genotype(random, nodes=1) for _ in range(300)]
    assert len({g.normal for g in drawn}) == len({g.reduce for g in drawn}) == 49
    assert sum(g.normal == g.reduce for g in drawn) < 20
    assert sample_genotype(random).reduce.states == 6


def test_mutation_draws_all_neighbours_equally():
    """4,800 draws with one node: each of 24 about 200 times, with a deviation of 14."""
    random = np.random.default_rng(0)
    small = sample_genotype(random, nodes=1)
    near = [small._replace(normal=c) for c in darts_neighbours(small.normal)]
    near += [small._replace(reduce=c) for c in darts_neighbours(small.reduce)]
    drawn = Counter(mutate_genotype(small, random) for _ in range(4_800))
    assert set(drawn) == set(near)
    assert len(near) == 24
    assert max(abs(times - 200) for times in drawn.values()) < 4 * 14


def test_draws_repeat_with_the_generator():
    first, second = (
        mutate_genotype(sample_genotype(r), r)
        for r in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == second


def test_every_operation_can_be_drawn():
    random = np.random.default_rng(0)
    cells = [sample_darts_cell(random) for _ in range(50)]
    names = itertools.chain(*(cell.graph().values() for cell in cells))
    assert set(names) == set(CANDIDATES)


@pytest.mark.parametrize(
    "call",
    [
        lambda: list(enumerate_darts_cells(0)),
        lambda: sample_darts_cell(np.random.default_rng(0), nodes=0),
        lambda: sample_genotype(np.random.default_rng(0), nodes=0),
    ],
)
def test_no_nodes_are_refused(call):
    with pytest.raises(ValueError, match="nodes must be at least 1, got 0"):
        call()
