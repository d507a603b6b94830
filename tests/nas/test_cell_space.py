"""The 15,625 cells of NAS-Bench-201: their strings, numbers and neighbours."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from effdl.data.download import cache_folder
from effdl.nas.cell_space import (
    EDGES,
    EXAMPLE,
    OPERATIONS,
    OUTPUT,
    SPACE_SIZE,
    Cell,
    all_cells,
    mutate,
    neighbours,
    sample_cell,
)

PAPER = (  # the cell of the paper's appendix on strings, with all five operations
    "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
)


@pytest.fixture(scope="module")
def cells():
    return list(all_cells())


def test_a_cell_has_an_edge_from_every_node_to_every_later_one():
    """Listed by target, then by source, as the string lists them."""
    pairs = [(i, j) for j in range(OUTPUT + 1) for i in range(j)]
    assert list(EDGES) == pairs
    assert len(EDGES) == 6


def test_the_string_names_operation_and_source_node_by_node():
    for cell in (Cell.numbered(n) for n in range(0, SPACE_SIZE, 977)):
        named = dict(zip(EDGES, cell.operations, strict=True))
        nodes = [
            "|" + "".join(f"{named[i, j]}~{i}|" for i in range(j)) for j in (1, 2, 3)
        ]
        assert str(cell) == "+".join(nodes)


def test_a_string_by_hand():
    cell = Cell.parse(PAPER)
    assert cell.operations == (
        "nor_conv_3x3",  # 0 to 1
        "none",  # 0 to 2
        "avg_pool_3x3",  # 1 to 2
        "skip_connect",  # 0 to 3
        "none",  # 1 to 3
        "nor_conv_1x1",  # 2 to 3
    )
    assert str(cell) == PAPER


def test_a_number_by_hand():
    """3, 0, 4, 1, 0, 2 are digits of base 5: 9375 + 0 + 500 + 25 + 0 + 2."""
    cell = Cell.parse(PAPER)
    assert cell.index == 3 * 5**5 + 0 + 4 * 5**3 + 1 * 5**2 + 0 + 2 == 9902
    assert Cell.numbered(9902) == cell


def test_a_table_of_zeros_and_ones_by_hand():
    expected = [
        [0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
    ]
    np.testing.assert_array_equal(Cell.parse(PAPER).one_hot(), expected)


def test_operations_are_counted_whether_they_are_used_or_not():
    counted = {name: Cell.parse(PAPER).count(name) for name in OPERATIONS}
    assert counted == Counter(Cell.parse(PAPER).operations)
    assert counted["none"] == 2
    assert Cell.parse(EXAMPLE).count("avg_pool_3x3") == 1  # it leads nowhere


def test_there_are_15625_cells(cells):
    """Five operations on each of six edges."""
    assert len(cells) == len(set(cells)) == SPACE_SIZE == 15_625


def test_cells_come_in_the_order_of_their_numbers(cells):
    assert [cell.index for cell in cells] == list(range(15_625))
    assert [Cell.numbered(n) for n in range(15_625)] == cells


def test_every_cell_survives_being_written_and_read(cells):
    texts = [str(cell) for cell in cells]
    assert len(set(texts)) == len(cells)
    assert [Cell.parse(text) for text in texts] == cells


def test_the_strings_are_those_of_a_public_table(cells):
    """Its numbers are another order than ours: tables are joined by string."""
    path = cache_folder() / "nasbench201" / "str_arch2idx.pt"
    if not path.is_file():
        pytest.skip("no nasbench201/str_arch2idx.pt in the folder EFFDL_CACHE")
    theirs = torch.load(path, weights_only=True)
    assert {Cell.parse(text) for text in theirs} == set(cells)
    assert sorted(theirs.values()) == list(range(15_625))
    assert any(theirs[str(cell)] != cell.index for cell in cells)


def test_a_cell_has_24_neighbours_one_edge_away():
    cell = Cell.parse(PAPER)
    near = neighbours(cell)
    assert len(near) == len(set(near)) == 24
    changed = Counter()
    for other in near:
        edges = [
            e
            for e, (a, b) in enumerate(
                zip(cell.operations, other.operations, strict=True)
            )
            if a != b
        ]
        assert len(edges) == 1
        changed[edges[0], other.operations[edges[0]]] += 1
    wanted = {(e, o) for e, o in itertools.product(range(6), OPERATIONS)}
    assert set(changed) == wanted - set(enumerate(cell.operations))


def test_being_a_neighbour_is_mutual():
    cell = Cell.numbered(1234)
    assert all(cell in neighbours(other) for other in neighbours(cell))


def test_sampling_reaches_every_operation_on_every_edge_equally():
    """6,000 draws: each of the 30 pairs 1,200 times, with a deviation of 31."""
    random = np.random.default_rng(0)
    drawn = sum(sample_cell(random).one_hot() for _ in range(6_000))
    assert abs(drawn - 1_200).max() < 4 * 31


def test_sampling_reaches_both_ends_of_the_numbers():
    class Extreme:
        def __init__(self, last):
            self.last = last

        def integers(self, high):
            return high - 1 if self.last else 0

    assert sample_cell(Extreme(last=False)) == Cell.numbered(0)
    assert sample_cell(Extreme(last=True)) == Cell.numbered(15_624)


def test_mutation_draws_all_neighbours_equally():
    """4,800 draws: each of the 24 about 200 times, with a deviation of 14."""
    random = np.random.default_rng(0)
    cell = Cell.parse(PAPER)
    drawn = Counter(mutate(cell, random) for _ in range(4_800))
    assert set(drawn) == set(neighbours(cell))
    assert max(abs(times - 200) for times in drawn.values()) < 4 * 14
    assert cell == Cell.parse(PAPER)


def test_draws_repeat_with_the_generator():
    draws = [
        [sample_cell(r), mutate(Cell.numbered(7), r)]
        for r in (np.random.default_rng(5), np.random.default_rng(5))
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("length", [0, 5, 7])
def test_a_cell_of_another_size_is_refused(length):
    with pytest.raises(ValueError, match=f"a cell has 6 operations, got {length}"):
        Cell(("none",) * length)


def test_an_unknown_operation_is_named():
    with pytest.raises(ValueError, match="unknown operation 'conv'; choose from"):
        Cell((*["none"] * 5, "conv"))
    with pytest.raises(ValueError, match=r"unknown operation 'nor_conv_5x5' in '\|no"):
        Cell.parse(PAPER.replace("nor_conv_3x3", "nor_conv_5x5"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        PAPER[1:],  # a bar is missing
        PAPER + "\n",
        PAPER.replace("none~0", "none~1"),  # a wrong source
        PAPER.replace("avg_pool_3x3~1", "avg_pool_3x3~9"),
        PAPER.replace("+", ""),  # one node
        "+".join(PAPER.split("+")[:2]),  # a node is missing
        PAPER + "+|none~0|none~1|none~2|none~3|",  # a node too many
        PAPER.replace("~", ""),
    ],
)
def test_a_malformed_string_is_shown_with_the_right_form(text):
    with pytest.raises(ValueError, match="malformed cell ") as error:
        Cell.parse(text)
    assert repr(text) in str(error.value)
    assert EXAMPLE in str(error.value)


@pytest.mark.parametrize("index", [-1, 15_625])
def test_a_number_outside_is_refused(index):
    with pytest.raises(ValueError, match=f"index must be in 0 to 15624, got {index}"):
        Cell.numbered(index)
