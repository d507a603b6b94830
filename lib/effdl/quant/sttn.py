"""STTN: a ternary weight as the sum of two binary ones, without a threshold.

Paper: Xu et al., "Soft Threshold Ternary Networks", IJCAI 2020,
https://arxiv.org/abs/2204.01234.

    B1 = sign(W1), B2 = sign(W2)           two weights learn, side by side
    alpha = (sum |W1| + sum |W2|) / (2 n)  one for each filter, n weights in it
    W' = alpha (B1 + B2)                   -2 alpha, 0 or +2 alpha

Where the signs disagree the weight is 0: how many that are is up to training, and no
threshold says it. Convolution is linear, so when training is over the two kernels are
added up, and one ternary convolution is left.

Backward, W' counts as W1 + W2, to which the slope of alpha is added:

    dL/dW1 = g + sign(W1) / (2 n) sum of g (B1 + B2)       the same for W2

Inputs become ternary by two signs, too, one shifted up and one down:

    t(x) = (sign(x - 1/2) + sign(x + 1/2)) / 2       gradient 1 for |x| < 1, else 0

What differs from the authors' program: there each kernel's part of the gradient of
alpha sees its own signs only and is divided by n, not 2 n; latent weights are clipped
to -1 to 1 after every step, which :func:`clip_` does here if it is called.

Before trusting it: W1 = W2 is a trap. Both then have the same gradient and stay equal,
and the weight is binary for ever. So a trained W starts as W - D and W + D, which is
TWN's ternary weight of the threshold D. Training holds twice the weights.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign
from effdl.quant.ternary import rule_of_thumb
from effdl.quant.twn import by_filter


class TwoSigns(nn.Module):
    """Maps two weights to alpha (sign(W1) + sign(W2)), the scale one for each filter.

    A parametrization of two tensors: the layer's weight W is replaced by W - D and
    W + D, with D by the rule of thumb, and both learn.

    Example:
        >>> layer = nn.Linear(3, 1, bias=False)
        >>> layer.weight.data = torch.tensor([[0.9, -0.1, -0.5]])
        >>> _ = parametrize.register_parametrization(layer, "weight", TwoSigns())
        >>> layer.weight.sign().tolist()
        [[1.0, 0.0, -1.0]]
    """

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return W1 and W2 to begin with, each shaped like the weight."""
        rows = by_filter(weight.detach())
        shift = rule_of_thumb(rows)
        return (rows - shift).view_as(weight), (rows + shift).view_as(weight)

    def codes(self, first: Tensor, second: Tensor) -> Tensor:
        """Return -1, 0 and +1, without a gradient: (B1 + B2) / 2."""
        return (sign(first) + sign(second)) / 2

    def scale(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the value of the code 1, 2 alpha, shaped (out, 1, ...)."""
        sizes = by_filter(first).abs() + by_filter(second).abs()
        return sizes.mean(dim=1).reshape([-1] + [1] * (first.ndim - 1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return W', shaped like either."""
        value = self.scale(first, second) * self.codes(first, second)
        return straight_through(first + second, value)


def clip_(model: nn.Module, limit: float = 1.0) -> None:
    """Change the two weights of every layer with :class:`TwoSigns`: clip them.

    Pass it to training as what happens after every step.

    Args:
        model: Whose layers are parametrized.
        limit: Largest absolute value, above 0.

    Raises:
        ValueError: If ``limit`` is not above 0.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> _ = layer.weight.data.fill_(7.0)
        >>> _ = parametrize.register_parametrization(layer, "weight", TwoSigns())
        >>> clip_(layer)
        >>> layer.parametrizations.weight.original1.item()
        1.0
    """
    if not limit > 0:
        raise ValueError(f"limit must be above 0, got {limit}; the authors have 1")
    for layer in model.modules():
        if isinstance(layer, parametrize.ParametrizationList) and any(
            isinstance(step, TwoSigns) for step in layer
        ):
            for original in layer.parameters(recurse=False):
                original.data.clamp_(-limit, limit)


class TernaryStep(nn.Module):
    """Maps inputs to -1, 0 and +1 by two shifted signs.

    Example:
        >>> x = torch.tensor([-2.0, -0.7, 0.1, 0.5, 3.0], requires_grad=True)
        >>> y = TernaryStep()(x)
        >>> y.tolist()
        [-1.0, -1.0, 0.0, 1.0, 1.0]
        >>> y.sum().backward()
        >>> x.grad.tolist()
        [0.0, 1.0, 1.0, 1.0, 0.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return t(x), shaped like x; the gradient is 0 where ``|x|`` is 1 or more."""
        value = (sign(x - 0.5) + sign(x + 0.5)) / 2
        return straight_through(torch.where(x.abs() < 1, x, 0), value)
