"""The search space of NASNet: operators on nodes, two to a block.

Paper: Zoph et al., "Learning Transferable Architectures for Scalable Image
Recognition", CVPR 2018, https://arxiv.org/abs/1707.07012, section 3 and appendix A.

A cell has states, too. States 0 and 1 are the outputs of the two cells before it. Each
of its B = 5 blocks makes one more:

    pick two states, the same twice if you like
    apply one of 13 operations to each
    combine the two results: add, or concatenate

States that no block reads, the *loose ends*, are concatenated as the cell's output. A
controller makes 5 decisions for a block, 2 x 5 x 5 for a normal and a reduction cell:

    prod over b = 1..5 of  (b + 1)^2 13^2 2 = 2.29e18 descriptions of one cell

Many descriptions are of one cell: a block may be written with its halves exchanged.

The operators stand on nodes. DARTS has them on edges, and the two descriptions can be
turned into one another, see :mod:`effdl.nas.nasnet_darts`.

What differs: an operation is a name here, and the modules are handed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from effdl.checks import check_positive

OPERATIONS = (
    "identity",
    "avg_pool_3x3",
    "max_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "sep_conv_7x7",
)
COMBINATIONS = ("add", "concat")
INPUTS = 2


@dataclass(frozen=True)
class Block:
    """Two operators and how their results are combined.

    Raises ``ValueError`` if an operation or the combination is unknown.

    Attributes:
        sources: The two states that are read.
        operations: What is applied to each, from ``OPERATIONS``.
        combination: "add" or "concat".

    Example:
        >>> Block((0, 1), ("identity", "conv_3x3")).combination
        'add'
    """

    sources: tuple[int, int]
    operations: tuple[str, str]
    combination: str = "add"

    def __post_init__(self) -> None:
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ValueError(
                    f"unknown operation {operation!r}; choose from {list(OPERATIONS)}"
                )
        if self.combination not in COMBINATIONS:
            raise ValueError(
                f"unknown combination {self.combination!r}; choose from {COMBINATIONS}"
            )


@dataclass(frozen=True)
class NasnetCell:
    """The blocks of one cell; block b makes the state b + 2.

    Raises ``ValueError`` if there is no block, or one reads a state that is not made
    before it.

    Attributes:
        blocks: In the order of their states.

    Example:
        >>> NasnetCell((Block((0, 1), ("identity", "conv_3x3")),)).loose_ends()
        (2,)
    """

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        check_positive(blocks=len(self.blocks))
        for state, block in enumerate(self.blocks, start=INPUTS):
            for source in block.sources:
                if not 0 <= source < state:
                    raise ValueError(
                        f"state {state} can read states 0 to {state - 1}, got {source}"
                    )

    def loose_ends(self) -> tuple[int, ...]:
        """Return the states that no block reads; the last one always is among them."""
        read = {source for block in self.blocks for source in block.sources}
        return tuple(s for s in range(INPUTS + len(self.blocks)) if s not in read)


def enumerate_nasnet_cells(
    blocks: int, operations: Sequence[str]
) -> Iterator[NasnetCell]:
    """Yield every description of a cell, the ones that compute the same included.

    Args:
        blocks: At least 1. There are 1,352 with one block and all 13 operations.
        operations: Those to choose from.

    Example:
        >>> sum(1 for _ in enumerate_nasnet_cells(1, ["identity", "conv_3x3"]))
        32
    """
    check_positive(blocks=blocks)
    for_block = [
        [
            Block((first, second), (one, other), combination)
            for first, second in itertools.product(range(state), repeat=2)
            for one, other in itertools.product(operations, repeat=2)
            for combination in COMBINATIONS
        ]
        for state in range(INPUTS, INPUTS + blocks)
    ]
    yield from map(NasnetCell, itertools.product(*for_block))


def sample_nasnet_cell(random: np.random.Generator, *, blocks: int = 5) -> NasnetCell:
    """Return a description drawn uniformly.

    Args:
        random: Advanced by the call.
        blocks: At least 1.

    Example:
        >>> len(sample_nasnet_cell(np.random.default_rng(0)).blocks)
        5
    """
    check_positive(blocks=blocks)
    drawn = []
    for state in range(INPUTS, INPUTS + blocks):
        first, second = random.integers(state, size=2).tolist()
        one, other = (OPERATIONS[n] for n in random.integers(len(OPERATIONS), size=2))
        combination = COMBINATIONS[int(random.integers(len(COMBINATIONS)))]
        drawn.append(Block((first, second), (one, other), combination))
    return NasnetCell(tuple(drawn))
