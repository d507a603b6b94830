"""Cells of NAS-Bench-101: equal hashes exactly for equal graphs."""

import itertools
from collections import defaultdict
from hashlib import md5

import networkx as nx
import numpy as np
import pytest

from effdl.nas.graph_hash import (
    MAX_EDGES,
    OPERATIONS,
    GraphCell,
    cell_hash,
    unique_cells,
)

CONV3, CONV1, POOL = OPERATIONS


def cell_of(size: int, edges: set[tuple[int, int]], operations: list[str]) -> GraphCell:
    side = range(size)
    matrix = tuple(tuple(int((i, j) in edges) for j in side) for i in side)
    return GraphCell(matrix, tuple(operations))


def all_written_cells(size: int) -> list[GraphCell]:
    """Return every matrix without loose vertices, with all operations."""
    pairs = list(itertools.combinations(range(size), 2))
    found = []
    for count in range(1, MAX_EDGES + 1):
        for chosen in itertools.combinations(pairs, count):
            graph = nx.DiGraph(chosen)
            on_paths = {0} | nx.descendants(graph, 0) if 0 in graph else set()
            if size - 1 in graph:
                on_paths &= {size - 1} | nx.ancestors(graph, size - 1)
            if len(on_paths) == size:
                found += [
                    cell_of(size, set(chosen), list(operations))
                    for operations in itertools.product(OPERATIONS, repeat=size - 2)
                ]
    return found


def as_graph(cell: GraphCell) -> nx.DiGraph:
    graph = nx.DiGraph(cell.edges)
    labels = ("input", *cell.operations, "output")
    nx.set_node_attributes(graph, dict(enumerate(labels)), "label")
    return graph


@pytest.mark.parametrize(("size", "count"), [(2, 1), (3, 6), (4, 84), (5, 2441)])
def test_hashes_are_equal_exactly_if_the_graphs_are_isomorphic(size, count):
    """All ways to write a cell, compared with one of each kind that was found so far.

    Only those with equal operations at equal degrees can be isomorphic.
    """
    kinds = defaultdict(list)  # graphs, each with the hashes of all that equal it
    same_label = nx.algorithms.isomorphism.categorical_node_match("label", None)
    for cell in all_written_cells(size):
        graph = as_graph(cell)
        labels = graph.nodes.data("label")
        rough = sorted((o, graph.in_degree(v), graph.out_degree(v)) for v, o in labels)
        for known, hashes in kinds[tuple(rough)]:
            if nx.is_isomorphic(graph, known, node_match=same_label):
                hashes.add(cell_hash(cell))
                break
        else:
            kinds[tuple(rough)].append((graph, {cell_hash(cell)}))
    found = [hashes for group in kinds.values() for _, hashes in group]
    assert len(found) == count
    assert all(len(hashes) == 1 for hashes in found)
    assert len(set.union(*found)) == count
    assert {cell_hash(cell) for cell in unique_cells(size)} == set.union(*found)


def test_the_smallest_hash_step_by_step():
    """The input has a reader, reads none and is -1; for the output, 0, 1 and -2."""

    def digest(text: str) -> str:
        return md5(text.encode()).hexdigest()

    first, last = digest("(1, 0, -1)"), digest("(0, 1, -2)")
    for _ in range(2):
        first, last = digest(f"|{last}|{first}"), digest(f"{first}||{last}")
    expected = digest(str(sorted([first, last])))
    assert cell_hash(cell_of(2, {(0, 1)}, [])) == expected


def test_an_operation_counts_by_its_place_in_the_authors_list():
    """A chain of one vertex; conv 3x3 is 0, conv 1x1 is 1, the pooling 2."""

    def digest(text: str) -> str:
        return md5(text.encode()).hexdigest()

    for number, operation in enumerate((CONV3, CONV1, POOL)):
        hashes = [
            digest("(1, 0, -1)"),
            digest(f"(1, 1, {number})"),
            digest("(0, 1, -2)"),
        ]
        for _ in range(3):
            a, b, c = hashes
            hashes = [digest(f"|{b}|{a}"), digest(f"{a}|{c}|{b}"), digest(f"{b}||{c}")]
        chain = cell_of(3, {(0, 1), (1, 2)}, [operation])
        assert cell_hash(chain) == digest(str(sorted(hashes)))


