"""Percentile calibration: leave out the largest few of all values.

Paper: Wu et al., "Integer Quantization for Deep Learning Inference: Principles and
Empirical Evaluation", 2020, https://arxiv.org/abs/2004.09602, sections 4 and 6.

The range ends where a share of all |x| is inside:

    T = smallest bin edge with  count(|x| <= T) >= share / 100  count

With a share of 100 it is the largest value. The paper compares 99.9, 99.99, 99.999 and
99.9999; which is best differs from network to network.

Before trusting it: the share is of *values*, zeros of a ReLU included, and it does not
know how many bits the grid has. The edge is exact to the width of a bin.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

from effdl.quant.histogram import Histogram


class PercentileRange(Histogram):
    """Covers a share of all absolute values.

    Args:
        share: In per cent, above 0 to 100.
        bins: Of the histogram.

    Raises:
        ValueError: If the share is out of range.

    Example:
        >>> seen = PercentileRange(99.0, bins=1000)
        >>> seen.observe(torch.arange(1, 1001) / 1000)
        >>> low, high = seen.limits()
        >>> round(high.item(), 3)
        0.991
    """

    def __init__(self, share: float = 99.99, *, bins: int = 2048) -> None:
        super().__init__(bins)
        _check_share(share)
        self.share = share

    def threshold(self) -> Tensor:
        """Return the edge below which the share lies, at most the largest value."""
        edges = bins_of_share(self.filled(), self.share)
        return torch.minimum(edges * self.width, super().threshold().double())


def bins_of_share(counts: Tensor, share: float) -> int:
    """Return how many bins, from the first on, hold a share of all counts.

    Args:
        counts: (bins,), int64.
        share: In per cent, above 0 to 100, or ``ValueError``.

    Example:
        >>> bins_of_share(torch.tensor([90, 9, 0, 1]), 99.0)
        2
    """
    _check_share(share)
    total = counts.cumsum(0)
    # A fraction, because 99.9 / 100 of 1000 must be 999, not a hair more.
    needed = math.ceil(Fraction(str(share)) / 100 * int(total[-1]))
    return int(torch.searchsorted(total, needed)) + 1


def _check_share(share: float) -> None:
    if not 0 < share <= 100:
        raise ValueError(f"share must be above 0 to 100 per cent, got {share}")
