"""IR-Net: weights balanced before the sign, and a slope that narrows in training.

Paper: Qin et al., "Forward and Backward Information Retention for Accurate Binary
Neural Networks", CVPR 2020, https://arxiv.org/abs/1909.10788, section 3.

    W' = (W - mean(W)) / std(W)                 for each filter
    V = sign(W') 2^s,  s = round(log2(mean|W'|))        a shift instead of a product
    slope of the sign:  k t (1 - tanh(t x)^2), that of k tanh(t x),
        t = 0.1 * 100^progress, from 0.1 to 10,  k = max(1 / t, 1)

A sign tells most if +1 and -1 are equally frequent: the entropy H(p) is largest, one
bit, at p = 1 / 2. Centring does that for symmetric weights. It is the *median* that
does it for all; the mean does not.

At first, t = 0.1, the slope is 1 over a wide range: every weight learns. In the end it
is near that of the sign: 10 in the middle, 0 beyond 0.3. Where t < 1, k keeps the slope
at 0 at 1; else it is t.

What differs: the standard deviation divides by the number of weights, PyTorch's by one
less. Slope and schedule are those that a program derived from the authors' has; the
power of two was not checked against a program.

When not to trust it: progress has to be told, see :func:`set_progress_`. Who forgets
trains with the first slope to the end.
"""

import torch
from torch import Tensor, nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign

FIRST, LAST = 0.1, 10.0  # t of the paper
TINY = 1e-12  # a filter of equal weights has no deviation


def sharpness(progress: float) -> float:
    """Return t.

    Args:
        progress: Share of the training that is over, 0 to 1.

    Raises:
        ValueError: If it is out of range.

    Example:
        >>> [round(sharpness(p), 3) for p in (0.0, 0.5, 1.0)]
        [0.1, 1.0, 10.0]
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be 0 to 1, got {progress}; divide by epochs")
    return float(FIRST * (LAST / FIRST) ** progress)


def tanh_sign(x: Tensor, t: float) -> Tensor:
    """Return the sign, +1 at 0, with the slope of k tanh(t x).

    Args:
        x: Floats, of any shape.
        t: Above 0.

    Raises:
        ValueError: If ``t`` is not.

    Example:
        >>> x = torch.zeros(1, requires_grad=True)
        >>> for t in (0.1, 10.0):
        ...     print(torch.autograd.grad(tanh_sign(x, t), x)[0].item())
        1.0
        10.0
    """
    if not t > 0:
        raise ValueError(f"t must be above 0, got {t}; use sharpness(progress)")
    return straight_through(max(1 / t, 1) * torch.tanh(t * x), sign(x))


def standardized(weight: Tensor) -> Tensor:
    """Return W': each filter with mean 0 and deviation 1, or 0 if all are equal.

    Args:
        weight: (filters, ...).

    Example:
        >>> standardized(torch.tensor([[1.0, 3.0], [5.0, 5.0]]))
        tensor([[-1.,  1.],
                [ 0.,  0.]])
    """
    rows = weight.flatten(1)
    centred = rows - rows.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return (centred / (variance + TINY).sqrt()).view_as(weight)


class Narrowing(nn.Module):
    """What has a slope that narrows in training.

    Args:
        _channels: Not used, so that it may stand where other binarizers do.

    Attributes:
        t: Sharpness of the slope.

    Example:
        >>> Narrowing().t
        0.1
    """

    def __init__(self, _channels: int | None = None) -> None:
        super().__init__()
        self.t = FIRST


class BalancedSign(Narrowing):
    """Maps a weight to V.

    A filter of equal weights becomes 0: after centring nothing is left of it.

    Example:
        >>> BalancedSign()(torch.tensor([[1.0, 3.0, 8.0, 9.0]]))
        tensor([[-1., -1.,  1.,  1.]])
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return V, of the shape (filters, ...) of the weight."""
        balanced = standardized(weight)
        size = balanced.detach().abs().flatten(1).mean(dim=1)
        power = torch.exp2(size.log2().round())
        shape = [-1] + [1] * (weight.ndim - 1)
        return power.reshape(shape) * tanh_sign(balanced, self.t)


class TanhSign(Narrowing):
    """The sign of activations.

    Example:
        >>> TanhSign()(torch.tensor([-0.5, 2.0]))
        tensor([-1.,  1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the signs."""
        return tanh_sign(x, self.t)


def set_progress_(model: nn.Module, progress: float) -> int:
    """Return how many layers narrow in a model, after setting their slopes in place.

    Args:
        model: Any; signs of weights and of activations are found.
        progress: Share of the training that is over, or ``ValueError``.

    Example:
        >>> layer = TanhSign()
        >>> set_progress_(nn.Sequential(layer), 1.0), layer.t
        (1, 10.0)
    """
    t = sharpness(progress)
    found = [m for m in model.modules() if isinstance(m, Narrowing)]
    for layer in found:
        layer.t = t
    return len(found)
