"""A transformer's layers in integers: linear, attention, layer norm, between them int8.

Papers: Kim et al., "I-BERT: Integer-only BERT Quantization", ICML 2021,
https://arxiv.org/abs/2101.01321, and, for the linear layers, Zafrir et al., "Q8BERT:
Quantized 8Bit BERT", 2019, https://arxiv.org/abs/1910.06188.

    linear        q = q_x Q_w^T + q_b             int8, int8, int32;  S = S_x S_w
    attention     scores  q k^T                   int32, scale S_q S_k / sqrt d
                  softmax                         uint8 (integer_softmax)
                  softmax v                       int32
    layer norm    (q - mean) / sqrt(variance)     integer_sqrt with ``POINT`` more bits
    back to 8     round(q M / 2^n),  M / 2^n ~ S / S'      a multiplication and a shift

Only the last needs a ratio of scales; M and n are computed in advance. Q8BERT keeps
softmax, GELU and layer norm in floats and rounds only the linear layers (and the
embedding), which is what ``WeightQuantizer`` and ``ActivationQuantizer`` do.

What differs: scales of activations are given by the caller, who calibrated them.
Weights have one scale for a layer, because one tensor here has one scale. Tensors are
int64; what ``rescaled`` gets must fit 32 bits, but softmax and layer norm need more
inside. No speed is claimed.
"""

import math

import torch
from torch import Tensor, nn

from effdl.quant.checks import check_finite
from effdl.quant.fake import quantize
from effdl.quant.grid import symmetric_grid
from effdl.quant.integer_functions import Scaled, integer_softmax, integer_sqrt

POINT = 10  # bits behind the point of a standard deviation and of a normalised value


def to_integers(x: Tensor, *, largest: float | None = None, bits: int = 8) -> Scaled:
    """Return a tensor on the symmetric grid.

    Args:
        x: Floats.
        largest: Where the range ends; by default at the largest absolute value.
        bits: 2 to 16, or ``ValueError``.

    Example:
        >>> to_integers(torch.tensor([0.5, -1.27]))
        Scaled(q=tensor([  50, -127]), scale=0.01)
    """
    check_finite(x=x)
    limit = float(x.detach().abs().max()) if largest is None else largest
    grid = symmetric_grid(torch.tensor(limit), bits=bits)
    # The scale in floats of Python, rounded so that 1.27 / 127 prints as what it is.
    return Scaled(quantize(x, grid).long(), float(f"{grid.scale.item():.7g}"))


def rescaled(x: Scaled, *, largest: float, bits: int = 8) -> Scaled:
    """Return numbers on a coarser grid, by a multiplication and a shift.

    Args:
        x: Integers below 2^31 in size.
        largest: Where the new range ends.
        bits: Of the new integers, 2 to 16.

    Raises:
        ValueError: If ``largest`` is not above 0, or an integer needs more than 32
            bits.

    Example:
        >>> rescaled(Scaled(torch.tensor([1000, 5]), 0.001), largest=1.27)
        Scaled(q=tensor([100,   0]), scale=0.01)
    """
    if not 0 < largest < math.inf:
        raise ValueError(f"largest must be above 0 and finite, got {largest}")
    highest = 2 ** (bits - 1) - 1
    scale = largest / highest
    mantissa, exponent = math.frexp(x.scale / scale)
    factor, shift = round(mantissa * 2**31), 31 - exponent
    if shift < 1:
        raise ValueError(
            f"largest must make the grid coarser, got {largest} for a scale of "
            f"{x.scale}; give more"
        )
    if x.q.numel() and int(x.q.abs().max()) >= 2**31:
        raise ValueError(
            f"x holds {int(x.q.abs().max())}, beyond 32 bits; make the scale of what "
            "went in coarser"
        )
    shift = min(shift, 62)
    q = (x.q * factor + (1 << (shift - 1))) >> shift
    return Scaled(q.clamp(-highest, highest), scale)


def integer_linear(x: Scaled, layer: nn.Linear) -> Scaled:
    """Return what a linear layer puts out, int8 weights and a bias in int32.

    Args:
        x: int8, (..., in).
        layer: Trained; left as it is.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(layer.weight, 1.27), nn.init.zeros_(layer.bias)
        >>> integer_linear(Scaled(torch.tensor([[3, 4]]), 0.5), layer).q
        tensor([[889]])
    """
    weight = to_integers(layer.weight)
    scale = x.scale * weight.scale
    q = x.q @ weight.q.T
    if layer.bias is not None:
        q = q + (layer.bias.detach().double() / scale).round().long()
    return Scaled(q, scale)


def integer_attention(query: Scaled, key: Scaled, value: Scaled) -> Scaled:
    """Return softmax(q k^T / sqrt d) v.

    Args:
        query: int8, (..., n, d).
        key: int8, (..., m, d).
        value: int8, (..., m, d').

    Returns:
        (..., n, d').

    Example:
        >>> one = Scaled(torch.tensor([[100, 0], [0, 100]]), 0.1)
        >>> integer_attention(one, one, one).values().round()
        tensor([[10.,  0.],
                [ 0., 10.]], dtype=torch.float64)
    """
    size = query.q.shape[-1]
    scores = query.q @ key.q.transpose(-1, -2)
    share = integer_softmax(
        Scaled(scores, query.scale * key.scale / math.sqrt(size)), bits=8
    )
    return Scaled(share.q @ value.q, share.scale * value.scale)


def integer_layer_norm(x: Scaled, norm: nn.LayerNorm) -> Scaled:
    """Return what a layer norm over the last dimension puts out.

    Args:
        x: Integers, (..., channels): size times channels below 2^26, and at most
            2048 channels, or sums leave int64.
        norm: With gamma and beta; its eps is left out. Constant input becomes beta.

    Raises:
        ValueError: If it normalises more than the last dimension, or has no gamma.

    Example:
        >>> x = Scaled(torch.tensor([[100, 200, 300, 400]]), 0.1)
        >>> integer_layer_norm(x, nn.LayerNorm(4)).values().round(decimals=2)
        tensor([[-1.3400, -0.4500,  0.4500,  1.3400]], dtype=torch.float64)
    """
    if len(norm.normalized_shape) != 1 or norm.weight is None:
        raise ValueError(f"norm must be of one dimension with gamma, got {norm}")
    channels = x.q.shape[-1]
    # Times the number of channels, so that the mean is a whole number.
    centred = x.q * channels - x.q.sum(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) // channels
    extra = POINT // 2
    deviation = integer_sqrt(variance << 2 * extra).clamp(min=1)
    even = (centred << POINT + extra) // deviation  # value 1 is 2^POINT
    gamma = to_integers(norm.weight)
    scale = gamma.scale / 2**POINT
    q = even * gamma.q
    if norm.bias is not None:
        q = q + (norm.bias.detach().double() / scale).round().long()
    return Scaled(q, scale)
