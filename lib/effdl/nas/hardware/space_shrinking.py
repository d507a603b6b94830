"""Shrinking a block space layer by layer, by what sampled networks score.

Paper: Luo et al., "HSCoNAS: Hardware-Software Co-Design of Efficient DNNs via Neural
Architecture Search", DATE 2021, https://arxiv.org/abs/2103.08325.

Most of a large space is bad. So, in one layer, every candidate is judged by the mean
score of sampled networks that have it; only the best stay; then the next layer is
shrunk, with what is left:

    Q(layer l, candidate k) = mean of score(a) over samples a with a_l = k

If the score is a sum over layers, Q differs between candidates by exactly what they
contribute, and the best one stays. If layers interact, it may not, and what is dropped
never comes back.

What differs: the samples are paired; all candidates of a layer are judged in the same
surroundings, so in the additive case a single sample is enough. Not checked in the
paper: in which order layers come, how many samples it takes, and what exactly is
averaged. Its evolutionary search within a latency is another method's chapter; in a
space that is shrunk, :func:`best_of_draws` draws at random.
"""

from collections.abc import Callable, Sequence

import numpy as np

from effdl.checks import check_positive
from effdl.nas.block_space import BlockSpace, Choices

Score = Callable[[Choices], float]
Left = tuple[tuple[int, ...], ...]  # for each layer, the candidates that are left


def sample_left(left: Left, random: np.random.Generator) -> Choices:
    """Return an architecture drawn uniformly from what is left.

    Args:
        left: Candidates of each layer.
        random: Advanced by the call.

    Example:
        >>> sample_left(((2,), (0,)), np.random.default_rng(0))
        (2, 0)
    """
    return tuple(row[int(random.integers(len(row)))] for row in left)


def shrink_layer(
    left: Left,
    layer: int,
    score: Score,
    random: np.random.Generator,
    *,
    keep: int = 1,
    samples: int = 10,
) -> Left:
    """Return what is left when the worst candidates of one layer are dropped.

    Args:
        left: Candidates of each layer.
        layer: Which one is shrunk, from 0.
        score: Of an architecture; the higher, the better.
        random: Draws the surroundings, the same for all candidates.
        keep: How many candidates stay.
        samples: Surroundings that a candidate is judged in.

    Example:
        >>> utility = (0.0, 2.0, 1.0)
        >>> score = lambda choices: utility[choices[0]]
        >>> shrink_layer(((0, 1, 2),), 0, score, np.random.default_rng(0), keep=2)
        ((1, 2),)
    """
    check_positive(keep=keep, samples=samples)
    around = [sample_left(left, random) for _ in range(samples)]

    def quality(choice: int) -> float:
        with_it = [(*a[:layer], choice, *a[layer + 1 :]) for a in around]
        return float(np.mean([score(choices) for choices in with_it]))

    best = sorted(left[layer], key=quality, reverse=True)[:keep]
    return (*left[:layer], tuple(sorted(best)), *left[layer + 1 :])


def shrink_space(
    space: BlockSpace,
    score: Score,
    random: np.random.Generator,
    *,
    layers: Sequence[int] | None = None,
    keep: int = 1,
    samples: int = 10,
) -> list[Left]:
    """Return what is left before and after each layer is shrunk.

    Args:
        space: All candidates.
        score: Of an architecture; the higher, the better.
        random: Draws the surroundings.
        layers: Which to shrink, in this order. None: all, from the last.
        keep: How many candidates stay in each of them.
        samples: Surroundings that a candidate is judged in.

    Example:
        >>> from torch import nn
        >>> space = BlockSpace(({"relu": nn.ReLU, "skip": nn.Identity},) * 2)
        >>> shrink_space(space, sum, np.random.default_rng(0))[-1]
        ((1,), (1,))
    """
    left: Left = tuple(tuple(range(size)) for size in space.sizes)
    done = [left]
    for layer in reversed(range(len(left))) if layers is None else layers:
        left = shrink_layer(left, layer, score, random, keep=keep, samples=samples)
        done.append(left)
    return done


def best_of_draws(
    left: Left,
    score: Score,
    random: np.random.Generator,
    *,
    allowed: Callable[[Choices], bool],
    draws: int = 100,
) -> Choices:
    """Return the best-scored architecture among random ones that are allowed.

    Args:
        left: Candidates of each layer.
        score: Of an architecture; asked of allowed ones only.
        random: Draws them.
        allowed: Whether an architecture may be taken: its latency is at most T.
        draws: How many are drawn.

    Raises:
        ValueError: If none of them is allowed.

    Example:
        >>> few = lambda choices: sum(choices) < 2
        >>> best_of_draws(((0, 1),) * 2, sum, np.random.default_rng(0), allowed=few)
        (0, 1)
    """
    drawn = {sample_left(left, random) for _ in range(draws)}
    possible = sorted(filter(allowed, drawn))
    if not possible:
        raise ValueError(f"none of {draws} draws is allowed; allow more, or draw more")
    return max(possible, key=score)
