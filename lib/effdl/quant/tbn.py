"""TBN: ternary inputs times binary weights, by XOR, AND and counting bits.

Paper: Wan et al., "TBN: Convolutional Neural Network with Ternary Inputs and Binary
Weights", ECCV 2018, https://doi.org/10.1007/978-3-030-01216-8_20.

    inputs     t = ternarize(x, D),   D = 0.4 mean |x|, for each input of a batch
    weights    b = sign(W), alpha = mean |W| of each filter;  the layer has alpha b

A product of t and b is 0 or one of two signs. So t is two words of bits, m where it is
not 0 and p where it is +1, and b is one, w where it is +1. With popcount(v) the number
of ones in v,

    t . b = popcount(m) - 2 popcount((p xor w) and m)

exactly: every place that counts adds 1, and takes 2 back where the signs differ. Where
nothing is 0 this is the product of XNOR-Net; and zeros at the edge of an image, which
two values cannot express, are a value here.

Backward, t counts as x where ``|x|`` <= 1 and as a constant elsewhere. The weights are
:class:`effdl.quant.xnor_net.ScaledSigns`, gradient and all, and their words
:func:`effdl.quant.packed_signs.pack_signs`.

What differs: the factor 0.4 is the paper's for its networks, as we know it at second
hand; nothing was tuned here. Inputs carry no scale in either.

Before trusting it: behind a ReLU no input is negative, and a value is wasted. The
products are exact, no speed is promised: patches have to be cut and packed first.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.packed_signs import PackedSigns, Words, count_ones, pack_words
from effdl.quant.ternary import rule_of_thumb, ternarize
from effdl.quant.twn import by_filter


class TernaryInput(nn.Module):
    """Maps inputs to -1, 0 and +1 with a threshold for each input of the batch.

    Args:
        factor: Of the mean of ``|x|``, 0 or more, or ``ValueError`` when it is called.

    Example:
        >>> TernaryInput()(torch.tensor([[1.0, 0.1, -2.0], [0.0, 0.0, 0.0]]))
        tensor([[ 1.,  0., -1.],
                [ 0.,  0.,  0.]])
    """

    def __init__(self, factor: float = 0.4) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return t, shaped like x, (N, ...); the gradient is 0 where ``|x|`` > 1."""
        rows = by_filter(x)
        codes = ternarize(rows, rule_of_thumb(rows, self.factor)).view_as(x)
        return straight_through(torch.where(x.abs() <= 1, x, 0), codes)


class Planes(NamedTuple):
    """Ternary rows as two planes of bits.

    Attributes:
        nonzero: Bit 1 where the code is not 0, words (rows, ceil(n / 64)).
        positive: Bit 1 where it is +1, of the same shape.
        length: Codes in a row, n.
    """

    nonzero: Words
    positive: Words
    length: int


def ternary_planes(codes: Tensor) -> Planes:
    """Return ternary rows as planes of bits.

    Args:
        codes: -1, 0 and +1, (rows, n).

    Raises:
        ValueError: If there is another value.

    Example:
        >>> planes = ternary_planes(torch.tensor([[1, 0, -1]]))
        >>> planes.nonzero.tolist(), planes.positive.tolist()
        ([[5]], [[1]])
    """
    codes = codes.detach()
    if not bool(((codes == 0) | (codes.abs() == 1)).all()):
        raise ValueError("codes must be -1, 0 and +1; make them with TernaryInput")
    return Planes(pack_words(codes != 0), pack_words(codes > 0), codes.shape[-1])


def ternary_binary_product(inputs: Planes, weights: PackedSigns) -> Tensor:
    """Return the products of all rows with all rows, int64, (N, out): t b^T.

    Args:
        inputs: Planes of codes (N, n).
        weights: Packed signs (out, n).

    Raises:
        ValueError: If the rows are not equally long.

    Example:
        >>> from effdl.quant.packed_signs import pack_signs
        >>> inputs = ternary_planes(torch.tensor([[1, 0, -1]]))
        >>> ternary_binary_product(inputs, pack_signs(torch.tensor([[1, 1, 1]])))
        tensor([[0]])
    """
    if inputs.length != weights.length:
        raise ValueError(
            f"weights must have {inputs.length} signs a row, got {weights.length}"
        )
    counted = count_ones(inputs.nonzero).sum(axis=-1, dtype=np.int64)
    differ = (inputs.positive[:, None] ^ weights.words) & inputs.nonzero[:, None]
    wrong = count_ones(differ).sum(axis=-1, dtype=np.int64)
    return torch.from_numpy(counted[:, None] - 2 * wrong)
