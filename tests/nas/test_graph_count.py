"""Counting cells without comparing them, against comparing, and against the paper."""

import itertools

import pytest

from effdl.nas.graph_count import count_cells
from effdl.nas.graph_hash import unique_cells


def compared(vertices: int, max_edges: int, operations: int) -> int:
    """Return how many cells there are by writing each in its smallest way."""
    pairs = list(itertools.combinations(range(vertices), 2))
    last, kinds = vertices - 1, set()
    orders = [(0, *inner, last) for inner in itertools.permutations(range(1, last))]
    for bits in itertools.product((0, 1), repeat=len(pairs)):
        edges = [pair for pair, bit in zip(pairs, bits, strict=True) if bit]
        no_loose_end = {j for _, j in edges} == set(range(1, vertices))
        if not no_loose_end or {i for i, _ in edges} != set(range(last)):
            continue
        if len(edges) > max_edges:
            continue
        for labels in itertools.product(range(operations), repeat=vertices - 2):
            written = []
            for order in orders:
                moved = sorted((order[i], order[j]) for i, j in edges)
                placed = sorted(zip(order[1:-1], labels, strict=True))
                written.append((moved, placed))
            kinds.add(repr(min(written)))
    return len(kinds)


@pytest.mark.parametrize(
    ("vertices", "max_edges", "operations"),
    [(2, 9, 3), (3, 9, 3), (3, 2, 4), (4, 9, 3), (4, 4, 2), (5, 9, 2), (5, 5, 1)],
)
def test_the_count_is_that_of_comparing_all(vertices, max_edges, operations):
    counted = count_cells(vertices, max_edges=max_edges, operations=operations)
    assert counted == compared(vertices, max_edges, operations)


@pytest.mark.parametrize("vertices", [2, 3, 4, 5])
def test_the_count_is_that_of_the_hashes(vertices):
    assert count_cells(vertices) == len(unique_cells(vertices))


def test_three_vertices_by_hand():
    """A chain, with or without an edge around the vertex, and 3 operations for it."""
    assert count_cells(3) == 2 * 3
    assert count_cells(3, max_edges=2) == 3
    assert count_cells(3, operations=7) == 14


def test_the_whole_space_has_the_published_size():
    """Ying et al. give 423,624 unique cells with up to 7 vertices and 9 edges."""
    counts = [count_cells(vertices) for vertices in range(2, 8)]
    assert counts == [1, 6, 84, 2_441, 62_010, 359_082]
    assert sum(counts) == 423_624


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vertices": 1}, r"vertices must be in 2\.\.7, got 1"),
        ({"vertices": 8}, r"vertices must be in 2\.\.7, got 8"),
        ({"vertices": 3, "max_edges": 0}, "must be 1 or more, got 0 and 3"),
        ({"vertices": 3, "operations": 0}, "must be 1 or more, got 9 and 0"),
    ],
)
def test_bad_input_is_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        count_cells(**arguments)
