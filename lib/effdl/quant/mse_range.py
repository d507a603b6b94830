"""The range of least squared error: clipping against rounding, in one sum.

Paper: Nagel et al., "A White Paper on Neural Network Quantization", 2021,
https://arxiv.org/abs/2106.08295, section 3.1.

A grid of ``levels`` numbers 0, s, .., T with s = T / (levels - 1) rounds what is below
T and clips what is above. A larger T clips less and rounds more coarsely:

    E(T) = sum over bins of  count (centre - nearest number of the grid)^2

The T with the smallest E is taken, of all edges of the histogram. All of them are
tried: with running sums of count, count centre, count centre^2, the error of a grid
takes one difference of sums for each of its numbers.

What differs: the paper moves both ends of the range; here it is one threshold on |x|.
The few bits of a coarse grid make the best T small. With 8 bits it is near the largest
value unless there are outliers. How many bits there are has to be said: ``levels``.
"""

import torch
from torch import Tensor

from effdl.quant.checks import check_levels
from effdl.quant.histogram import Histogram, running_sums


class MseRange(Histogram):
    """Covers the range of least squared error.

    Args:
        levels: Numbers of the grid that are 0 or more, at least 2: 128 of a symmetric
            grid of 8 bits, 256 of an unsigned one.
        bins: Of the histogram.

    Example:
        >>> seen = MseRange(4)
        >>> seen.observe(torch.cat([torch.arange(300) / 100, torch.tensor([9.0])]))
        >>> round(seen.limits()[1].item(), 1)
        2.7
    """

    def __init__(self, levels: int = 128, *, bins: int = 2048) -> None:
        super().__init__(bins)
        check_levels(levels)
        self.levels = levels

    def threshold(self) -> Tensor:
        """Return the edge with the smallest error, at most the largest value."""
        edges = int(squared_errors(self.filled(), self.levels).argmin()) + 1
        return torch.minimum(edges * self.width, super().threshold().double())


def squared_errors(counts: Tensor, levels: int) -> Tensor:
    """Return E for every edge, (bins,), float64, where the width of a bin is 1.

    Args:
        counts: (bins,).
        levels: Numbers of the grid that are 0 or more; below 2 raises ``ValueError``.

    Example:
        >>> squared_errors(torch.tensor([1, 0, 1]), 2)  # centres 0.5 and 2.5
        tensor([2.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    check_levels(levels)
    counts = counts.double()
    bins = len(counts)
    centres = torch.arange(bins, dtype=torch.float64) + 0.5
    sums = [running_sums(counts * centres**power) for power in (0, 1, 2)]
    edges = torch.arange(1, bins + 1, dtype=torch.float64)
    step = (edges / (levels - 1)).unsqueeze(1)  # (edges, 1)
    number = torch.arange(levels, dtype=torch.float64)
    # Bins whose centre is half a step or more above a number belong to the next one.
    first = ((number - 0.5) * step - 0.5).ceil().clamp(0, bins).long()
    ends = torch.cat([first, torch.full_like(first[:, :1], bins)], 1)
    count, once, twice = (total[ends].diff(dim=1) for total in sums)
    value = number * step
    return (twice - 2 * value * once + value**2 * count).sum(1)
