"""Entropy calibration, as in TensorRT: the threshold whose histogram changes least.

Papers: Migacz, "8-bit Inference with TensorRT", GTC 2017 (slides), and Wu et al.,
"Integer Quantization for Deep Learning Inference: Principles and Empirical
Evaluation", 2020, https://arxiv.org/abs/2004.09602, section 4.

For every number i of bins, from ``levels`` to all:

    p    the first i counts, what lies beyond added to the last of them
    q    the first i counts, *without* what lies beyond, merged into ``levels`` groups;
         each group is spread evenly again over those of its bins that are not empty
    KL   sum_j P_j log(P_j / Q_j),    P = p / sum p,  Q = q / sum q

The i with the smallest KL gives the threshold, the edge i width. A small i puts a spike
into the last bin of P that Q lacks; a large one merges many bins, and Q is coarse where
P has detail.

Why this is fast: with running sums of counts, of empty bins and of count log count,
one KL takes a few numbers for each group, not for each bin.

The first bin is given the count of the second: after ReLU it holds all the zeros,
which any grid represents exactly.

What differs: the slides put the threshold into the middle of a bin, (i + 0.5) width.
NVIDIA's program takes the edge, as here.

When not to trust it: it is made for *activations*. Weights have few outliers, and the
slides report no gain from cutting them; TensorRT takes their largest value. Below 8
bits the ``levels`` are few and the divergence prefers small thresholds. It knows
nothing of the loss, as little as the squared error does.
"""

import torch
from torch import Tensor

from effdl.quant.checks import check_levels
from effdl.quant.histogram import Histogram, running_sums


class EntropyRange(Histogram):
    """Covers the range with the smallest KL divergence.

    Args:
        levels: Numbers of the grid that are 0 or more, at least 2: 128 of a symmetric
            grid of 8 bits, as in TensorRT, 256 of an unsigned one.
        bins: Of the histogram; with fewer filled than ``levels`` all is covered.

    Example:
        >>> seen = EntropyRange()
        >>> seen.observe(torch.arange(100_000) / 100_000)
        >>> round(seen.limits()[1].item(), 2)  # an even distribution is not clipped
        1.0
    """

    def __init__(self, levels: int = 128, *, bins: int = 2048) -> None:
        super().__init__(bins)
        check_levels(levels)
        self.levels = levels

    def threshold(self) -> Tensor:
        """Return the edge with the smallest divergence, at most the largest value."""
        largest = super().threshold().double()
        found = divergences(self.filled(), self.levels)
        if not len(found):
            return largest
        edges = int(found.argmin()) + self.levels
        return torch.minimum(edges * self.width, largest)


def divergences(counts: Tensor, levels: int = 128) -> Tensor:
    """Return KL for i = levels, .., bins, float64; infinite where Q lacks the spike.

    Args:
        counts: (bins,), the last of them not 0. The first is not used.
        levels: Groups; below 2 raises ``ValueError``.

    Returns:
        (bins - levels + 1,), or (0,) if there are fewer bins than levels.

    Example:
        >>> divergences(torch.tensor([7, 1, 1, 1, 5]), 2).round(decimals=3)
        tensor([0.3440, 0.4150, 0.3840, 0.1620], dtype=torch.float64)
    """
    check_levels(levels)
    bins = len(counts)
    if bins < levels:
        return torch.zeros(0, dtype=torch.float64)
    p = counts.double().clone()
    p[0] = p[1]
    total, inside = p.sum(), running_sums(p)  # inside[i]: of the first i bins
    used, detail = running_sums((p > 0).double()), running_sums(p.xlogy(p))
    i = torch.arange(levels, bins + 1)
    # Group g holds the bins j with floor(j levels / i) = g.
    ends = (torch.arange(levels + 1) * i.unsqueeze(1) + levels - 1) // levels
    merged, spread = inside[ends].diff(dim=1), used[ends].diff(dim=1)
    mean = torch.where(spread > 0, merged / spread.clamp(min=1), 1)
    last, beyond = p[i - 1], total - inside[i]
    spike = last + beyond
    of_p = detail[i - 1] + spike.xlogy(spike)
    of_q = merged.xlogy(mean).sum(1) + beyond.xlogy(mean[:, -1])
    found = (of_p - of_q) / total - total.log() + inside[i].log()
    return torch.where((last == 0) & (beyond > 0), torch.inf, found)
