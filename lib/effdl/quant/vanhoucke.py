"""Eight bits on a CPU, 2011: unsigned activations, signed weights, 32-bit sums.

Paper: Vanhoucke, Senior and Mao, "Improving the speed of neural networks on CPUs", NIPS
2011 workshop on deep learning. The arithmetic in today's words: Nagel et al., "A White
Paper on Neural Network Quantization", 2021, https://arxiv.org/abs/2106.08295.

A sigmoid puts out 0 to 1, so its range is known without calibration:

    a   unsigned, round(255 a)                scale 1 / 255
    w   signed, round(127 w / max|w|)         scale max|w| / 127, for a whole layer
    sum of K products                         int32, never more than K 255 127
    bias                                      int32, in steps of both scales' product

K 255 127 < 2^31 as long as K <= 66311 (and the bias is not huge). The input layer,
whose input is no probability, stays in floats. The error of one output is at most

    K (d_a max|w| + d_w max|a| + d_a d_w) + d_b,     d = half a step of each

The authors multiply with pmaddubsw, the instruction for unsigned times signed bytes,
and report ten times the speed of an unoptimised network, of which the bytes are one
part beside blocking and SIMD. (Title and venue from a bibliography, the constants of
the scheme from memory of the paper: we could not look them up.)

What differs: sums here are exact, of int64 that fit int32. The instruction adds pairs
in 16 bits and saturates: 2 * 255 * 127 = 64770 is more than 32767. No speed is claimed.
"""

import torch
from torch import Tensor, nn

from effdl.quant.fake import quantize
from effdl.quant.grid import Grid, affine_grid, symmetric_grid

LARGEST_SUM = 2**31 - 1
MOST_INPUTS = LARGEST_SUM // (255 * 127)


def probability_grid() -> Grid:
    """Return the unsigned grid of numbers between 0 and 1.

    Example:
        >>> quantize(torch.tensor([0.0, 0.6, 1.0, 1.2]), probability_grid())
        tensor([  0, 153, 255, 255], dtype=torch.int32)
    """
    return affine_grid(torch.tensor(0.0), torch.tensor(1.0), bits=8)


class EightBitLinear(nn.Module):
    """A linear layer on activations between 0 and 1, all of it in integers.

    Args:
        layer: Trained, with at most 66311 inputs; copied.

    Raises:
        ValueError: If a sum might not fit 32 bits: there are more, or a bias is huge.

    Attributes:
        weight: int8, (out, in).
        bias: int32, (out,).
        scale: Of a sum, ().

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -1.0]]))
        >>> _ = layer.bias.data.fill_(0.5)
        >>> EightBitLinear(layer)(torch.tensor([[1.0, 0.2]])).round(decimals=3)
        tensor([[1.3000]])
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        if layer.in_features > MOST_INPUTS:
            raise ValueError(
                f"layer has {layer.in_features} inputs, more than {MOST_INPUTS}: "
                "a sum might not fit 32 bits; split it"
            )
        weight = layer.weight.detach()
        grid = symmetric_grid(weight.abs().max(), bits=8)
        scale = grid.scale * probability_grid().scale
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias
        q, steps = quantize(weight, grid), (bias.detach() / scale).round().double()
        largest = q.double().abs().sum(1) * probability_grid().highest + steps.abs()
        if float(largest.max()) > LARGEST_SUM:
            raise ValueError(
                f"layer's bias is too large beside its weights: a sum may reach "
                f"{largest.max():.3g}, beyond 32 bits; leave the layer in floats"
            )
        self.register_buffer("weight", q.to(torch.int8))
        self.register_buffer("bias", steps.int())
        self.register_buffer("scale", scale)

    def sums(self, q: Tensor) -> Tensor:
        """Return the sums of products with the bias, int64 in the range of int32.

        Args:
            q: Integers 0 to 255, (batch, in).
        """
        return q.long() @ self.weight.long().T + self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, (batch, out), of x between 0 and 1."""
        return self.sums(quantize(x, probability_grid())) * self.scale


def error_bound(layer: nn.Linear) -> float:
    """Return by how much an output can differ from that of the floats, at most.

    But for the rounding of floats.

    Args:
        layer: With inputs between 0 and 1.

    Example:
        >>> layer = nn.Linear(10, 3)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> round(error_bound(layer), 3)
        0.059
    """
    largest = float(layer.weight.detach().abs().max())
    half_a = 0.5 / 255
    half_w = 0.5 * largest / 127
    half_b = 0.5 * largest / 127 / 255
    inputs = layer.in_features
    return inputs * (half_a * largest + half_w + half_a * half_w) + half_b


def eight_bit_(model: nn.Sequential) -> None:
    """Change a network of linear layers and sigmoids: all but the first in 8 bits.

    Args:
        model: Its linear layers but the first must follow a sigmoid.

    Raises:
        ValueError: If one follows anything else.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))
        >>> eight_bit_(net)
        >>> [type(layer).__name__ for layer in net]
        ['Linear', 'Sigmoid', 'EightBitLinear']
    """
    first = next(i for i, layer in enumerate(model) if isinstance(layer, nn.Linear))
    for i, layer in enumerate(model):
        if i == first or not isinstance(layer, nn.Linear):
            continue
        if not isinstance(model[i - 1], nn.Sigmoid):
            raise ValueError(
                f"layer {i} must follow a sigmoid, whose range is 0 to 1; "
                f"it follows {model[i - 1]}"
            )
        model[i] = EightBitLinear(layer)
