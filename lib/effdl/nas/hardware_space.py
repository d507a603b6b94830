"""A search space cut to fit a device: keep the blocks that it runs well.

Paper: Zhang et al., "Fast Hardware-Aware Neural Architecture Search", CVPR Workshops
2020, https://arxiv.org/abs/1910.11609 (HURRICANE).

Devices like different blocks, and no space is best for all. So offer many, inverted
residuals of MobileNetV2 and units of ShuffleNetV2 side by side (a *hybrid* space), and
before any training keep in each layer those k candidates that do most work in a
millisecond, on this device and at this layer's resolution:

    score(candidate, layer) = MACs(candidate, layer) / seconds(candidate, layer)

Multiply-adds stand for what a block can learn, which is a rule of thumb. Seconds are
measured, read from a table, or modelled: see :mod:`effdl.nas.candidate_tables`.

What differs: the paper's search comes after this, in two steps, the later layers
first; here is the space alone, with the simplest score. A skipped layer does no work
and scores 0, so it is the first to go: put it back where depth shall stay free. A score
that knows only work and time never asks for less work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from effdl.checks import check_positive
from effdl.nas.block_space import BlockSpace, ChoiceStage, layer_shapes
from effdl.nas.candidate_tables import Table
from effdl.nas.mbconv_space import mbconv_layer
from effdl.nas.shuffle_space import shuffle_layer


def hybrid_space(in_channels: int, stages: Sequence[ChoiceStage]) -> BlockSpace:
    """Return a space with MobileNetV2's and ShuffleNetV2's candidates in each layer.

    Args:
        in_channels: Channels of what comes from the stem.
        stages: Width (even), layers and stride of each stage.

    Example:
        >>> hybrid_space(8, [ChoiceStage(16, 2, 2)]).sizes  # 6 + 4, and skip
        (10, 11)
    """
    return BlockSpace(
        tuple(
            shuffle_layer(before, after, stride=stride)
            | mbconv_layer(before, after, stride=stride)
            for before, after, stride in layer_shapes(in_channels, stages)
        )
    )


def work_per_second(macs: Table, seconds: Table) -> Table:
    """Return the score of each candidate: multiply-adds per second, 0 for no work.

    Args:
        macs: Multiply-adds of each candidate.
        seconds: Its time; the same layers and names.

    Raises:
        ValueError: If a candidate works, and its time is missing or not positive.

    Example:
        >>> work_per_second(({"k3": 10.0, "skip": 0.0},), ({"k3": 2.0, "skip": 0.0},))
        ({'k3': 5.0, 'skip': 0.0},)
    """
    scores = []
    for number, (work, times) in enumerate(zip(macs, seconds, strict=True)):
        for name, count in work.items():
            if count and not times.get(name, 0) > 0:
                raise ValueError(f"no positive time for {name!r} of layer {number}")
        scores.append({n: count and count / times[n] for n, count in work.items()})
    return tuple(scores)


def keep_best(
    space: BlockSpace, scores: Sequence[Mapping[str, float]], keep: int
) -> BlockSpace:
    """Return the space with the candidates of the highest scores, in the old order.

    Args:
        space: Left as it is.
        scores: One number for each candidate of each layer. Of two equal ones the
            first candidate is kept.
        keep: How many stay in each layer, at least 1; all, where there are fewer.

    Raises:
        ValueError: If scores are for other candidates than the space has.

    Example:
        >>> from torch import nn
        >>> space = BlockSpace(({"a": nn.ReLU, "b": nn.Identity},))
        >>> list(keep_best(space, [{"a": 1.0, "b": 2.0}], 1).layers[0])
        ['b']
    """
    check_positive(keep=keep)
    if [set(layer) for layer in space.layers] != [set(layer) for layer in scores]:
        raise ValueError("scores must name the candidates of every layer of the space")
    layers = []
    for layer, score in zip(space.layers, scores, strict=True):
        best = sorted(layer, key=score.__getitem__, reverse=True)[:keep]
        layers.append({name: make for name, make in layer.items() if name in best})
    return BlockSpace(tuple(layers))
