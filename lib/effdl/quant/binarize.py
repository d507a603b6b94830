"""One bit for a weight: its sign, or a coin that falls like its sign on average.

Paper: Courbariaux et al., "BinaryConnect: Training Deep Neural Networks with Binary
Weights during Propagations", NeurIPS 2015, https://arxiv.org/abs/1511.00363, section 2.

    sign            b = +1 if w >= 0, else -1
    hard sigmoid    p = max(0, min(1, (w + 1) / 2))
    coin            b = +1 with probability p, -1 with probability 1 - p

At 0 the sign is +1: a bit has no third value. ``torch.sign`` returns 0 there.

The coin's mean is 2 p - 1 = max(-1, min(1, w)), so on -1 to 1 it is w itself: what the
rounding does to w has the mean 0. Its variance is 1 - w^2, the largest at w = 0.

What differs from ``torch.nn.functional.hardsigmoid``: that one is max(0, min(1, w / 6 +
1 / 2)), which rises from -3 to 3 and has a third of the slope.

These functions have no gradient. :mod:`effdl.quant.straight_signs` gives them one.
"""

import torch
from torch import Tensor


def sign(w: Tensor) -> Tensor:
    """Return +1 where w is 0 or more and -1 elsewhere, without a gradient.

    NaN stays NaN.

    Args:
        w: Floats, of any shape.

    Example:
        >>> sign(torch.tensor([-0.3, 0.0, 2.0]))
        tensor([-1.,  1.,  1.])
    """
    w = w.detach()
    return torch.where(w >= 0, 1, torch.where(w < 0, -1, w))


def hard_sigmoid(w: Tensor) -> Tensor:
    """Return (w + 1) / 2, clipped to 0 to 1.

    Its gradient is 1 / 2 from -1 to 1 and 0 elsewhere. NaN stays NaN.

    Args:
        w: Floats, of any shape.

    Example:
        >>> hard_sigmoid(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]))
        tensor([0.0000, 0.0000, 0.5000, 1.0000, 1.0000])
    """
    return ((w + 1) / 2).clamp(0, 1)


def coin_sign(w: Tensor) -> Tensor:
    """Return +1 with the probability of the hard sigmoid and -1 else, independently.

    The coins are PyTorch's generator's. There is no gradient. NaN stays NaN.

    Args:
        w: Floats, of any shape.

    Example:
        >>> coin_sign(torch.tensor([-1.0, 1.0, 7.0]))
        tensor([-1.,  1.,  1.])
        >>> set(coin_sign(torch.zeros(99)).tolist()) == {-1.0, 1.0}
        True
    """
    w = w.detach()
    p, drawn = hard_sigmoid(w), torch.rand_like(w)  # from 0 to below 1
    return torch.where(drawn < p, 1, torch.where(drawn >= p, -1, w))
