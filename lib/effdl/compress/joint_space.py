"""Width, channels kept and bits, together: a space so small that all of it is trained.

Paper: Wang et al., "APQ: Joint Search for Network Architecture, Pruning and
Quantization Policy", CVPR 2020, https://arxiv.org/abs/2006.08509, which searches the
three at once: structure, channels and bits.

    member      (width, keep, bits)        plain_net(width), cut, rounded
    bytes       b / 8 for each weight of the convolutions and the linear layer
    best(B)     the member of the best validation accuracy among those of B or less

With five convolutions of w, w, 2w, 2w, 4w channels, c_i what stays of them, and 10
classes, one channel of input,

    weights = 9 (1 c_1 + c_1 c_2 + c_2 c_3 + c_3 c_4 + c_4 c_5) + 10 c_5

Two members of equal shape, such as width 8 halved and width 4, are different: one was
trained wide and cut. So the space has more members than shapes.

What differs: APQ has far more members, a supernet and a predictor in place of a table,
and counts latency and energy. Here every member was trained, and the best is known.

Before trusting it: the table is one task, one kind of network and a few seeds, and the
best of many noisy numbers is too good. Report it on other images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from effdl.blocks import plain_net
from effdl.checks import check_positive, check_share
from effdl.nas.block_space import BlockSpace, Choices

Floats = NDArray[np.float64]
FLOAT = 32  # bits of a member that is not rounded


def weight_count(width: int, keep: float = 1.0) -> int:
    """Return the weights of :func:`effdl.blocks.plain_net` when channels were removed.

    Args:
        width: w, at least 1.
        keep: Share of the channels that stays in each convolution, at least one.

    Example:
        >>> weight_count(8), weight_count(8, 0.5) == weight_count(4)
        (9032, True)
    """
    check_positive(width=width)
    check_share(keep=keep)
    left = [max(1, round(keep * factor * width)) for factor in (1, 1, 2, 2, 4)]
    return 9 * sum(a * b for a, b in pairwise([1, *left])) + 10 * left[-1]


@dataclass
class JointTable:
    """Accuracies of all members, of which searches may ask.

    Attributes:
        widths: Structures, by their width.
        keeps: Shares of channels that stay; 1 among them.
        bits: Of the weights; 32 for float among them.
        validation: Accuracy of each member, 0 to 1, (widths, keeps, bits).
        test: The same on other images: to report, never to choose by.
        asked: The members that were asked for.

    Raises:
        ValueError: If the shapes differ, or 1 or 32 is missing.

    Example:
        >>> scores = np.array([[[0.5, 0.8]]])
        >>> table = JointTable((4,), (1.0,), (2, 32), scores, scores)
        >>> table.ask((0, 0, 1)), table.cost((0, 0, 0)), table.members
        (0.8, 589.0, [(0, 0, 0), (0, 0, 1)])
    """

    widths: Sequence[int]
    keeps: Sequence[float]
    bits: Sequence[int]
    validation: Floats
    test: Floats
    asked: set[Choices] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        shape = len(self.widths), len(self.keeps), len(self.bits)
        for name in ("validation", "test"):
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} must be {shape}, one a member, got {found}")
        if 1 not in self.keeps or FLOAT not in self.bits:
            raise ValueError(
                f"keeps must have 1 and bits {FLOAT}, the uncompressed ones, got "
                f"{self.keeps} and {self.bits}"
            )

    @property
    def space(self) -> BlockSpace:
        """The three choices, to draw from and to mutate."""
        names = self.widths, self.keeps, self.bits
        return BlockSpace(
            tuple({str(name): partial(plain_net, 1) for name in row} for row in names)
        )

    @property
    def members(self) -> list[Choices]:
        """All of them, the bits changing first."""
        return list(self.space.all_choices())

    def cost(self, choices: Choices) -> float:
        """Return the bytes of the weights of a member."""
        width, keep, bits = self.space.check(choices)
        return weight_count(self.widths[width], self.keeps[keep]) * self.bits[bits] / 8

    def ask(self, choices: Choices) -> float:
        """Return the validation accuracy of a member, and note that it was asked for.

        Args:
            choices: Numbers of width, share and bits.
        """
        self.asked.add(self.space.check(choices))
        return float(self.validation[choices])

    def within(self, budget: float) -> list[Choices]:
        """Return the members of no more bytes than a budget; no score is looked at.

        Args:
            budget: Bytes of the weights.

        Raises:
            ValueError: If nothing is so small.
        """
        found = [member for member in self.members if self.cost(member) <= budget]
        if not found:
            least = min(map(self.cost, self.members))
            raise ValueError(f"budget must be at least {least:g} bytes, got {budget:g}")
        return found

    def best(self, budget: float) -> Choices:
        """Return the best member within a budget by validation, the first of equals.

        It looks at all of them and asks for none: the truth, not a search.

        Args:
            budget: Bytes of the weights, or ``ValueError`` if nothing is so small.
        """
        return max(self.within(budget), key=lambda member: self.validation[member])
