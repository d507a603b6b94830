"""A histogram of absolute values that grows: what calibrations look at.

Paper: Wu et al., "Integer Quantization for Deep Learning Inference: Principles and
Empirical Evaluation", 2020, https://arxiv.org/abs/2004.09602, section 4.

An activation is seen batch by batch. Kept is only how many values had an |x| above
k width up to (k + 1) width, for k = 0 .. bins - 1. The first bin has 0, too.

    first batch    width = largest |x| / bins
    later          while a larger |x| comes: width doubles, two bins become one

No count is ever spread or guessed, so they stay exact whatever the order of batches.
What a calibration makes of the counts is one function,

    threshold()    up to which |x| the grid should reach

and :meth:`Histogram.limits` cuts the seen range there: after ReLU it begins at 0, so
that the unsigned grid, the natural one, uses all its values; with
``ActivationQuantizer(..., symmetric=True)`` it is symmetric, as in TensorRT.

What differs: NVIDIA's program adds bins of the old width instead of doubling it, so
its histogram grows with the largest value, without a bound.
"""

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.quant.checks import check_finite
from effdl.quant.observers import seen_range


class Histogram(nn.Module):
    """Counts absolute values; by itself it covers the largest.

    Args:
        bins: Even; more of them resolve more.

    Raises:
        ValueError: If ``bins`` is odd.

    Attributes:
        width: Of a bin, (), float64; 0 as long as only zeros were seen.
        low: Smallest value seen.
        high: Largest value seen.

    Example:
        >>> seen = Histogram(4)
        >>> seen.observe(torch.tensor([0.1, -2.0, 4.0]))
        >>> seen.filled(), seen.width.item()
        (tensor([1, 1, 0, 1]), 1.0)
        >>> seen.observe(torch.tensor([7.0]))
        >>> seen.filled(), seen.width.item()
        (tensor([2, 1, 0, 1]), 2.0)
    """

    counts: Tensor
    width: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, bins: int = 2048) -> None:
        super().__init__()
        check_positive(bins=bins)
        if bins % 2:
            raise ValueError(f"bins must be even, got {bins}; pairs are merged")
        self.register_buffer("counts", torch.zeros(bins, dtype=torch.int64))
        self.register_buffer("width", torch.zeros((), dtype=torch.float64))
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))

    def observe(self, x: Tensor) -> None:
        """Count values; not finite ones raise ``ValueError``."""
        check_finite(activation=x)
        low, high = x.detach().aminmax()
        self.low.copy_(torch.minimum(self.low, low))
        self.high.copy_(torch.maximum(self.high, high))
        size = x.detach().abs().double().flatten()
        self._reach(size.max())
        # 0 / 0, if there are only zeros, is the first bin like any 0.
        bins = (size / self.width).nan_to_num().ceil().long() - 1
        bins = bins.clamp(0, len(self.counts) - 1)
        self.counts += torch.bincount(bins, minlength=len(self.counts))

    def filled(self) -> Tensor:
        """Return the counts up to the last that is not 0; ``ValueError`` if none is."""
        seen_range(self.low, self.high)
        return self.counts[: int(self.counts.nonzero().max()) + 1].clone()

    def threshold(self) -> Tensor:
        """Return up to which absolute value the grid should reach: here the largest."""
        low, high = seen_range(self.low, self.high)
        return torch.maximum(-low, high)

    def limits(self) -> tuple[Tensor, Tensor]:
        """Return the seen range, cut at the threshold; ``ValueError`` if none was."""
        low, high = seen_range(self.low, self.high)
        threshold = self.threshold().to(low.dtype)
        return low.clamp(-threshold, threshold), high.clamp(-threshold, threshold)

    def _reach(self, largest: Tensor) -> None:
        bins = len(self.counts)
        if self.width == 0:
            self.width.copy_(largest / bins)
        while self.width * bins < largest * (1 - 1e-9):  # rounding is no reason
            pairs = self.counts.reshape(-1, 2).sum(1)
            self.counts.copy_(torch.cat([pairs, torch.zeros_like(pairs)]))
            self.width.mul_(2)


def running_sums(values: Tensor) -> Tensor:
    """Return the sums of the first 0, 1, .., n values, (n + 1,).

    Args:
        values: (n,).

    Example:
        >>> running_sums(torch.tensor([2.0, 3.0]))
        tensor([0., 2., 5.])
    """
    return torch.cat([values.new_zeros(1), values.cumsum(0)])
