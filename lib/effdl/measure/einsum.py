"""Multiply-adds of an einsum, contracted two operands at a time as PyTorch does.

ij,jk->ik       every pair of elements that meet is one multiply-add: |i| |j| |k|
ij,kl->ik       j and l belong to one operand each: summed before the product
ij,jk,kl->il    first two operands, then the result with the third
"""

from collections.abc import Sequence
from math import prod

Shape = Sequence[int]
Indices = frozenset[str]


def einsum_macs(
    equation: str, *shapes: Shape, path: Sequence[int] | None = None
) -> int:
    """Return the multiply-adds of ``torch.einsum(equation, ...)``.

    An index that one operand alone has and the result lacks is summed before the
    product; these are additions. Where the product itself sums nothing, there are
    multiplications only. Neither counts.

    Args:
        equation: As for ``torch.einsum``; ``...`` stands for the same leading
            dimensions wherever it occurs.
        *shapes: Shape of each operand.
        path: Positions to contract, two at a time, each result going to the end of
            the list; from left to right if None. PyTorch makes a path only where
            the package opt_einsum is installed.

    Example:
        >>> einsum_macs("bij,bjk->bik", (2, 3, 4), (2, 4, 5))
        120
        >>> einsum_macs("ij,jk,kl->il", (2, 3), (3, 4), (4, 5))
        64
        >>> einsum_macs("ij,jk,kl->il", (2, 3), (3, 4), (4, 5), path=[1, 2, 0, 1])
        90
    """
    terms, result, sizes = _parse(equation, shapes)
    steps = list(path or _left_to_right(len(terms)))
    total = 0
    for first, second in zip(steps[::2], steps[1::2], strict=True):
        a, b = terms[first], terms[second]
        terms = [t for i, t in enumerate(terms) if i not in {first, second}]
        needed = result.union(*terms)
        met = (a & b) | ((a | b) & needed)
        if met - needed:  # else elementwise: products, but no sum of them
            total += prod(sizes[index] for index in met)
        terms.append((a | b) & needed)
    return total


def _left_to_right(operands: int) -> list[int]:
    """Return the path on which the latest result, last in the list, meets the first."""
    later = [position for k in range(operands - 2, 0, -1) for position in (0, k)]
    return [0, 1, *later] if operands > 1 else []


def _parse(
    equation: str, shapes: Sequence[Shape]
) -> tuple[list[Indices], Indices, dict[str, int]]:
    """Return the indices of each operand and of the result, and their sizes."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms: list[Indices] = []
    sizes: dict[str, int] = {}
    for term, shape in zip(left.split(","), shapes, strict=True):
        before, dots, after = term.partition("...")
        hidden = len(shape) - len(before + after) if dots else 0
        # Hidden dimensions are aligned at the right, as in broadcasting.
        names = [*before, *(f".{i}" for i in reversed(range(hidden))), *after]
        terms.append(frozenset(names))
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))  # a size of 1 broadcasts
    if arrow:
        result = set(right.replace("...", ""))
    else:
        result = {name for name in left if left.count(name) == 1} & set(sizes)
    if "..." in right or not arrow:
        result |= {name for name in sizes if name.startswith(".")}
    return terms, frozenset(result), sizes
