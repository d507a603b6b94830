"""SpaceEvo: search for a search space whose networks are quick in INT8.

Paper: Wang et al., "SpaceEvo: Hardware-Friendly Search Space Design for Efficient INT8
Inference", ICCV 2023, https://arxiv.org/abs/2303.08308, section 4.

A space is a row of elastic stages. Each has one kind of block and a few widths; a
network of the space has one of the widths in each stage. How good is a space?

    score(space) = mean quality of its best networks with INT8 latency <= budget

Evolution changes one stage at a time: another block, or other widths. Milliseconds come
from a table of measured stages, and so must the quality, because a search asks for
thousands of networks. The table of quality here is an additive fit,

    quality(net) = mean + sum over stages of what the stage's choice adds

to the accuracies of some trained networks. It is a prediction, and says nothing on
choices that go well together; state how well it ranks networks that it has not seen.

What differs: the authors distil each quantized stage from a teacher network to fill
their table, and train a supernet over the space that is found. Here all networks of a
space are listed instead of drawn, because there are few. Which networks their score
averages over we state as we use it: the best ``top``, and a missing one counts 0.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from effdl.checks import check_positive
from effdl.quant.int8_blocks import Block, Choice

Net = tuple[Choice, ...]
Measure = Callable[[Net], float]


class ElasticStage(NamedTuple):
    """One stage of a space.

    Attributes:
        block: The one kind of block.
        widths: What a network may choose from.
    """

    block: Block
    widths: tuple[int, ...]


Space = tuple[ElasticStage, ...]


def nets_of(space: Space) -> Iterator[Net]:
    """Yield every network of a space, the last stage changing fastest.

    Args:
        space: Its stages.

    Example:
        >>> from effdl.quant.int8_blocks import conv_relu
        >>> stage = ElasticStage(conv_relu, (8, 16))
        >>> [[c.width for c in net] for net in nets_of((stage, stage))]
        [[8, 8], [8, 16], [16, 8], [16, 16]]
    """
    for widths in product(*(stage.widths for stage in space)):
        chosen = zip(space, widths, strict=True)
        yield tuple(Choice(stage.block, width) for stage, width in chosen)


def space_score(
    space: Space, quality: Measure, latency: Measure, budget: float, *, top: int = 3
) -> float:
    """Return the mean quality of the best networks of a space that keep the budget.

    Args:
        space: Its stages.
        quality: Of a network, 0 or more, the higher the better.
        latency: Of a network, in the unit of the budget.
        budget: Above 0.
        top: How many networks count. Where fewer keep the budget, each that is missing
            counts 0.

    Raises:
        ValueError: If ``budget`` is not positive, or ``top`` below 1.

    Example:
        >>> from effdl.quant.int8_blocks import conv_relu
        >>> space = (ElasticStage(conv_relu, (8, 16, 32)),)
        >>> width = lambda net: float(net[0].width)
        >>> space_score(space, width, width, budget=20, top=2)
        12.0
    """
    check_positive(top=top)
    if not budget > 0:
        raise ValueError(
            f"budget must be positive, got {budget}; nothing takes no time"
        )
    kept = (net for net in nets_of(space) if latency(net) <= budget)
    return sum(sorted(map(quality, kept))[-top:]) / top


def mutated_space(
    space: Space,
    blocks: Sequence[Block],
    widths: Sequence[tuple[int, ...]],
    random: np.random.Generator,
) -> Space:
    """Return a space that differs in the block or the widths of one stage.

    Args:
        space: Where to start.
        blocks: What a stage may be made of.
        widths: What a stage may let choose from.
        random: Draws the stage, and the change among all that there are.

    Raises:
        ValueError: If there is nothing to change to.

    Example:
        >>> from effdl.quant.int8_blocks import conv_relu, depthwise_relu
        >>> space = (ElasticStage(conv_relu, (8, 16)),)
        >>> random = np.random.default_rng(0)
        >>> found = mutated_space(space, [conv_relu, depthwise_relu], [(8, 16)], random)
        >>> found[0].block.__name__
        'depthwise_relu'
    """
    position = int(random.integers(len(space)))
    old = space[position]
    changes = [old._replace(block=b) for b in blocks if b is not old.block]
    changes += [old._replace(widths=w) for w in widths if w != old.widths]
    if not changes:
        raise ValueError("blocks and widths hold nothing else; give two of one of them")
    new = changes[int(random.integers(len(changes)))]
    return (*space[:position], new, *space[position + 1 :])


def additive_quality(
    nets: Sequence[Net], qualities: Sequence[float], *, pull: float = 0.1
) -> Measure:
    """Return a prediction of quality: what each stage's choice adds, fitted.

    Least squares with ``pull`` times the squares of the additions, which brings choices
    that were never tried to 0.

    Args:
        nets: Networks of as many stages each.
        qualities: What was measured for each.
        pull: Above 0; for one network in which a choice stands, 1 halves the addition.

    Raises:
        ValueError: If there are not as many qualities as networks, or none, or a number
            is not finite, or ``pull`` not positive.

    Example:
        >>> from effdl.quant.int8_blocks import conv_relu
        >>> nets = [(Choice(conv_relu, width),) for width in (8, 16)]
        >>> predict = additive_quality(nets, [0.8, 0.9], pull=1e-6)
        >>> round(predict(nets[0]), 3), round(predict((Choice(conv_relu, 99),)), 3)
        (0.8, 0.85)
    """
    if not nets or len(nets) != len(qualities) or not np.isfinite(qualities).all():
        raise ValueError(
            f"qualities must be a finite number for each of {len(nets)} networks, got "
            f"{qualities}; train at least one"
        )
    if not 0 < pull < math.inf:
        raise ValueError(f"pull must be positive and finite, got {pull}; try 0.1")
    names = sorted({key for net in nets for key in _keys(net)})
    x = np.array([[float(name in _keys(net)) for name in names] for net in nets])
    mean = float(np.mean(qualities))
    additions: NDArray[np.float64] = np.linalg.solve(
        x.T @ x + pull * np.eye(len(names)), x.T @ (np.array(qualities) - mean)
    )
    table = dict(zip(names, additions.tolist(), strict=True))
    return lambda net: mean + sum(table.get(key, 0.0) for key in _keys(net))


def _keys(net: Net) -> list[tuple[int, str, int]]:
    return [(i, getattr(b, "__name__", repr(b)), w) for i, (b, w) in enumerate(net)]
