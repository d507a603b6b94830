"""The search space of NAS-Bench-Graph: four operations on graphs, in a tree.

Paper: Qin et al., "NAS-Bench-Graph: Benchmarking Graph Neural Architecture Search",
NeurIPS 2022, https://arxiv.org/abs/2206.09166, section 3.

An architecture has four computing nodes. Each has one input, the raw features (0) or an
earlier node (1 to 3), and applies one of 9 operations. All nodes that nobody reads are
put together to the output. So the inputs form a tree: 9 shapes, each with 9^4 ways to
choose. Many of the 59,049 are the same:

* the order of two branches does not matter;
* a skip that somebody reads, or that is its input's only reader, changes nothing, and
  may as well stand in front of everything; likewise a skip branch of the raw features.

What is left, but for four skips, are 26,206 architectures. Each has a number: its shape
as first digit, then its four operations, in base 10.
"""

from __future__ import annotations

from dataclasses import dataclass

NODES = 4
SHAPES = (  # the input of every node; level after level, the larger branch first
    *((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 1, 3)),
    *((0, 1, 1, 1), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 2, 3)),
)
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
BASE = len(OPERATIONS) + 1
ARCHITECTURES = 26_206

Tree = tuple[str, tuple["Tree", ...]]  # an operation, and the branches that read it
Key = tuple[int, int, tuple["Key", ...]]  # what orders trees: -size, operation, inside


@dataclass(frozen=True)
class GraphArchitecture:
    """Four operations on graphs, and what each of them reads.

    Raises ``ValueError`` if an operation is unknown, or a node does not read an earlier
    one.

    Attributes:
        inputs: For each node 0 for the raw features, or the number of an earlier node.
        operations: Names from ``OPERATIONS``.

    Example:
        >>> GraphArchitecture((0, 1, 2, 1), ("gcn", "gin", "fc", "cheb")).number
        61237
    """

    inputs: tuple[int, ...]
    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.inputs) != NODES or len(self.operations) != NODES:
            raise ValueError(
                f"give {NODES} inputs and {NODES} operations, got {self.inputs} and "
                f"{self.operations}"
            )
        for node, read in enumerate(self.inputs, start=1):
            if not 0 <= read < node:
                raise ValueError(
                    f"node {node} must read one of 0 to {node - 1}, got {read}; number "
                    "nodes after what they read"
                )
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ValueError(
                    f"unknown operation {operation!r}; choose from {list(OPERATIONS)}"
                )

    @classmethod
    def numbered(cls, number: int) -> GraphArchitecture:
        """Return the architecture that has a number.

        Raises:
            ValueError: If there is no such shape or operation.
        """
        rest, digits = number, []
        for _ in range(NODES):
            rest, digit = divmod(rest, BASE)
            digits.append(digit)
        if not 0 <= rest < len(SHAPES) or max(digits) >= len(OPERATIONS):
            raise ValueError(
                f"no architecture has the number {number}; use one of a table"
            )
        return cls(SHAPES[rest], tuple(OPERATIONS[d] for d in reversed(digits)))

    @property
    def number(self) -> int:
        """A number that two architectures share exactly if they are the same."""
        trees, moved = _without_idle_skips(self._readers(0), raw=True)
        for _ in range(moved):
            trees = (("skip", trees),)
        inputs: list[int] = []
        number = 0
        waiting = [(key, 0) for key in sorted(map(_key, trees))]
        for (_, operation, inside), read in waiting:  # which grows meanwhile
            inputs.append(read)
            number = number * BASE + operation
            waiting += [(key, len(inputs)) for key in inside]
        return SHAPES.index(tuple(inputs)) * BASE**NODES + number

    def _readers(self, node: int) -> tuple[Tree, ...]:
        """Return the branches that read a node."""
        found = [n for n, read in enumerate(self.inputs, start=1) if read == node]
        return tuple((self.operations[n - 1], self._readers(n)) for n in found)


def _without_idle_skips(
    branches: tuple[Tree, ...], *, raw: bool
) -> tuple[tuple[Tree, ...], int]:
    """Return branches without the skips that change nothing, and how many they were.

    Args:
        branches: All that read one node.
        raw: Whether that node holds the raw features.
    """
    kept: list[Tree] = []
    waiting, moved = list(branches), 0
    for operation, readers in waiting:  # which grows meanwhile
        if operation == "skip" and readers:
            moved += 1
            waiting += readers
        else:
            inside, count = _without_idle_skips(readers, raw=False)
            moved += count
            kept.append((operation, inside))
    end = ("skip", ())
    if raw or kept == [end]:
        moved += kept.count(end)
        kept = [tree for tree in kept if tree != end]
    return tuple(kept), moved


def _key(tree: Tree) -> Key:
    operation, readers = tree
    inside = tuple(sorted(map(_key, readers)))
    size = 1 - sum(size for size, _, _ in inside)  # those are negative
    return (-size, OPERATIONS.index(operation), inside)
