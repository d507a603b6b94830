"""Sizes of search spaces: against enumeration, by hand, and what papers print."""

import itertools
import math

import pytest

from effdl.nas.cell_space import EDGES, OPERATIONS
from effdl.nas.space_size import (
    Sizes,
    darts_cells,
    darts_edges,
    elastic_networks,
    granularities,
    independent_choices,
    nasnet_cells,
)


@pytest.mark.parametrize("candidates", [[], [1], [4], [2, 3], [3, 1, 4], [2, 2, 2, 2]])
def test_choices_are_as_many_as_the_tuples(candidates):
    listed = list(itertools.product(*map(range, candidates)))
    assert independent_choices(candidates) == len(listed)


@pytest.mark.parametrize("node", [1, 2, 3])
@pytest.mark.parametrize("operations", [1, 3])
def test_the_factor_of_a_node_is_what_can_be_listed(node, operations):
    """C(k + 1, 2) pairs of states and K^2 pairs of operations."""
    listed = [
        (pair, chosen)
        for pair in itertools.combinations(range(node + 1), 2)
        for chosen in itertools.product(range(operations), repeat=2)
    ]
    before = darts_cells(nodes=node - 1, operations=operations) if node > 1 else 1
    assert darts_cells(nodes=node, operations=operations) == before * len(listed)


@pytest.mark.parametrize("blocks", [1, 2])
def test_nasnet_is_what_can_be_listed(blocks):
    """With two operations: every block's five decisions, one after the other."""
    decisions = [
        [range(b + 1), range(b + 1), range(2), range(2), range(2)]
        for b in range(1, blocks + 1)
    ]
    listed = list(itertools.product(*itertools.chain(*decisions)))
    assert nasnet_cells(blocks=blocks, operations=2) == len(listed)


def test_darts_by_hand():
    """1 * 3 * 6 * 10 pairs of edges, 49^4 pairs of operations; 14 edges."""
    assert darts_cells() == 180 * 49**4 == 1_037_664_180
    assert darts_cells() ** 2 == pytest.approx(1.0767e18, rel=1e-4)
    assert darts_edges() == 2 + 3 + 4 + 5 == 14
    assert darts_edges(1) == 2


def test_nasnet_by_hand():
    """(2 * 3 * 4 * 5 * 6)^2 inputs, 13^10 operations, 2^5 combinations."""
    assert nasnet_cells() == 720**2 * 13**10 * 2**5
    assert nasnet_cells(blocks=1, combinations=1) == 4 * 169


def test_once_for_all_by_hand():
    """81 + 729 + 6,561 = 7,371 for one unit, five units."""
    assert elastic_networks(units=1) == 7_371
    assert elastic_networks() == 7_371**5
    assert elastic_networks(units=2, depths=(1,), candidates=3) == 9


def test_the_survey_s_number_of_darts_fits_no_reading_of_it():
    """It is 2^99 to the two digits that are printed, far from each of the four."""
    readings = (
        darts_cells(),
        darts_cells() ** 2,
        7 ** (2 * darts_edges()),  # every edge kept
        8 ** (2 * darts_edges()),  # and none among the operations
    )
    assert f"{float(readings[2]):.1e} {float(readings[3]):.1e}" == "4.6e+23 1.9e+25"
    assert max(readings) < 6.3e29 / 10_000
    assert f"{float(2**99):.1e}" == f"{float(8**33):.1e}" == "6.3e+29"


def test_the_survey_s_number_of_mnasnet_is_that_of_the_space_it_avoids():
    """432 choices for each of 5 blocks, not for each of their 15 layers."""
    sizes = granularities(432, layers=15, blocks=5, edges=1)
    assert f"{float(sizes.per_block):.1e}" == "1.5e+13"
    assert f"{float(sizes.per_layer):.1e}" == "3.4e+39"


def test_a_coarser_choice_is_a_smaller_space():
    sizes = granularities(5, layers=18, blocks=3, edges=6)
    assert sizes == Sizes(per_layer=5**18, per_block=5**3, per_cell=5**6)
    assert sizes.per_cell == len(OPERATIONS) ** len(EDGES) == 15_625
    assert sizes.per_block < sizes.per_cell < sizes.per_layer


def test_sizes_of_published_spaces():
    """FBNet: 22 layers of 9. NATS-Bench: 5^6 topologies and 8^5 widths."""
    assert f"{float(independent_choices([9] * 22)):.3g}" == "9.85e+20"
    assert independent_choices([5] * 6) + independent_choices([8] * 5) == 48_393


def test_sizes_are_exact_beyond_the_digits_of_a_float():
    assert independent_choices([3] * 80) == 3**80
    assert math.log(nasnet_cells(blocks=12), 13) > 30


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: independent_choices([3, 0]), "candidates must be at least 1, got 0"),
        (
            lambda: granularities(0, layers=1, blocks=1, edges=1),
            "operations must be at least 1, got 0",
        ),
        (
            lambda: granularities(2, layers=5, blocks=2, edges=1),
            "blocks=2 must divide layers, got 5; use 4 or 6",
        ),
        (lambda: darts_cells(nodes=0), "nodes must be at least 1, got 0"),
        (lambda: darts_cells(operations=0), "operations must be at least 1, got 0"),
        (lambda: darts_edges(0), "nodes must be at least 1, got 0"),
        (lambda: nasnet_cells(blocks=0), "blocks must be at least 1, got 0"),
        (lambda: nasnet_cells(combinations=0), "combinations must be at least 1"),
        (lambda: elastic_networks(units=0), "units must be at least 1, got 0"),
        (lambda: elastic_networks(depths=(2, 0)), "depths must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
