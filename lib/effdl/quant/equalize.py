"""Channels of like range, by scale moved from one layer into the next.

Paper: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, https://arxiv.org/abs/1906.04721, section 4.1.

With one scale for a whole weight, channels of small weights get few steps of the grid.
Scale can be moved between two layers (:mod:`effdl.quant.channel_scales`) for nothing:
channel i of the first is divided by s_i, and the second multiplies by it. With the
ranges r1_i = max|W1_i| of an output channel and r2_i = max|W2_i| of what it meets next,

    s_i = sqrt(r1_i r2_i) / r2_i        makes both ranges sqrt(r1_i r2_i)

For two layers, this makes the sum of the products of both precisions largest, where
precision is the range of a channel over that of the whole weight. Layers overlap, so
all pairs are gone through again and again. Channels that are 0 stay.

What differs: the paper then also moves large biases on, which is left out here. The
ranges of activations do not count: they may become uneven.
"""

import torch
from torch import fx

from effdl.checks import check_positive
from effdl.quant.channel_scales import (
    channel_ranges,
    consecutive_layers,
    input_ranges,
    scale_between_,
)


def equalize_(model: fx.GraphModule, *, rounds: int = 20) -> None:
    """Change weights and biases so that channels have like ranges, and nothing else.

    Args:
        model: Traced, without batch norm, and with two layers that have nothing but
            ReLU between them, or ``ValueError``.
        rounds: How often all pairs of layers are gone through.

    Example:
        >>> from torch import nn
        >>> from effdl.quant.graph import traced
        >>> net = traced(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        >>> x = torch.rand(5, 4)
        >>> before = net(x)
        >>> equalize_(net)
        >>> torch.allclose(net(x), before, atol=1e-5)
        True
        >>> first, second = (net.get_submodule(name) for name in ("0", "2"))
        >>> torch.allclose(channel_ranges(first), input_ranges(second))
        True
    """
    check_positive(rounds=rounds)
    for _ in range(rounds):
        for _, first, second in consecutive_layers(model):
            r1, r2 = channel_ranges(first), input_ranges(second)
            alive = (r1 > 0) & (r2 > 0)
            scale_between_(first, second, torch.where(alive, (r2 / r1).sqrt(), 1))


def inject_imbalance_(model: fx.GraphModule, *, octaves: int = 3) -> None:
    """Scale channels by random powers of 2, so that ranges differ.

    Nothing else changes: powers of 2 are exact in floats. For showing what imbalance
    does where training brought none. Draw inside ``with seeded(...)``.

    Args:
        model: As in :func:`equalize_`.
        octaves: Factors are 2^-octaves to 2^octaves, each power as likely.

    Example:
        >>> from torch import nn
        >>> from effdl.quant.graph import traced
        >>> net = traced(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        >>> x = torch.rand(5, 4)
        >>> before = net(x)
        >>> inject_imbalance_(net)
        >>> torch.equal(net(x), before)
        True
    """
    check_positive(octaves=octaves)
    for _, first, second in consecutive_layers(model):
        power = torch.randint(-octaves, octaves + 1, (len(first.weight),))
        scale_between_(first, second, 2.0 ** power.to(first.weight.dtype))
