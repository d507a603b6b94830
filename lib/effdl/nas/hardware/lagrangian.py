"""Multipliers in the smallest cases: one that circles, and one that is bisected.

Paper: Luo et al., "You Only Search Once: On Lightweight Differentiable Architecture
Search for Resource-Constrained Embedded Platforms", DAC 2022,
https://arxiv.org/abs/2208.14446; equation 12 of the survey, which is said to guarantee
its constraint.

The constraint x = 1 alone, with nothing to minimise, has the Lagrangian l (x - 1) and
its saddle point at x = 1, l = 0. Descent in x and ascent in l, with steps of r:

    at once        x <- x - r l,  l <- l + r (x - 1)         both from the old values
    in turn        the same, but l sees the new x
    with damping   x <- x - r (l + rho (x - 1)),  then l in either way

At once, every step multiplies the distance to the saddle point by sqrt(1 + r^2): a
spiral outwards, for any r. In turn, a step keeps areas (its determinant is 1): an
ellipse for ever, for r < 2. With damping both spiral inwards, if steps are small: in
turn for r (2 rho + r) < 4; at once for r < rho and r (2 rho - r) < 4.

The other way is to try: a fixed lambda for each search, and bisection over lambda,
since latency falls with it. It takes a search for each bit of lambda, and where latency
jumps over the target, no number of them is enough.

When not to trust it: near a saddle point with curvature of its own (a loss strictly
convex in x), plain descent-ascent with small steps does converge. What a softmax over
discrete choices has is hardly any.
"""

from collections.abc import Callable
from typing import NamedTuple

from effdl.checks import check_positive


def descent_ascent(
    start: tuple[float, float],
    *,
    rate: float,
    steps: int,
    rho: float = 0.0,
    in_turn: bool = False,
) -> list[tuple[float, float]]:
    """Return x and the multiplier at the start and after every step.

    Args:
        start: x and l.
        rate: r.
        steps: How many.
        rho: Weight of the damping term.
        in_turn: Whether the multiplier sees the new x.

    Raises:
        ValueError: If ``rate`` is not above 0.

    Example:
        >>> descent_ascent((1.0, 1.0), rate=0.5, steps=1)
        [(1.0, 1.0), (0.5, 1.0)]
        >>> descent_ascent((1.0, 1.0), rate=0.5, steps=1, in_turn=True)
        [(1.0, 1.0), (0.5, 0.75)]
    """
    check_positive(steps=steps)
    if not rate > 0:
        raise ValueError(f"rate must be above 0, got {rate}")
    done = [start]
    for _ in range(steps):
        x, multiplier = done[-1]
        new = x - rate * (multiplier + rho * (x - 1))
        seen = new if in_turn else x
        done.append((new, multiplier + rate * (seen - 1)))
    return done


class Bisected(NamedTuple):
    """What a bisection over multipliers found.

    Attributes:
        runs: Searches that it took.
        multiplier: Of the last.
        ratio: Cost over target of the last.
        hit: Whether that is near enough to 1.
    """

    runs: int
    multiplier: float
    ratio: float
    hit: bool


def bisect_multiplier(
    cost_at: Callable[[float], float],
    target: float,
    *,
    highest: float,
    within: float = 0.02,
    runs: int = 30,
) -> Bisected:
    """Return how many searches it takes to find a multiplier for a target.

    Args:
        cost_at: A search: from a multiplier to the cost of what it finds; falling.
        target: Cost that is wanted.
        highest: Multiplier at which the cost is surely below the target.
        within: How far the cost may be off, as a share of the target.
        runs: Searches at most.

    Raises:
        ValueError: If ``target`` or ``highest`` is not above 0.

    Example:
        >>> bisect_multiplier(lambda m: 10.0 - m, 4.0, highest=8.0)
        Bisected(runs=2, multiplier=6.0, ratio=1.0, hit=True)
        >>> bisect_multiplier(lambda m: 9.0 if m < 3 else 1.0, 4.0, highest=8.0).hit
        False
    """
    check_positive(runs=runs)
    if not (target > 0 and highest > 0):
        raise ValueError(
            f"target and highest must be above 0, got {target} and {highest}"
        )
    low, high = 0.0, highest
    for run in range(1, runs + 1):
        middle = (low + high) / 2
        ratio = cost_at(middle) / target
        if abs(ratio - 1) <= within:
            return Bisected(run, middle, ratio, hit=True)
        low, high = (middle, high) if ratio > 1 else (low, middle)
    return Bisected(runs, middle, ratio, hit=False)
