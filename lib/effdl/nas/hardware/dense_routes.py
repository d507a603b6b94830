"""Routes through a dense supernet: block after block, or past some of them.

Paper: Fang et al., "Densely Connected Search Space for More Flexible Neural
Architecture Search", CVPR 2020, https://arxiv.org/abs/1906.09607, section 3.

Blocks 0 to B - 1 get wider from one to the next, and each is joined to several later
ones by a layer that changes the shape. A network is a *route* from the first to the
last. So widths, and how many blocks there are, are found together. Block i passes
through transitions with probabilities

    p_ij = softmax over j of beta_i            what block j reads: sum of p_ij e_ij(y_i)

and a route drawn by them costs, on average, from the last block to the first,

    cost_i = sum over j of  p_ij (entry_ij + own_j + cost_j)             cost_last = 0

which is the mean over all routes, without listing them. In the same way the likeliest
route is found: best_j = max over i of best_i p_ij (Viterbi).

The likeliest route need not take the likeliest transition anywhere, and it has a taste:
every transition multiplies by a number below 1, so when all p are alike it is the one
with the fewest blocks. And what was said of a cell holds here, too: a mixture of all
routes is trained, and one is kept.

The authors' program, as we read it, computes the same three things.

The rows of p are the weights (blocks - 1, K) of an
:class:`~effdl.nas.gradient.architecture.Architecture` whose edges are the blocks and
whose candidates are their targets; so the loop of the other methods searches here.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from effdl.checks import check_positive

Targets = tuple[tuple[int, ...], ...]
Route = tuple[int, ...]


def route_targets(blocks: int, reach: int) -> Targets:
    """Return for each block but the last which ones it feeds: the next few.

    Args:
        blocks: At least 2.
        reach: How many of the next blocks, at least 1.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> route_targets(4, 2)
        ((1, 2), (2, 3), (3,))
    """
    check_positive(reach=reach)
    if blocks < 2:
        raise ValueError(f"blocks must be at least 2, the first and last, got {blocks}")
    return tuple(
        tuple(range(i + 1, min(i + reach, blocks - 1) + 1)) for i in range(blocks - 1)
    )


def all_routes(targets: Targets) -> Iterator[Route]:
    """Yield every route from block 0 to the last.

    Args:
        targets: As of :func:`route_targets`.

    Example:
        >>> list(all_routes(route_targets(4, 2)))
        [(0, 1, 2, 3), (0, 1, 3), (0, 2, 3)]
    """

    def onwards(route: Route) -> Iterator[Route]:
        if route[-1] == len(targets):
            yield route
        else:
            for target in targets[route[-1]]:
                yield from onwards((*route, target))

    yield from onwards((0,))


def route_probability(weights: Tensor, targets: Targets, route: Sequence[int]) -> float:
    """Return the product of the probabilities along a route.

    Args:
        weights: Of the transitions, (blocks - 1, K): row i in the order of its targets.
        targets: As of :func:`route_targets`.
        route: From 0 to the last block. ``ValueError`` if a transition is none.

    Example:
        >>> halves = torch.full((3, 2), 0.5)
        >>> route_probability(halves, route_targets(4, 2), (0, 2, 3))
        0.25
    """
    found = 1.0
    for source, target in pairwise(route):
        found *= float(weights[source, targets[source].index(target)])
    return found


def chained_cost(
    weights: Tensor, targets: Targets, own: Tensor, entry: Tensor
) -> Tensor:
    """Return the mean cost of a route drawn by the weights, a scalar with slopes.

    Args:
        weights: Of the transitions, (blocks - 1, K), rows that sum to 1.
        targets: As of :func:`route_targets`.
        own: Cost of each block, (blocks,); every route pays for the first.
        entry: Cost of each transition, (blocks - 1, K).

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> halves = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
        >>> free = torch.zeros(2, 2)
        >>> chained_cost(halves, route_targets(3, 2), torch.ones(3), free)
        tensor(2.5000)
    """
    _check_weights(weights, targets)
    if len(own) != len(targets) + 1 or entry.shape != weights.shape:
        raise ValueError(
            f"own must be ({len(targets) + 1},) and entry {tuple(weights.shape)}, got "
            f"{tuple(own.shape)} and {tuple(entry.shape)}"
        )
    cost = {len(targets): torch.zeros_like(own[0])}
    for source in reversed(range(len(targets))):
        onwards = [
            weights[source, k] * (entry[source, k] + own[target] + cost[target])
            for k, target in enumerate(targets[source])
        ]
        cost[source] = torch.stack(onwards).sum()
    return own[0] + cost[0]


def likeliest_route(weights: Tensor, targets: Targets) -> Route:
    """Return the route of the largest probability; of equal ones, any.

    Args:
        weights: Of the transitions, (blocks - 1, K), at least 0.
        targets: As of :func:`route_targets`.

    Example:
        >>> weights = torch.tensor([[0.6, 0.4], [0.5, 0.5], [1.0, 0.0]])
        >>> likeliest_route(weights, route_targets(4, 2))  # not over block 1
        (0, 2, 3)
    """
    _check_weights(weights, targets)
    # Of each block that is reached: logarithm of the probability, and the route.
    best: dict[int, tuple[float, Route]] = {0: (0.0, (0,))}
    for source, log_weights in enumerate(weights.detach().double().log().tolist()):
        if source not in best:
            continue
        so_far, route = best[source]
        for target, log_weight in zip(targets[source], log_weights, strict=False):
            found = (so_far + log_weight, (*route, target))
            best[target] = max(best.get(target, found), found, key=lambda pair: pair[0])
    return best[len(targets)][1]


def _check_weights(weights: Tensor, targets: Targets) -> None:
    """Require a row for each block but the last, with a weight for each target.

    Raises:
        ValueError: If there are others.
    """
    widest = max(map(len, targets))
    if weights.ndim != 2 or len(weights) != len(targets) or weights.shape[1] < widest:
        raise ValueError(
            f"weights must be ({len(targets)}, {widest}), one row for each block but "
            f"the last, got {tuple(weights.shape)}"
        )
