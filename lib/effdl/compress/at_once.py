"""Channels, bits and a teacher in one training, beside which orders are measured.

Paper: Zhou and Shen, "Prune-Quantize-Distill: An Ordered Pipeline for Efficient Neural
Network Compression", 2026, https://arxiv.org/abs/2604.04988, which has three trainings
in a row.

    remove channels, put quantizers in, train once with the teacher's answers

Nothing is left to be ordered: the network is small and rounds from the first step, and
the teacher is there to the last. With as many epochs as three steps together it is
what an order has to beat.

What differs from the order that prunes, quantizes and distils: that one trains twice
without the teacher on the way, and its learning rate rises and falls three times.
"""

from torch import Tensor, nn

from effdl.compress.orders import CALIBRATION, distilled, without_channels
from effdl.compress.rounding import rounded
from effdl.data.digits import Split
from effdl.distill.recipe import Recipe


def at_once(
    network: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    keep: float,
    bits: int,
    taught: Tensor,
) -> nn.Module:
    """Return the network pruned and rounding, distilled in one training.

    Raises ``ValueError`` if the share or the bits are out of range, the network rounds
    already, or there is not one answer for each input.

    Args:
        network: A chain in floats. It is left as it is.
        split: To train on.
        recipe: Of the one training.
        keep: Share of channels that stays in every layer but the last.
        bits: Of all weights, 2 to 16.
        taught: The teacher's logits for every input of the split, (N, C).

    Example:
        >>> import torch
        >>> from effdl.blocks import plain_net
        >>> split = Split(torch.rand(50, 1, 16, 16), torch.arange(50) % 10)
        >>> small = at_once(plain_net(4), split, Recipe(epochs=1), keep=0.5, bits=4,
        ...                 taught=torch.rand(50, 10))
        >>> small(split.inputs).shape
        torch.Size([50, 10])
    """
    smaller = without_channels(network, keep, split.inputs)
    rounding = rounded(smaller, bits, split.inputs[:CALIBRATION])
    return distilled(rounding, split, recipe, taught=taught)