def test_the_order_of_the_vertices_does_not_matter():
    """The cell of the paper's figure 1, its inner vertices in all possible orders."""
    edges = {(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 5), (4, 6), (5, 6), (0, 6)}
    operations = [CONV1, CONV3, POOL, CONV3, CONV1]
    hashes = set()
    for inner in itertools.permutations(range(1, 6)):
        place = (0, *inner, 6)
        moved = {(place[i], place[j]) for i, j in edges}
        if all(i < j for i, j in moved):
            order = [operations[place.index(v) - 1] for v in range(1, 6)]
            hashes.add(cell_hash(cell_of(7, moved, order)))
    assert len(hashes) == 1


def test_what_is_on_no_path_is_cut_off_by_hand():
    """Vertex 1 is read by nobody, vertex 3 reads nothing; 0, 2 and 4 are left."""
    cell = cell_of(5, {(0, 1), (0, 2), (2, 4), (3, 4)}, [POOL, CONV3, CONV1])
    assert cell.pruned() == cell_of(3, {(0, 1), (1, 2)}, [CONV3])
    assert cell_hash(cell) == cell_hash(cell.pruned())


def test_pruning_keeps_what_networkx_finds_on_a_path():
    random = np.random.default_rng(0)
    pairs = list(itertools.combinations(range(6), 2))
    for _ in range(300):
        chosen = random.permutation(len(pairs))[: random.integers(4, 10)]
        edges = {pairs[k] for k in chosen}
        graph = nx.DiGraph(edges)
        graph.add_nodes_from(range(6))
        on_paths = ({0} | nx.descendants(graph, 0)) & ({5} | nx.ancestors(graph, 5))
        cell = cell_of(6, edges, random.choice(OPERATIONS, 4).tolist())
        if 5 in nx.descendants(graph, 0):
            assert len(cell.pruned().matrix) == len(on_paths)
            assert (
                len(cell.pruned().edges) == graph.subgraph(on_paths).number_of_edges()
            )
        else:
            with pytest.raises(ValueError, match="no path leads from the first"):
                cell.pruned()


@pytest.mark.parametrize("vertices", [3, 4])
def test_the_cells_found_use_all_their_vertices(vertices):
    for cell in unique_cells(vertices):
        assert len(cell.matrix) == vertices
        assert cell.pruned() == cell


LINE = ((0, 1), (0, 0))
FULL = tuple(tuple(int(i < j) for j in range(6)) for i in range(6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GraphCell(((0,),), ()), "must be square, with 2 to 7 rows"),
        (lambda: GraphCell(((0, 1), (0,)), ()), "must be square"),
        (
            lambda: GraphCell(((0,) * 8,) * 8, (POOL,) * 6),
            "must be square, with 2 to 7",
        ),
        (lambda: GraphCell(((0, 1), (1, 0)), ()), "above the diagonal only"),
        (lambda: GraphCell(((1, 1), (0, 0)), ()), "above the diagonal only"),
        (lambda: GraphCell(((0, 2), (0, 0)), ()), "must hold 1 for edges"),
        (lambda: GraphCell(FULL, (POOL,) * 4), "at most 9 edges, got 15"),
        (lambda: GraphCell(LINE, (POOL,)), "2 vertices need 0 operations"),
        (
            lambda: GraphCell(((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("conv5x5",)),
            r"unknown operation 'conv5x5'; choose from \['conv3x3-bn-relu'",
        ),
        (lambda: cell_hash(GraphCell(((0, 0), (0, 0)), ())), "no path leads"),
        (lambda: unique_cells(1), r"vertices must be in 2\.\.7, got 1"),
        (lambda: unique_cells(8), r"vertices must be in 2\.\.7, got 8"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
