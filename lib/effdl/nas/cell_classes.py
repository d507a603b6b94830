"""Which cells of NAS-Bench-201 compute the same function.

Paper: Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326,
section 2.1, which merges cells by a string rule, to 6,466. That rule is no partition by
function: it takes one convolution that is used twice for two convolutions, and it does
not see that pooling and sums may change places. The classes here are exact for every
choice of weights, so a class need be trained only once.

none, skip and average pooling have no weights and are linear. So what a node holds is a
sum of terms

    pool^k(v)        v: the cell's input, or the output of one convolution

and two cells are the same function if some one-to-one map of their live convolutions
(those that the output needs) turns one sum into the other: then give mapped
convolutions the same weights. Two convolutions of one size with the same input stay
two: they have weights of their own.

    form(cell) = the smallest description over all orders of the convolutions

    15,625 cells -> 5,044 forms, one of them the disconnected cells, which hold 0.

Beyond this, batch norm in training mode hides a positive factor of what it reads, apart
from its epsilon: in the networks of :mod:`effdl.nas.cell_net` conv(ReLU(2 x)) comes out
as conv(ReLU(x)), and so does twice a cell's output. Cells that differ only by such
factors compute nearly the same, too. They are kept apart here;
:func:`scale_blind_form` merges them, to 4,931 forms.
"""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache
from math import gcd

from effdl.nas.cell_space import EDGES, OUTPUT, Cell, all_cells

INPUT = -1  # stands for the cell's input where a number stands for a convolution

Term = tuple[int, int]  # pooled how often, what
Sum = Counter[Term]
Value = tuple[tuple[Term, int], ...]  # the terms in order, each with how often
Form = tuple[tuple[tuple[str, Value], ...], Value]


def live_edges(cell: Cell) -> tuple[int, ...]:
    """Return the edges that lie on a path from the input to the output.

    Edges with the operation none carry nothing; others may lack a way in or out.

    Returns:
        Positions in ``EDGES``; none if input and output are disconnected.

    Example:
        >>> from effdl.nas.cell_space import EXAMPLE
        >>> live_edges(Cell.parse(EXAMPLE))  # the first edge leads nowhere
        (3,)
    """
    carrying = [e for e, o in enumerate(cell.operations) if o != "none"]
    reached, leading = {0}, {OUTPUT}
    for edge in carrying:  # sorted by target, so one pass reaches all
        source, target = EDGES[edge]
        if source in reached:
            reached.add(target)
    for edge in sorted(carrying, key=lambda e: -EDGES[e][0]):
        source, target = EDGES[edge]
        if target in leading:
            leading.add(source)
    return tuple(
        e for e in carrying if EDGES[e][0] in reached and EDGES[e][1] in leading
    )


def functional_form(cell: Cell) -> Form | None:
    """Return a description that two cells share exactly if they compute the same.

    Args:
        cell: Any cell.

    Returns:
        The convolutions with their inputs, and the output; None if the cell is
        disconnected, that is, its output is 0.

    Example:
        >>> pooled = Cell(("avg_pool_3x3", "none", "none", "none", "skip_connect",
        ...                "none"))
        >>> functional_form(pooled)
        ((), (((1, -1), 1),))
    """
    return _smallest(*_computation(cell), scale_blind=False)


def scale_blind_form(cell: Cell) -> Form | None:
    """Return the form without common factors of what batch norm is going to scale.

    Args:
        cell: Any cell.

    Returns:
        As :func:`functional_form`.

    Example:
        >>> twice = Cell(("skip_connect", "none", "none", "skip_connect",
        ...               "skip_connect", "none"))
        >>> functional_form(twice), scale_blind_form(twice)
        (((), (((0, -1), 2),)), ((), (((0, -1), 1),)))
    """
    return _smallest(*_computation(cell), scale_blind=True)


@cache
def representatives() -> dict[Form | None, Cell]:
    """Return for every form the first cell, in the order of their numbers, that has it.

    Takes two seconds once. The form None stands for the disconnected cells.

    Example:
        >>> len(representatives())
        5044
    """
    first: dict[Form | None, Cell] = {}
    for cell in all_cells():
        first.setdefault(functional_form(cell), cell)
    return first


def representative(cell: Cell) -> Cell:
    """Return the first cell that computes the same function as this one.

    Raises:
        ValueError: If the cell is disconnected: it computes nothing.

    Example:
        >>> print(representative(Cell(("skip_connect",) + ("none",) * 3 +
        ...                           ("nor_conv_1x1", "none"))))
        |none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|
    """
    form = functional_form(cell)
    if form is None:
        raise ValueError(
            f"{cell} is disconnected: no path leads from node 0 to node {OUTPUT}; "
            "give it one without the operation none"
        )
    return representatives()[form]


def _computation(cell: Cell) -> tuple[list[tuple[str, Sum]], Sum]:
    """Return the convolutions, each with its input, and what the output holds."""
    values: list[Sum] = [Counter({(0, INPUT): 1}), *(Counter() for _ in range(OUTPUT))]
    convs: list[tuple[str, Sum]] = []
    for (source, target), operation in zip(EDGES, cell.operations, strict=True):
        held = values[source]
        if operation == "none" or not held:
            continue
        if operation == "skip_connect":
            values[target].update(held)
        elif operation == "avg_pool_3x3":
            for (depth, what), times in held.items():
                values[target][depth + 1, what] += times
        else:
            values[target][0, len(convs)] += 1
            convs.append((operation, held))
    return convs, values[OUTPUT]


def _smallest(
    convs: list[tuple[str, Sum]], output: Sum, *, scale_blind: bool
) -> Form | None:
    if not output:
        return None
    live = _live(convs, output)
    forms = []
    for order in itertools.permutations(range(len(live))):
        place = dict(zip(live, order, strict=True)) | {INPUT: INPUT}
        listed: list[tuple[str, Value]] = [("", ())] * len(live)
        for conv in live:
            operation, held = convs[conv]
            listed[place[conv]] = (operation, _value(held, place, scale_blind))
        forms.append((tuple(listed), _value(output, place, scale_blind)))
    return min(forms)


def _live(convs: list[tuple[str, Sum]], output: Sum) -> list[int]:
    """Return the convolutions that the output needs, directly or not."""
    live: set[int] = set()
    waiting = [what for _, what in output]
    while waiting:
        conv = waiting.pop()
        if conv != INPUT and conv not in live:
            live.add(conv)
            waiting += [what for _, what in convs[conv][1]]
    return sorted(live)


def _value(held: Sum, place: dict[int, int], scale_blind: bool) -> Value:
    factor = gcd(*held.values()) if scale_blind else 1
    return tuple(
        sorted(((depth, place[w]), n // factor) for (depth, w), n in held.items())
    )
