"""Channel permutation: sort the inputs so that N:M takes less away.

Papers: Pool and Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021 (in the
proceedings only), for the masks of Mishra et al., "Accelerating Sparse Deep Neural
Networks", 2021, https://arxiv.org/abs/2104.08378.

Which weights compete with which is decided by the order of the inputs, and that order
is free: permute the inputs of a layer and, alike, the outputs of the layer before it,
and the network computes what it did, see :mod:`effdl.prune.permute_channels`.

    kept(P) = sum of |w| that the N:M mask keeps of W with its inputs in the order P

    start:  the order as it is
    repeat: of all pairs of inputs in two stripes (of M inputs) swap that which gains
            most, until none gains
    escape: let M random inputs change places in a circle, swap on, keep the result if
            kept(P) has grown

Swaps of whole inputs never lose. The optimum among all orders is found by brute force
for few inputs: up to the order of stripes and in stripes there are 35 for 8. What no
order exceeds is the magnitude that is kept if weights of a row compete freely.

A gain costs one maximum for each row. Put x in the place of i: then with the others of
i's stripe, sorted, o_1 >= o_2 >= ..., a row keeps o_1 + ... + o_{N-1} + max(o_N, x),
and only the maximum depends on x.

What differs: the authors' better search takes whole stripes together and tries all
their orders. Swaps are what they compare it with; there, the escape is one random swap,
which is often swapped back.

Before trusting it: more magnitude is not more accuracy, and after fine-tuning little
may be left of a gain.
"""

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from effdl.checks import check_divides
from effdl.prune.nm import check_nm, nm_mask

LARGEST_SEARCH = 8  # inputs; 12 would have 5,775 orders for M = 4


def kept_magnitude(weight: Tensor, keep: int = 2, group: int = 4) -> float:
    """Return the sum of |w| over the weights that N:M by magnitude keeps.

    Args:
        weight: (out, in) or (out, in, k, k).
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.

    Example:
        >>> kept_magnitude(torch.tensor([[3.0, -4.0, 1.0, 2.0]]))
        7.0
    """
    size = weight.detach().abs()
    return float(size[nm_mask(size, keep, group)].sum(dtype=torch.float64))


def stripe_orders(inputs: int, group: int = 4) -> Iterator[list[int]]:
    """Yield an order for every way to share the inputs among stripes of M.

    Orders that differ within stripes or in the order of stripes come once.

    Args:
        inputs: How many; a multiple of M.
        group: Inputs M of a stripe.

    Example:
        >>> len(list(stripe_orders(8)))
        35
    """
    check_divides("group", group, inputs=inputs)
    yield from _shared_out(list(range(inputs)), group)


def best_order(weight: Tensor, keep: int = 2, group: int = 4) -> list[int]:
    """Return the order of at most 8 inputs that keeps most magnitude, by brute force.

    Args:
        weight: (out, in) or (out, in, k, k).
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.

    Raises:
        ValueError: If there are more than 8 inputs.

    Example:
        >>> best_order(torch.tensor([[4.0, 3.0, 2.0, 9.0, 0.0, 0.0, 1.0, 0.0]]))
        [0, 1, 4, 5, 2, 3, 6, 7]
    """
    check_nm(keep, group)
    inputs = weight.shape[1]
    if inputs > LARGEST_SEARCH:
        raise ValueError(
            f"weight has {inputs} inputs, too many orders to try; use greedy_order"
        )
    orders = stripe_orders(inputs, group)
    return max(orders, key=lambda p: kept_magnitude(weight[:, p], keep, group))


def greedy_order(
    weight: Tensor, keep: int = 2, group: int = 4, *, escapes: int = 0
) -> list[int]:
    """Return an order of the inputs that swaps of two have led to.

    Random, by torch's generator, if there are escapes; else not.

    Args:
        weight: (out, in) or (out, in, k, k), float.
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.
        escapes: How often M random inputs are moved when no swap gains.

    Raises:
        ValueError: If ``escapes`` is below 0, or a weight is not finite.

    Example:
        >>> weight = torch.tensor([[4.0, 3.0, 2.0, 9.0, 0.0, 0.0, 1.0, 0.0]])
        >>> greedy_order(weight)
        [4, 5, 2, 3, 0, 1, 6, 7]
    """
    check_nm(keep, group)
    check_divides("group", group, inputs=weight.shape[1])
    if escapes < 0:
        raise ValueError(f"escapes must be 0 or larger, got {escapes}")
    # float64: or a gain that is only rounding could be swapped back and forth
    size = weight.detach().abs().double().movedim(1, -1).flatten(0, -2)  # (rows, in)
    if not size.isfinite().all():
        raise ValueError("weight has nan or inf, so no swap can be compared")
    order = _swapped(size, torch.arange(size.shape[1]), keep, group)
    for _ in range(escapes if size.shape[1] > group else 0):
        moved = torch.randperm(size.shape[1])[:group]
        tried = order.clone()
        tried[moved] = order[moved.roll(1)]
        tried = _swapped(size, tried, keep, group)
        found, best = (kept_magnitude(size[:, p], keep, group) for p in (tried, order))
        order = tried if found > best else order
    return order.tolist()


def _shared_out(left: list[int], group: int) -> Iterator[list[int]]:
    if not left:
        yield []
        return
    for others in combinations(left[1:], group - 1):
        stripe = [left[0], *others]
        for rest in _shared_out([i for i in left if i not in stripe], group):
            yield stripe + rest


def _swapped(size: Tensor, order: Tensor, keep: int, group: int) -> Tensor:
    """Return the order after the best swap, again and again, until none gains."""
    order = order.clone()
    places = torch.arange(len(order))
    apart = places[:, None] // group != places // group
    table = torch.empty(len(order), len(order), dtype=size.dtype)  # (place, place)
    changed = places
    while True:
        table[changed] = _after(size, order, changed, keep, group)
        # column j of the table holds the input that stood at j: swapped below
        now = table.diagonal()
        gain = torch.where(apart, table + table.T - now - now[:, None], 0)
        best = int(gain.argmax())
        first, second = divmod(best, len(order))
        if gain.flatten()[best] <= 1e-9 * now.sum():
            return order
        order[[first, second]] = order[[second, first]]
        table[:, [first, second]] = table[:, [second, first]]
        stripes = places // group
        touched = (stripes == first // group) | (stripes == second // group)
        changed = places[touched]


def _after(
    size: Tensor, order: Tensor, changed: Tensor, keep: int, group: int
) -> Tensor:
    """Return what a place's stripe keeps if the input of each place goes there.

    (changed, in). What the stripe keeps in any case, o_1 to o_{N-1}, is left out.
    """
    columns = size[:, order]
    kept = []
    for place in changed.tolist():
        start = place // group * group
        others = [p for p in range(start, start + group) if p != place]
        ordered = columns[:, others].sort(dim=1, descending=True).values
        rival = ordered[:, keep - 1, None]
        kept.append(torch.maximum(rival, columns).sum(dim=0))
    return torch.stack(kept)
