"""The search space of NAS-Bench-101: small graphs, and when two of them are the same.

Paper: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search",
ICML 2019, https://arxiv.org/abs/1902.09635, sections 2.1 and 2.2.

A cell is a directed graph without cycles, of at most 7 vertices and 9 edges. The first
vertex is the input, the last the output, and each in between has one of 3 operations.
(In NAS-Bench-201 the operations are on the edges.) It is written as an upper-triangular
matrix with a 1 for every edge, and a list of operations. Vertices on no path from input
to output are cut off first.

A cell can be written with its vertices in several orders. Its hash is the same in all:

    h_v  = md5(edges out of v, edges into v, operation of v)
    h_v  = md5(sorted h of what v reads | sorted h of its readers | h_v)   V times
    hash = md5(sorted h of all V vertices)

Equal cells have equal hashes. That different cells have different hashes is not certain
for graphs in general; for the cells of up to 5 vertices a test compares them all. What
is hashed are the authors' own strings, so a hash is a key of their table.

:mod:`effdl.nas.graph_count` counts cells of any size without comparing them.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from hashlib import md5

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT, OUTPUT = -1, -2  # what stands for the operations of first and last vertex
MAX_VERTICES, MAX_EDGES = 7, 9

Matrix = tuple[tuple[int, ...], ...]
Edge = tuple[int, int]


@dataclass(frozen=True)
class GraphCell:
    """One cell: which vertex reads which, and the operations of the inner vertices.

    Raises ``ValueError`` if the matrix is not square and upper-triangular with zeros
    and ones, the cell is larger than the space allows, or the operations are too many,
    too few or unknown.

    Attributes:
        matrix: A 1 in row i and column j if vertex j reads vertex i.
        operations: Names from ``OPERATIONS``, for all vertices but first and last.

    Example:
        >>> cell = GraphCell(((0, 1, 1), (0, 0, 1), (0, 0, 0)), ("maxpool3x3",))
        >>> cell.edges
        ((0, 1), (0, 2), (1, 2))
    """

    matrix: Matrix
    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        size = len(self.matrix)
        if not 2 <= size <= MAX_VERTICES or {len(r) for r in self.matrix} != {size}:
            raise ValueError(f"matrix must be square, with 2 to {MAX_VERTICES} rows")
        if any(i >= j for i, j in self.edges) or any(
            bit not in (0, 1) for row in self.matrix for bit in row
        ):
            raise ValueError("matrix must hold 1 for edges, above the diagonal only")
        if len(self.edges) > MAX_EDGES:
            raise ValueError(
                f"a cell has at most {MAX_EDGES} edges, got {len(self.edges)}"
            )
        if len(self.operations) != size - 2:
            raise ValueError(
                f"{size} vertices need {size - 2} operations, for all but the first "
                f"and the last, got {len(self.operations)}"
            )
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ValueError(
                    f"unknown operation {operation!r}; choose from {list(OPERATIONS)}"
                )

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Pairs of a vertex and one that reads it."""
        rows = enumerate(self.matrix)
        return tuple((i, j) for i, row in rows for j, bit in enumerate(row) if bit)

    def pruned(self) -> "GraphCell":
        """Return the cell without what is on no path from input to output.

        Raises:
            ValueError: If there is no such path.
        """
        last = len(self.matrix) - 1
        reached, leading = {0}, {last}
        for i, j in self.edges:  # row after row, so one pass reaches all
            reached |= {j} if i in reached else set()
        for i, j in reversed(self.edges):
            leading |= {i} if j in leading else set()
        if last not in reached:
            raise ValueError("no path leads from the first vertex to the last; add one")
        kept = sorted(reached & leading)
        matrix = tuple(tuple(self.matrix[i][j] for j in kept) for i in kept)
        return GraphCell(matrix, tuple(self.operations[v - 1] for v in kept[1:-1]))


def cell_hash(cell: GraphCell) -> str:
    """Return 32 digits that two cells share if they are the same when pruned.

    Raises ``ValueError`` if no path leads from input to output.

    Args:
        cell: Its operations count by their place in ``OPERATIONS``.

    Example:
        >>> straight = GraphCell(((0, 1), (0, 0)), ())
        >>> loose = GraphCell(((0, 1, 1), (0, 0, 0), (0, 0, 0)), ("maxpool3x3",))
        >>> cell_hash(straight) == cell_hash(loose)
        True
    """
    cell = cell.pruned()
    vertices = range(len(cell.matrix))
    inputs = [[i for i, j in cell.edges if j == v] for v in vertices]
    readers = [[j for i, j in cell.edges if i == v] for v in vertices]
    labels = [INPUT, *map(OPERATIONS.index, cell.operations), OUTPUT]
    hashes = [_md5(str((len(readers[v]), len(inputs[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5(
                "|".join((
                    "".join(sorted(hashes[i] for i in inputs[v])),
                    "".join(sorted(hashes[j] for j in readers[v])),
                    hashes[v],
                ))
            )
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def unique_cells(vertices: int) -> list[GraphCell]:
    """Return one cell for each hash among all that use exactly so many vertices.

    Takes two seconds for 5 vertices and minutes for 6.

    Args:
        vertices: Input and output included, 2 to 7.

    Raises:
        ValueError: If the space has no such cells.

    Example:
        >>> [len(unique_cells(vertices)) for vertices in (2, 3, 4)]
        [1, 6, 84]
    """
    if not 2 <= vertices <= MAX_VERTICES:
        raise ValueError(f"vertices must be in 2..{MAX_VERTICES}, got {vertices}")
    found: dict[str, GraphCell] = {}
    for matrix in _matrices(vertices):
        for operations in itertools.product(OPERATIONS, repeat=vertices - 2):
            cell = GraphCell(matrix, operations)
            found.setdefault(cell_hash(cell), cell)
    return list(found.values())


def _matrices(vertices: int) -> list[Matrix]:
    """Return all matrices that fit the space and waste no vertex."""
    pairs = list(itertools.combinations(range(vertices), 2))
    matrices = []
    for bits in itertools.product((0, 1), repeat=len(pairs)):
        edges = {pair for pair, bit in zip(pairs, bits, strict=True) if bit}
        reading = {j for _, j in edges} == set(range(1, vertices))
        read = {i for i, _ in edges} == set(range(vertices - 1))
        if reading and read and len(edges) <= MAX_EDGES:
            side = range(vertices)
            matrices.append(
                tuple(tuple(int((i, j) in edges) for j in side) for i in side)
            )
    return matrices


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
