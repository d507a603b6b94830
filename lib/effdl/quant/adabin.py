"""AdaBin: two values, but which two is learned.

Paper: Tu et al., "AdaBin: Improving Binary Neural Networks with Adaptive Binary Sets",
ECCV 2022, https://arxiv.org/abs/2208.08084, section 3.

    weights, each filter     V = a sign((W - b) / a) + b
                             b = mean(W),  a = sqrt(mean((W - b)^2))
    activations, each layer  y = a sign((x - b) / a) + b     a, b learned, first 1, 0
    Maxout, each channel     p max(x, 0) - q max(-x, 0)      learned, first 1, 0.25

So the two values are b - a and b + a. The arithmetic is still one of bits. For signs A
and B, and a window of K numbers,

    sum (a A + b)(a' B + b') = a a' sum A B + a b' sum A + b a' sum B + K b b'

Sum A B is the XNOR convolution. Sum A is a box filter, one for all filters; sum B a
number for each filter, known in advance; the last is a constant.

b is the mean of W; the mean of V is b only if as many weights lie above it as below.
And a is not the best for that b: least squares give mean|W - b|, which is smaller.

What differs: the authors' program returns a (sign + b) for activations, not a sign + b;
the two agree where a = 1 or b = 0, as at the start. Ours is the paper's. The slope of
the weights' sign narrows as in :mod:`effdl.quant.ir_net`; in their program it does, on
demand, from t = 0.001 instead of 0.1 on.

When not to trust it: the expansion is exact only without padding, or padded with one of
the two values.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign
from effdl.quant.bireal import polynomial
from effdl.quant.ir_net import TINY, Narrowing, tanh_sign


class BinarySet(NamedTuple):
    """The two values centre - distance and centre + distance.

    Attributes:
        distance: a, above 0.
        centre: b, of the same shape.
    """

    distance: Tensor
    centre: Tensor


def weight_sets(weight: Tensor) -> BinarySet:
    """Return deviation and mean of each filter, (filters, 1, ...).

    Args:
        weight: (filters, ...).

    Example:
        >>> found = weight_sets(torch.tensor([[1.0, 5.0], [2.0, 2.0]]))
        >>> found.distance.flatten().round(decimals=4), found.centre.flatten()
        (tensor([2., 0.]), tensor([3., 2.]))
    """
    rows = weight.flatten(1)
    centre = rows.mean(dim=1, keepdim=True)
    variance = (rows - centre).square().mean(dim=1, keepdim=True)
    shape = [-1] + [1] * (weight.ndim - 1)
    return BinarySet((variance + TINY).sqrt().view(shape), centre.view(shape))


class AdaptiveWeight(Narrowing):
    """Maps a weight to two values for each filter.

    Example:
        >>> AdaptiveWeight()(torch.tensor([[1.0, 5.0]])).round(decimals=4)
        tensor([[1., 5.]])
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return V, of the shape (filters, ...) of the weight."""
        distance, centre = weight_sets(weight)
        return distance * tanh_sign((weight - centre) / distance, self.t) + centre


class AdaptiveSign(nn.Module):
    """Binarizes activations to two learned values.

    Args:
        _channels: Not used, so that it may stand where other binarizers do.

    Attributes:
        distance: a, (), at first 1.
        centre: b, (), at first 0; also the threshold.

    Example:
        >>> layer = AdaptiveSign()
        >>> _ = layer.centre.data.fill_(2.0)
        >>> layer(torch.tensor([1.9, 2.1])).tolist()
        [1.0, 3.0]
    """

    def __init__(self, _channels: int | None = None) -> None:
        super().__init__()
        self.distance = nn.Parameter(torch.ones(()))
        self.centre = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, shaped like the input."""
        ratio = (x - self.centre) / self.distance
        bits = straight_through(polynomial(ratio), sign(ratio))
        return self.distance * bits + self.centre


class Maxout(nn.Module):
    """A PReLU whose upper branch has a learned slope, too.

    Args:
        channels: C of the input.

    Attributes:
        above: p, (C, 1, 1), at first 1.
        below: q, of the same shape, at first 0.25.

    Example:
        >>> Maxout(1)(torch.tensor([[[[-4.0, 2.0]]]])).tolist()
        [[[[-1.0, 2.0]]]]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_positive(channels=channels)
        self.above = nn.Parameter(torch.ones(channels, 1, 1))
        self.below = nn.Parameter(torch.full((channels, 1, 1), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Return what is bent, shaped like the input (N, C, H, W)."""
        check_images(x, channels=len(self.above))
        return self.above * x.relu() - self.below * (-x).relu()


def conv_by_signs(
    x_signs: Tensor, x_set: BinarySet, w_signs: Tensor, w_sets: BinarySet
) -> Tensor:
    """Return the convolution of two-valued numbers, computed from signs, no padding.

    Args:
        x_signs: A, -1 and +1, (N, C, H, W).
        x_set: a and b of the activations, each ().
        w_signs: B, -1 and +1, (n, C, k, k).
        w_sets: a' and b' of the filters, each (n, 1, 1, 1).

    Raises:
        ValueError: If a sign is not -1 or +1.

    Example:
        >>> one, signs = torch.tensor(1.0), torch.ones(1, 1, 2, 2)
        >>> sets = BinarySet(one.view(1, 1, 1, 1), 2 * one.view(1, 1, 1, 1))
        >>> conv_by_signs(signs, BinarySet(one, one), signs, sets).item()  # 4 * 2 * 3
        24.0
    """
    check_images(x_signs, channels=w_signs.shape[1])
    for name, signs in {"x_signs": x_signs, "w_signs": w_signs}.items():
        if not bool((signs.abs() == 1).all()):
            raise ValueError(f"{name} must be -1 and +1 only; use binarize.sign")
    a, b = x_set
    a_w, b_w = (v.view(1, -1, 1, 1) for v in w_sets)
    both = F.conv2d(x_signs, w_signs)  # an XNOR and a count, in bits
    box = F.conv2d(x_signs, torch.ones_like(w_signs[:1]))
    of_filter = w_signs.sum(dim=(1, 2, 3)).view(1, -1, 1, 1)
    window = w_signs[0].numel()
    return a * a_w * both + a * b_w * box + b * a_w * of_filter + window * b * b_w
