"""SYQ: learned scales for parts of a kernel, the same for plus and minus.

Paper: Faraone et al., "SYQ: Learning Symmetric Quantization for Efficient Deep Neural
Networks", CVPR 2018, https://arxiv.org/abs/1807.00301.

    1 bit     q = sign(w)                                      -1, +1
    2 bits    q = ternarize(w, 0.05 max |W|)                   -1, 0, +1
    layer     W' = alpha_i q           i: the part of the kernel that w belongs to

A convolution's weight is (out, in, k, k). What shares a scale is

    pixels    the place in the kernel       k^2 scales      mean over (0, 1)
    rows      the line in the kernel        k scales        mean over (0, 1, 3)
    layer     nothing more                  1 scale         mean over all

and it starts at the mean of ``|w|`` over its part. So few scales cost a machine little:
it can keep to one place of the kernel at a time, and multiply once. Backward,

    dL/dalpha_i = sum over the part of g q        dL/dw = alpha_i g

Activations have 8 bits in the paper, linear; that is
:class:`effdl.quant.quantizers.ActivationQuantizer` here.

What differs: the start is the mean of ``|w|`` where q is not 0, the least-squares scale
for these q; for 1 bit it is the paper's. The authors' program lets the gradient of
weights below the threshold pass unscaled, as TTQ does.

Before trusting it: nothing keeps a scale above 0. Filters have no scale of their own
here, so where batch norm was folded into the weight, fold it later.
"""

from collections.abc import Callable

from torch import Tensor, nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign
from effdl.quant.ternary import ternarize

Codes = Callable[[Tensor], Tensor]  # a weight to -1, 0 and +1 of its shape

PIXELS = (0, 1)  # the dimensions that share a scale
ROWS = (0, 1, 3)
LAYER = (0, 1, 2, 3)


def ternary_codes(weight: Tensor, share: float = 0.05) -> Tensor:
    """Return -1, 0 and +1 with a threshold in shares of the largest weight.

    Args:
        weight: Any shape, not empty.
        share: 0 or more, or ``ValueError``.

    Example:
        >>> import torch
        >>> ternary_codes(torch.tensor([1.0, 0.01, -0.5]))
        tensor([ 1.,  0., -1.])
    """
    return ternarize(weight, share * weight.detach().abs().amax())


def subgroup_scales(weight: Tensor, codes: Tensor, shared: tuple[int, ...]) -> Tensor:
    """Return the mean of ``|w|`` where the code is not 0, for each part; no gradient.

    Broadcasts with the weight: shape 1 in each of the dimensions that share a scale.

    Args:
        weight: Such as (out, in, k, k).
        codes: -1, 0 and +1, of that shape.
        shared: Dimensions, such as ``PIXELS``.

    Raises:
        ValueError: If a dimension is named that the weight does not have.

    Example:
        >>> import torch
        >>> weight = torch.ones(4, 2, 3, 3)
        >>> subgroup_scales(weight, weight, ROWS).shape
        torch.Size([1, 1, 3, 1])
    """
    if not shared or max(shared) >= weight.ndim or min(shared) < 0:
        raise ValueError(
            f"shared must name dimensions of shape {tuple(weight.shape)}, got "
            f"{shared}; a linear layer has (0, 1)"
        )
    kept = codes.detach().abs()
    sums = (kept * weight.detach().abs()).sum(shared, keepdim=True)
    return sums / kept.sum(shared, keepdim=True).clamp(min=1)


class SymmetricWeight(nn.Module):
    """Maps a weight to its codes times the learned scales of its parts.

    A parametrization, as :class:`effdl.quant.twn.TernaryWeight` is one.

    Args:
        weight: What it begins with, for the scales; finite.
        shared: Dimensions that share a scale: ``PIXELS``, ``ROWS`` or ``LAYER``.
        codes: ``effdl.quant.binarize.sign`` or :func:`ternary_codes`.

    Attributes:
        scales: A parameter that broadcasts with the weight.

    Example:
        >>> import torch
        >>> weight = torch.tensor([1.0, -3.0]).repeat(4, 2, 1, 1)
        >>> quantizer = SymmetricWeight(weight)
        >>> quantizer.scales.flatten().tolist()
        [1.0, 3.0]
        >>> quantizer(-weight)[0, 0].tolist()
        [[-1.0, 3.0]]
    """

    def __init__(
        self, weight: Tensor, shared: tuple[int, ...] = PIXELS, codes: Codes = sign
    ) -> None:
        super().__init__()
        self.codes = codes
        self.scales = nn.Parameter(subgroup_scales(weight, codes(weight), shared))

    def forward(self, weight: Tensor) -> Tensor:
        """Return W', shaped like the weight."""
        value = self.scales * self.codes(weight)
        return straight_through(self.scales.detach() * weight, value)
