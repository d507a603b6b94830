"""EdMIPS: a mixture of quantizers for one weight, and a single convolution.

Paper: Cai and Vasconcelos, "Rethinking Differentiable Search for Mixed-Precision Neural
Networks", CVPR 2020, https://arxiv.org/abs/2004.05795, section 4.

    W' = sum over i of  p_i Q_i(W)        p = softmax(alpha)      one shared weight W
    A' = sum over j of  q_j Q_j(A)        q = softmax(beta)
    y  = conv(A', W')

A convolution is linear in its weight, so this y is the weighted sum of all K_w K_a
convolutions that a supernet would run. It costs one, and 2 K roundings.

    E[b] = sum over i of  p_i b_i         d E[b] / d alpha_i = p_i (b_i - E[b])

W, alpha and beta learn together from the training data, see
:mod:`effdl.quant.edmips_search`.

What differs: our quantizers are those of :mod:`effdl.quant.quantizers`; the paper fits
them to a normal distribution, and activations to half of one. All candidates of an
activation share the range that was observed.

When not to trust it: the mixture need not look like what is cut out of it. A mean of
roundings is finer than any of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.quant.fake import fake_quantize
from effdl.quant.grid import affine_grid
from effdl.quant.observers import Observer
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


class MixedWeight(nn.Module):
    """The mixture of several roundings of one weight.

    Args:
        candidates: Bits, 2 to 16 each.

    Raises:
        ValueError: If there is none.

    Attributes:
        logits: alpha, (K,), a parameter; 0 at first.

    Example:
        >>> mixed = MixedWeight([2, 8])
        >>> mixed(torch.tensor([[1.0, 0.125]])).round(decimals=2)
        tensor([[1.0000, 0.0600]], grad_fn=<RoundBackward1>)
        >>> mixed.expected().item()
        5.0
    """

    def __init__(self, candidates: Sequence[int]) -> None:
        super().__init__()
        if not candidates:
            raise ValueError("candidates is empty; give bits to choose from")
        self.candidates = tuple(candidates)
        self.quantizers = nn.ModuleList(map(WeightQuantizer, candidates))
        self.logits = nn.Parameter(torch.zeros(len(candidates)))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the mixture, shaped like the weight."""
        return mixture(self.logits, [rounds(weight) for rounds in self.quantizers])

    def expected(self) -> Tensor:
        """Return E[b], ()."""
        return expected_bits(self.logits, self.candidates)


class MixedActivation(ActivationQuantizer):
    """The mixture of several roundings of one activation, in one observed range.

    Args:
        observer: What decides on the range.
        candidates: Bits, 1 to 16 each; ``ValueError`` if there is none.

    Attributes:
        logits: beta, (K,), a parameter; 0 at first.

    Example:
        >>> from effdl.quant.observers import Extremes
        >>> MixedActivation(Extremes(), [2, 4]).expected().item()
        3.0
    """

    def __init__(self, observer: Observer, candidates: Sequence[int]) -> None:
        super().__init__(observer, max(candidates))
        self.candidates = tuple(candidates)
        self.logits = nn.Parameter(torch.zeros(len(candidates)))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, or the mixture if ``quantizing``."""
        if self.observing:
            self.observer.observe(x)
        if not self.quantizing:
            return x
        low, high = self.observer.limits()
        grids = [affine_grid(low, high, bits=bits) for bits in self.candidates]
        return mixture(self.logits, [fake_quantize(x, grid) for grid in grids])

    def expected(self) -> Tensor:
        """Return E[a], ()."""
        return expected_bits(self.logits, self.candidates)


def mixture(logits: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Return the sum of the values, weighted by the softmax of the logits.

    Args:
        logits: (K,).
        values: K tensors of one shape.

    Example:
        >>> mixture(torch.zeros(2), [torch.tensor(1.0), torch.tensor(3.0)])
        tensor(2.)
    """
    parts = zip(logits.softmax(dim=0).unbind(), values, strict=True)
    [first, *rest] = [share * value for share, value in parts]
    return sum(rest, first)


def expected_bits(logits: Tensor, candidates: Sequence[int]) -> Tensor:
    """Return the mean number of bits if they were drawn, ().

    Args:
        logits: (K,).
        candidates: K numbers of bits.

    Example:
        >>> expected_bits(torch.zeros(3), (2, 4, 6))
        tensor(4.)
    """
    return (logits.softmax(dim=0) * logits.new_tensor(candidates)).sum()
