"""A table of all bit assignments of one network, as an evaluator of searches.

Paper: Elsken et al., "Neural Architecture Search: A Survey", JMLR 2019,
https://arxiv.org/abs/1808.05377, section 1: space, strategy, evaluator. Strategies and
the loop are those of :mod:`effdl.nas.search`; only space and evaluator are new here.

    regret(a) = best score of all members that cost no more than a  -  score(a)

Regret is 0 or larger, and 0 says that nothing better was to be had for the money. In
small spaces the best is known, and so is the regret of any method.

A table holds one network, rounded after its training in every possible way. It says
nothing of what training on with the rounding would repair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from effdl.nas.block_space import BlockSpace, Choices
from effdl.quant.bit_choices import (
    CANDIDATES,
    LayerSize,
    bit_space,
    bits_of,
    uniform_choices,
    weight_bits,
)

Floats = NDArray[np.float64]


@dataclass
class BitTable:
    """Scores of all members of a space of bits; an evaluator of searches.

    Attributes:
        space: Of bits.
        sizes: Of the layers.
        validation: Accuracy of each member, 0 to 1, in the order of ``all_choices``.
        test: The same on other images: to report, never to choose by.
        loss: Cross-entropy on the validation images.
        seconds: Here the number of members that were asked for, each counted once.

    Example:
        >>> sizes = [LayerSize("0", 10, 0)]
        >>> scores = np.array([0.5, 0.8, 0.9])
        >>> table = BitTable(bit_space(1), sizes, scores, scores, -scores)
        >>> table.evaluate((1,)), table.seconds, table.costs.tolist()
        (0.8, 1.0, [20, 40, 80])
    """

    space: BlockSpace
    sizes: Sequence[LayerSize]
    validation: Floats
    test: Floats
    loss: Floats
    seconds: float = field(default=0.0, init=False)
    asked: set[int] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("validation", "test", "loss"):
            shape = getattr(self, name).shape
            if shape != (self.space.size,):
                raise ValueError(
                    f"{name} must be ({self.space.size},), one for each member, got "
                    f"shape {shape}"
                )
        self.members = list(self.space.all_choices())
        self.costs = np.array([self.cost(member) for member in self.members])

    def row(self, choices: Sequence[int]) -> int:
        """Return the place of a member. For errors see the space's check."""
        checked = self.space.check(choices)
        return int(np.ravel_multi_index(checked, self.space.sizes))

    def cost(self, choices: Sequence[int]) -> int:
        """Return the weight bits of a member."""
        return weight_bits(bits_of(self.space, choices), self.sizes)

    def evaluate(
        self, choices: Choices, *, seed: int = 0, epochs: int | None = None
    ) -> float:
        """Return the validation accuracy of a member; nothing is trained.

        Args:
            choices: Number of the candidate of each layer.
            seed: Of no consequence.
            epochs: Of no consequence.
        """
        del seed, epochs
        row = self.row(choices)
        self.asked.add(row)
        self.seconds = float(len(self.asked))
        return float(self.validation[row])

    def within(self, budget: float) -> list[Choices]:
        """Return the members that cost no more, in the order of ``all_choices``."""
        return [self.members[row] for row in np.flatnonzero(self.costs <= budget)]

    def best(self, budget: float) -> int:
        """Return the row of the best validation accuracy within a budget.

        Of equal ones the one of least loss.

        Args:
            budget: Weight bits.

        Raises:
            ValueError: If nothing is so cheap.
        """
        rows = np.flatnonzero(self.costs <= budget)
        if not len(rows):
            raise ValueError(
                f"budget must be at least {self.costs.min()}, got {budget}"
            )
        order = np.lexsort((self.loss[rows], -self.validation[rows]))
        return int(rows[order[0]])

    def regret(self, choices: Sequence[int], budget: float | None = None) -> float:
        """Return how much better the best member is on validation, 0 or more.

        Args:
            choices: A member.
            budget: Weight bits; None takes what the member costs.
        """
        row = self.row(choices)
        limit = float(self.costs[row]) if budget is None else budget
        return float(self.validation[self.best(limit)] - self.validation[row])

    def uniform(self) -> list[int]:
        """Return the rows of the members with the same bits everywhere."""
        return [self.row(choices) for choices in uniform_choices(self.space)]


def bit_tables(rows: Iterable[Mapping[str, str]]) -> dict[int, BitTable]:
    """Return the table of each seed from the rows of ``results/bit_table.csv``.

    Args:
        rows: Of all parts of each seed, in order. A part holds numbers of some members,
            with spaces between them, in "validation", "test" and "loss".

    Example:
        >>> row = {"seed": "7", "names": "fc", "weights": "10", "macs": "10",
        ...        "validation": "0.5 0.8 0.9", "test": "0.4 0.7 0.8", "loss": "3 2 1"}
        >>> bit_tables([row])[7].costs.tolist()
        [20, 40, 80]
    """
    parts: dict[int, list[Mapping[str, str]]] = {}
    for row in rows:
        parts.setdefault(int(row["seed"]), []).append(row)
    return {seed: _table(found) for seed, found in parts.items()}


def _table(parts: Sequence[Mapping[str, str]]) -> BitTable:
    def numbers(name: str) -> Floats:
        texts = (text for part in parts for text in part[name].split())
        return np.array([float(text) for text in texts])

    first = parts[0]
    columns = (first[name].split() for name in ("names", "weights", "macs"))
    sizes = [LayerSize(n, int(w), int(m)) for n, w, m in zip(*columns, strict=True)]
    space = bit_space(len(sizes), CANDIDATES)
    return BitTable(
        space, sizes, numbers("validation"), numbers("test"), numbers("loss")
    )
