"""Frank-Wolfe over a product of sets, one block at a time.

Paper: Lacoste-Julien et al., "Block-Coordinate Frank-Wolfe Optimization for Structural
SVMs", ICML 2013, https://arxiv.org/abs/1207.4747.

To minimise f over x_1 in C_1, ..., x_n in C_n, all convex and bounded, take step k on a
block b drawn at random:

    s   = argmin over s in C_b of  <d f / d x_b, s>         a linear programme
    x_b <- x_b + gamma_k (s - x_b)                          gamma_k = 2 n / (k + 2 n)

There is no projection: x_b stays a mean of points of C_b, so it stays in C_b. On a
simplex, s is the corner with the least derivative. For convex f the duality gap

    gap = sum over b of  <d f / d x_b, x_b - s_b>  >=  f(x) - min f

says at any time how far there is to go at most. It needs the oracles of all blocks, and
goes up and down; the error falls like 1/k.

When not to trust it: the gap bounds nothing if f is not convex, and a loss of a network
is not. If the gradient is noisy, so is the gap. ``momentum`` averages the gradient.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.nas.gradient.gumbel import one_hot_of_largest

Oracle = Callable[[Tensor], Tensor]  # a gradient to the point with the least <g, s>
Gradient = Callable[[Sequence[Tensor]], Sequence[Tensor]]  # at all blocks, of all


class Step(NamedTuple):
    """What a step left.

    Attributes:
        block: Which block moved.
        gap: The duality gap before the step.
        points: All blocks after it.
    """

    block: int
    gap: float
    points: tuple[Tensor, ...]


def step_size(step: int, blocks: int = 1) -> float:
    """Return gamma_k = 2 n / (k + 2 n): 1 at first, and falling.

    Args:
        step: k, from 0.
        blocks: n.

    Example:
        >>> [step_size(k) for k in (0, 2)], step_size(2, blocks=2)
        ([1.0, 0.5], 0.6666666666666666)
    """
    return 2 * blocks / (step + 2 * blocks)


def simplex_corner(gradient: Tensor) -> Tensor:
    """Return the corner of the simplex with the least derivative, one for each row.

    Args:
        gradient: (..., K).

    Example:
        >>> simplex_corner(torch.tensor([[0.5, -1.0, 2.0]]))
        tensor([[0., 1., 0.]])
    """
    return one_hot_of_largest(-gradient)


def duality_gap(
    points: Sequence[Tensor], gradients: Sequence[Tensor], oracles: Sequence[Oracle]
) -> float:
    """Return how far f is above its minimum at most, if it is convex.

    Args:
        points: The blocks.
        gradients: Of f at them.
        oracles: One for each block.

    Example:
        >>> middle, slope = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 3.0])
        >>> duality_gap([middle], [slope], [simplex_corner])
        1.0
    """
    return sum(
        float((gradient * (point - oracle(gradient))).sum())
        for point, gradient, oracle in zip(points, gradients, oracles, strict=True)
    )


def block_frank_wolfe(
    start: Sequence[Tensor],
    gradient: Gradient,
    oracles: Sequence[Oracle],
    *,
    steps: int,
    momentum: float = 0.0,
) -> list[Step]:
    """Return all steps; blocks are drawn from PyTorch's generator.

    Args:
        start: A point of every block's set. It is not changed.
        gradient: Of f; may be noisy. Then the gap is, too.
        oracles: Linear programmes over the sets, one for each block.
        steps: How many.
        momentum: Share of the last direction in the next, for each block; below 1.

    Raises:
        ValueError: If there is no block, not one oracle for each, or ``momentum`` is
            not in [0, 1).

    Example:
        >>> goal = torch.tensor([0.2, 0.8])
        >>> towards = lambda points: [points[0] - goal]
        >>> corner = torch.tensor([1.0, 0.0])
        >>> steps = block_frank_wolfe([corner], towards, [simplex_corner], steps=200)
        >>> bool((steps[-1].points[0] - goal).norm() < 0.02)
        True
    """
    check_positive(steps=steps)
    if not start or len(start) != len(oracles):
        raise ValueError(
            "start must have one or more blocks and oracles one for each, got "
            f"{len(start)} and {len(oracles)}"
        )
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be 0 or larger and below 1, got {momentum}")
    points = [block.clone() for block in start]
    means: list[Tensor | None] = [None] * len(points)
    done = []
    for step in range(steps):
        gradients = gradient(points)
        gap = duality_gap(points, gradients, oracles)
        block = int(torch.randint(len(points), ()))
        last, now = means[block], gradients[block]
        mean = now if last is None else momentum * last + (1 - momentum) * now
        means[block] = mean
        corner = oracles[block](mean)
        points[block] = points[block].lerp(corner, step_size(step, len(points)))
        done.append(Step(block, gap, tuple(points)))
    return done
