"""The search space of NAS-Bench-201: one small cell, 15,625 ways to fill it.

Paper: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural
Architecture Search", ICLR 2020, https://arxiv.org/abs/2001.00326, section 2.1.

A cell is a graph of four nodes. Node 0 is the input, node 3 the output, and every
node sends what it holds through one operation to every later node:

    x_j = sum over i < j of o_ij(x_i)        6 edges, 5 operations, 5^6 = 15,625 cells

    none          0                          skip_connect    x
    nor_conv_kxk  BN(conv_kxk(ReLU(x)))      avg_pool_3x3    mean of the pixels around

A cell is written as NAS-Bench-201 writes it, node after node, each edge as
operation~source:

    |nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|

Cells are numbered here in base 5 (first edge first, operations in the order of
``OPERATIONS``). NAS-Bench-201 has another order: join tables by string, not by number.

Many cells compute the same, see :mod:`effdl.nas.cell_classes`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OPERATIONS = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # in the order of the string
OUTPUT = 3  # the last node
SPACE_SIZE = len(OPERATIONS) ** len(EDGES)

EXAMPLE = "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


@dataclass(frozen=True, order=True)
class Cell:
    """One cell: the operation on each of the six edges.

    Raises ``ValueError`` if there are not six operations, or one is unknown.

    Attributes:
        operations: Names from ``OPERATIONS``, in the order of ``EDGES``.

    Example:
        >>> print(Cell(("nor_conv_3x3",) + ("none",) * 2 + ("skip_connect",) * 3))
        |nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|skip_connect~2|
    """

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.operations) != len(EDGES):
            raise ValueError(
                f"a cell has {len(EDGES)} operations, got {len(self.operations)}"
            )
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ValueError(
                    f"unknown operation {operation!r}; choose from {list(OPERATIONS)}"
                )

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Return the cell that a string of NAS-Bench-201 describes.

        Args:
            text: As ``str(cell)`` gives it.

        Raises:
            ValueError: If the string has another form, names a wrong source, or an
                unknown operation.

        Example:
            >>> Cell.parse(EXAMPLE).operations[0]
            'avg_pool_3x3'
        """
        parts = [re.findall(r"([^|~+]+)~(\d+)", node) for node in text.split("+")]
        operations = tuple(operation for node in parts for operation, _ in node)
        if len(operations) == len(EDGES) and set(operations) <= set(OPERATIONS):
            cell = cls(operations)
            if str(cell) == text:
                return cell
        unknown = sorted(set(operations) - set(OPERATIONS))
        told = f"unknown operation {unknown[0]!r} in" if unknown else "malformed cell"
        raise ValueError(
            f"{told} {text!r}; write it as {EXAMPLE!r} with operations from "
            f"{list(OPERATIONS)}"
        )

    @classmethod
    def numbered(cls, index: int) -> Cell:
        """Return a cell by its number, from 0 to 15,624; the inverse of ``index``.

        Raises:
            ValueError: If there is no such number.

        Example:
            >>> Cell.numbered(3).operations[-1]
            'nor_conv_3x3'
        """
        if not 0 <= index < SPACE_SIZE:
            raise ValueError(f"index must be in 0 to {SPACE_SIZE - 1}, got {index}")
        digits = []
        for _ in EDGES:
            index, digit = divmod(index, len(OPERATIONS))
            digits.append(OPERATIONS[digit])
        return cls(tuple(reversed(digits)))

    @property
    def index(self) -> int:
        """The cell's number: its operations read as digits of base 5."""
        number = 0
        for operation in self.operations:
            number = number * len(OPERATIONS) + OPERATIONS.index(operation)
        return number

    def __str__(self) -> str:
        nodes: dict[int, str] = {}
        for (source, target), operation in zip(EDGES, self.operations, strict=True):
            nodes[target] = nodes.get(target, "|") + f"{operation}~{source}|"
        return "+".join(nodes.values())

    def one_hot(self) -> NDArray[np.float64]:
        """Return the cell as zeros and ones, (6 edges, 5 operations)."""
        chosen = [OPERATIONS.index(operation) for operation in self.operations]
        return np.eye(len(OPERATIONS))[chosen]

    def count(self, operation: str) -> int:
        """Return on how many edges the operation is, used or not."""
        return self.operations.count(operation)


def all_cells() -> Iterator[Cell]:
    """Yield the 15,625 cells in the order of their numbers.

    Example:
        >>> len(set(all_cells()))
        15625
    """
    for operations in itertools.product(OPERATIONS, repeat=len(EDGES)):
        yield Cell(operations)


def sample_cell(random: np.random.Generator) -> Cell:
    """Return a cell drawn uniformly from all.

    Args:
        random: Advanced by the call.

    Example:
        >>> len(sample_cell(np.random.default_rng(0)).operations)
        6
    """
    return Cell.numbered(int(random.integers(SPACE_SIZE)))


def neighbours(cell: Cell) -> list[Cell]:
    """Return the 24 cells that differ in the operation of one edge.

    Example:
        >>> len(neighbours(Cell.numbered(0)))
        24
    """
    near = []
    for edge, old in enumerate(cell.operations):
        for new in OPERATIONS:
            if new != old:
                changed = (*cell.operations[:edge], new, *cell.operations[edge + 1 :])
                near.append(Cell(changed))
    return near


def mutate(cell: Cell, random: np.random.Generator) -> Cell:
    """Return one of the cell's neighbours, drawn uniformly.

    Args:
        cell: Left as it is.
        random: Advanced by the call.

    Example:
        >>> cell = Cell.numbered(0)
        >>> mutate(cell, np.random.default_rng(0)) in neighbours(cell)
        True
    """
    near = neighbours(cell)
    return near[int(random.integers(len(near)))]
