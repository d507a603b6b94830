"""DARTS+: stop the search before it has replaced what learns by skip connections.

Paper: Liang et al., "DARTS+: Improved Differentiable Architecture Search with Early
Stopping", arXiv 2019, https://arxiv.org/abs/1909.06035.

After every epoch one of two criteria is asked:

    skips      the cell that would be found now has two skip connections or more
    stable     on every edge, the order of the operations that learn (convolutions) has
               been the same for ten epochs

The first counts in the normal cell of DARTS, which keeps eight edges. The four-node
cell keeps six, so two are a larger share of it. Both are rules of thumb: the number of
skips that a good cell has depends on the space and on the data.

A rule is an ``after_epoch`` of :class:`~effdl.nas.gradient.method.Method`, and the cell
is the one of the epoch that made it stop.
"""

from collections.abc import Callable, Sequence

import torch

from effdl.checks import check_positive
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import SearchEpoch
from effdl.nas.gradient.steps import Searching

AfterEpoch = Callable[[Searching, list[SearchEpoch]], bool]


def stop_at_skips(
    count: int = 2,
    *,
    skip: str = "skip_connect",
    choose: Callable[[Architecture], Sequence[str]] = Architecture.strongest,
) -> AfterEpoch:
    """Return the rule that stops when a cell would have ``count`` skips or more.

    Args:
        count: At least 1.
        skip: What the skip connection is called.
        choose: Names the operations of the cell that an architecture leads to. In a
            space of two cells it names those of the normal cell.

    Example:
        >>> rule = stop_at_skips()
        >>> rule.__name__  # the after_epoch of a Method
        'rule'
    """
    check_positive(count=count)

    def rule(searching: Searching, _epochs: list[SearchEpoch]) -> bool:
        return list(choose(searching.architecture)).count(skip) >= count

    return rule


def stop_when_stable(learnable: Sequence[str], *, epochs: int = 10) -> AfterEpoch:
    """Return the rule that stops when the order of some operations does not change.

    Args:
        learnable: Names of the operations that count: those with weights.
        epochs: In how many epochs, one after the other, the order has to be the same.

    Raises:
        ValueError: If fewer than two names are given: one has no order.

    Example:
        >>> rule = stop_when_stable(("nor_conv_1x1", "nor_conv_3x3"), epochs=5)
        >>> rule(None, [])
        False
    """
    check_positive(epochs=epochs)
    if len(set(learnable)) < 2:
        raise ValueError(
            f"learnable must name two operations or more, got {list(learnable)}"
        )

    def rule(searching: Searching, done: list[SearchEpoch]) -> bool:
        if len(done) < epochs:
            return False
        names = searching.architecture.candidates
        orders = [_orders(epoch, names, learnable) for epoch in done[-epochs:]]
        return all(order == orders[0] for order in orders)

    return rule


def either(*rules: AfterEpoch) -> AfterEpoch:
    """Return the rule that stops when one of several does; all are asked every time.

    Args:
        rules: At least one.

    Raises:
        ValueError: If there is none.

    Example:
        >>> either(lambda _, epochs: False, lambda _, epochs: len(epochs) > 1)(None, [])
        False
    """
    if not rules:
        raise ValueError("rules is empty; give at least one")

    def rule(searching: Searching, epochs: list[SearchEpoch]) -> bool:
        answers = [stops(searching, epochs) for stops in rules]  # some count calls
        return any(answers)

    return rule


def restore_(architecture: Architecture, epoch: SearchEpoch) -> None:
    """Make the logits, and what is active, what they were after an epoch, in place.

    Args:
        architecture: Of the search that the epoch comes from.
        epoch: One of those that the search returned.

    Example:
        >>> found = Architecture([("skip", "conv")], spread=0)
        >>> logits = torch.tensor([[3.0, -torch.inf]])
        >>> restore_(found, SearchEpoch(logits, logits, 0.0, 0.0))
        >>> found.left(0), found.logits.tolist()
        (('skip',), [[3.0, 0.0]])
    """
    architecture.active.copy_(epoch.logits.isfinite())
    with torch.no_grad():
        architecture.logits.copy_(epoch.logits.masked_fill(~architecture.active, 0.0))


def _orders(
    epoch: SearchEpoch, names: Sequence[Sequence[str]], learnable: Sequence[str]
) -> list[list[str]]:
    """Return the learnable candidates of every edge, the strongest first."""
    orders = []
    for row, candidates in zip(epoch.logits.tolist(), names, strict=True):
        height = dict(zip(candidates, row, strict=False))
        there = [name for name in candidates if name in learnable]
        orders.append(sorted(there, key=lambda name: -height[name]))
    return orders
