"""Is there a hill between two trained networks? Stability to the noise of SGD.

Papers: Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis",
ICML 2020, https://arxiv.org/abs/1912.05671; Frankle et al., "Stabilizing the Lottery
Ticket Hypothesis", 2019, https://arxiv.org/abs/1903.01611.

Train two copies of one network on the same data in two orders, and walk from one
result to the other on a straight line:

    theta(a) = (1 - a) theta_1 + a theta_2              a from 0 to 1
    barrier  = max over a of E(theta(a))  -  (E(theta_1) + E(theta_2)) / 2

The copies split at step k. From some k on the barrier is about 0, within 2 points of
error in the paper: the network has become *stable*, both copies lie in one valley. The
papers find that a sparse network becomes as good as the whole one only if it is itself
stable: small ones from step 0 on, deep ones from some early step.

The barrier is that of :func:`barrier` at the points that were computed; between them
it may be higher. Numbers that batch norm keeps are walked along as well, and are not
those of the network in the middle: measure such networks after a pass over the data in
training mode, or trust only the ends.
"""

import copy
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from effdl.checks import check_positive


def between(first: nn.Module, second: nn.Module, share: float) -> nn.Module:
    """Return the network at a place on the line from one network to another.

    Args:
        first: At share 0; left as it is.
        second: Of the same architecture and, if pruned, with the same masks.
        share: Place a on the line, 0 to 1.

    Raises:
        ValueError: If the share is out of range, or the networks do not fit.

    Example:
        >>> one, three = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> _ = nn.init.constant_(one.weight, 1), nn.init.constant_(three.weight, 3)
        >>> between(one, three, 0.25).weight.item()
        1.5
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")
    start, end = first.state_dict(), second.state_dict()
    if {n: t.shape for n, t in start.items()} != {n: t.shape for n, t in end.items()}:
        raise ValueError("first and second must have the same tensors and shapes")
    middle = copy.deepcopy(first)
    middle.load_state_dict({n: _mixed(n, start[n], end[n], share) for n in start})
    return middle


def errors_between(
    first: nn.Module,
    second: nn.Module,
    error_of: Callable[[nn.Module], float],
    *,
    points: int = 11,
) -> list[float]:
    """Return the error at evenly spaced places on the line, both ends among them.

    Args:
        first: The network at the first place.
        second: The network at the last.
        error_of: The loss or the share of wrong answers of a network.
        points: Places, at least 2.

    Raises:
        ValueError: If there are fewer than two.

    Example:
        >>> layers = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> _ = [nn.init.constant_(layers[i].weight, 2.0 * i) for i in (0, 1)]
        >>> errors_between(*layers, lambda net: net.weight.item(), points=3)
        [0.0, 1.0, 2.0]
    """
    check_positive(points=points)
    if points < 2:
        raise ValueError("points must be at least 2, for both ends, got 1")
    shares = [place / (points - 1) for place in range(points)]
    return [error_of(between(first, second, share)) for share in shares]


def barrier(errors: Sequence[float]) -> float:
    """Return the height of the hill: the largest error less the mean of both ends.

    At least 0 if the ends are equally good, and half their difference otherwise.

    Args:
        errors: Along the line, at least two.

    Raises:
        ValueError: If there are fewer.

    Example:
        >>> barrier([0.25, 1.0, 0.75])
        0.5
    """
    if len(errors) < 2:
        raise ValueError(f"errors must have both ends of the line, got {errors}")
    return max(errors) - (errors[0] + errors[-1]) / 2


def _mixed(name: str, start: Tensor, end: Tensor, share: float) -> Tensor:
    if start.is_floating_point():
        return (1 - share) * start + share * end
    if name.endswith("mask") and not start.equal(end):
        raise ValueError(
            f"{name} differs between first and second; give plain_copy of both"
        )
    return start
