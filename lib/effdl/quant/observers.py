"""Which range does an activation have? Watched over batches: calibration.

Paper: Krishnamoorthi, "Quantizing Deep Convolutional Networks for Efficient Inference:
A Whitepaper", 2018, https://arxiv.org/abs/1806.08342, section 2; the moving average is
that of Jacob et al., CVPR 2018, https://arxiv.org/abs/1712.05877, section 3.1.

    extremes          low = smallest value ever seen, high = largest
    moving average    low <- low + (1 - decay) (smallest of this batch - low)

One outlier decides on the extremes for ever. The moving average forgets it, and lags
behind: with few batches it is still near the first one.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from effdl.quant.checks import check_finite


class Observer(Protocol):
    """Sees tensors and says which range to cover; an ``nn.Module``."""

    def observe(self, x: Tensor) -> None:
        """Take a tensor into account, of any shape; refuse NaN and infinity."""

    def limits(self) -> tuple[Tensor, Tensor]:
        """Return the smallest and the largest value to cover, each ()."""


class Extremes(nn.Module):
    """The smallest and the largest value seen.

    Example:
        >>> seen = Extremes()
        >>> seen.observe(torch.tensor([1.0, 2.0])); seen.observe(torch.tensor([-3.0]))
        >>> seen.limits()
        (tensor(-3.), tensor(2.))
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))

    def observe(self, x: Tensor) -> None:
        """Widen the range; not finite values raise ``ValueError``."""
        check_finite(activation=x)
        low, high = x.detach().aminmax()
        self.low.copy_(torch.minimum(self.low, low))
        self.high.copy_(torch.maximum(self.high, high))

    def limits(self) -> tuple[Tensor, Tensor]:
        """Return the range, copied; ``ValueError`` before the first tensor."""
        return seen_range(self.low, self.high)


class MovingAverage(nn.Module):
    """Moving averages of the smallest and the largest value of a batch.

    Args:
        decay: Share of the old average that stays, 0 to below 1.

    Raises:
        ValueError: If it is out of range.

    Example:
        >>> seen = MovingAverage(decay=0.9)
        >>> for batch in torch.tensor([[0.0, 1.0], [0.0, 2.0]]):
        ...     seen.observe(batch)
        >>> seen.limits()
        (tensor(0.), tensor(1.1000))
    """

    low: Tensor
    high: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be 0 to below 1, got {decay}; try 0.99")
        self.decay = decay
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))

    def observe(self, x: Tensor) -> None:
        """Move the averages; not finite values raise ``ValueError``."""
        check_finite(activation=x)
        for average, seen in zip(
            (self.low, self.high), x.detach().aminmax(), strict=True
        ):
            first = average.isinf()
            average.copy_(torch.where(first, seen, average.lerp(seen, 1 - self.decay)))

    def limits(self) -> tuple[Tensor, Tensor]:
        """Return the range, copied; ``ValueError`` before the first tensor."""
        return seen_range(self.low, self.high)


def seen_range(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return copies of both limits, if they have been seen.

    Args:
        low: Smallest value; infinite if none was seen.
        high: Largest value.

    Raises:
        ValueError: If nothing was observed.

    Example:
        >>> seen_range(torch.tensor(0.0), torch.tensor(1.0))
        (tensor(0.), tensor(1.))
    """
    if bool(low.isinf()):
        raise ValueError(
            "nothing was observed yet; run batches through calibrate first"
        )
    return low.clone(), high.clone()
