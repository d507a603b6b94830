"""Structure, then channels, then bits; against all three at once.

Papers: Han et al., "Design Automation for Efficient Deep Learning Computing", 2019,
https://arxiv.org/abs/1904.10616, who search a structure (ProxylessNAS), then prune its
channels (AMC), then choose its bits (HAQ); and Wang et al., "APQ: Joint Search for
Network Architecture, Pruning and Quantization Policy", CVPR 2020,
https://arxiv.org/abs/2006.08509, who search them jointly.

    structure   the best float network, not pruned       bytes with (k', b') <= B
    channels    the best float network of it             bytes with b' <= B
    bits        the best of what is left                 bytes <= B

Every stage knows what it sees: the first no pruned network, the second no rounded one.
So that the end fits into B bytes each must plan for the stages behind it: it assumes
that they will come to a share k' and to bits b'. The plan decides on much. Whatever it
is, the result is a member within the budget, and

    validation(sequential) <= validation(joint optimum)

by definition, with equality if the stages happen to agree.

What differs: the stages are enumerated, where the papers have a supernet and agents. So
the loss is that of the sequence, not that of a bad search. And the joint search has a
table here in place of a predictor.

Before trusting it: the inequality holds for the score that was chosen by. On test
images a sequence can be better, by luck.
"""

import numpy as np

from effdl.checks import check_positive
from effdl.compress.joint_space import FLOAT, JointTable
from effdl.nas.block_space import Choices
from effdl.nas.evolution import AgingEvolution


def sequential(
    table: JointTable, budget: float, plan: tuple[int, int] | None = None
) -> Choices:
    """Return what the pipeline comes to; it asks for as few members as it needs.

    Args:
        table: Whose members are asked for.
        budget: Bytes of the weights at the end.
        plan: Numbers of the share and the bits that later stages are assumed to come
            to; None assumes the cheapest of both, so that early stages take all.

    Raises:
        ValueError: If no structure fits with the plan.

    Example:
        >>> scores = np.array([[[0.5, 0.7]], [[0.4, 0.8]]])
        >>> table = JointTable((4, 8), (1.0,), (2, 32), scores, scores)
        >>> sequential(table, 9500.0), table.best(9500.0), len(table.asked)
        ((1, 0, 0), (0, 0, 1), 3)
    """
    share, bits = _cheapest(table) if plan is None else plan
    whole, floats = table.keeps.index(1), table.bits.index(FLOAT)

    def fit(members: list[Choices]) -> list[int]:
        return [n for n, m in enumerate(members) if table.cost(m) <= budget]

    widths = fit([(w, share, bits) for w in range(len(table.widths))])
    if not widths:
        least = min(table.cost((w, share, bits)) for w in range(len(table.widths)))
        raise ValueError(
            f"budget must be at least {least:g} bytes with this plan, got {budget:g}; "
            "plan for fewer channels or bits"
        )
    width = max(widths, key=lambda w: table.ask((w, whole, floats)))
    shares = fit([(width, k, bits) for k in range(len(table.keeps))])
    keep = max(shares, key=lambda k: table.ask((width, k, floats)))
    last = fit([(width, keep, b) for b in range(len(table.bits))])
    return width, keep, max(last, key=lambda b: table.ask((width, keep, b)))


def best_plan(table: JointTable, budget: float) -> tuple[Choices, tuple[int, int]]:
    """Return the best that the pipeline comes to with any plan, and that plan.

    It runs the pipeline with every plan that has room, and so asks for many members.

    Args:
        table: Whose members are asked for.
        budget: Bytes of the weights, or ``ValueError`` if nothing is so small.

    Example:
        >>> scores = np.array([[[0.5, 0.7]], [[0.4, 0.8]]])
        >>> table = JointTable((4, 8), (1.0,), (2, 32), scores, scores)
        >>> best_plan(table, 9500.0)
        ((0, 0, 1), (0, 1))
    """
    table.within(budget)  # refuses a budget below everything
    plans = [
        (k, b)
        for k in range(len(table.keeps))
        for b in range(len(table.bits))
        if table.cost((_narrowest(table), k, b)) <= budget
    ]
    found = [(sequential(table, budget, plan), plan) for plan in plans]
    return max(found, key=lambda pair: table.validation[pair[0]])


def drawn(
    table: JointTable, budget: float, queries: int, random: np.random.Generator
) -> Choices:
    """Return the best of some members drawn jointly from those within the budget.

    Args:
        table: Whose members are asked for.
        budget: Bytes of the weights, or ``ValueError`` if nothing is so small.
        queries: How many different members, if there are so many.
        random: Draws.

    Example:
        >>> scores = np.array([[[0.5, 0.7]], [[0.4, 0.8]]])
        >>> table = JointTable((4, 8), (1.0,), (2, 32), scores, scores)
        >>> drawn(table, 9500.0, 9, np.random.default_rng(0))
        (0, 0, 1)
    """
    check_positive(queries=queries)
    members = table.within(budget)
    order = random.permutation(len(members))[:queries]
    return max((members[n] for n in order), key=table.ask)


def evolved(
    table: JointTable, budget: float, queries: int, random: np.random.Generator
) -> Choices:
    """Return the best that aging evolution finds among members within the budget.

    Args:
        table: Whose members are asked for. One asked for again costs nothing.
        budget: Bytes of the weights, or ``ValueError`` if nothing is so small.
        queries: How many different members, if there are so many.
        random: Draws and mutates.

    Example:
        >>> scores = np.array([[[0.5, 0.7]], [[0.4, 0.8]]])
        >>> table = JointTable((4, 8), (1.0,), (2, 32), scores, scores)
        >>> evolved(table, 9500.0, 9, np.random.default_rng(0))
        (0, 0, 1)
    """
    check_positive(queries=queries)
    members, space = table.within(budget), table.space
    inside, seen = set(members), dict[Choices, float]()

    def draw() -> Choices:
        return members[random.integers(len(members))]

    def mutate(parent: Choices) -> Choices:
        near = [m for m in space.neighbours(parent) if m in inside]
        # Where all is known around, evolution would stand still: draw anew.
        fresh = [m for m in near if m not in seen]
        return fresh[random.integers(len(fresh))] if fresh else draw()

    strategy = AgingEvolution(draw, mutate, random, population=4, tournament=2)
    while len(seen) < min(queries, len(members)):
        member = strategy.ask()
        seen[member] = table.ask(member)
        strategy.tell(member, seen[member])
    return max(seen, key=lambda member: seen[member])


def _cheapest(table: JointTable) -> tuple[int, int]:
    return (
        table.keeps.index(min(table.keeps)),
        table.bits.index(min(table.bits)),
    )


def _narrowest(table: JointTable) -> int:
    return table.widths.index(min(table.widths))
