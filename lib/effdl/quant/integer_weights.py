"""A layer with quantized weights, as integers: weights, bias, and the scales in M.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
sections 2.2 and 2.4.

    q_w = the integers of the weight            s_w for a layer or for a channel
    q_b = round(b / (s_w s_x)), int32
    M   = s_w s_x / s_y

q_b must fit into int32. So where the weights of a channel are tiny beside its bias, or
all 0, its scale is another one, and q_w is rounded anew:

    s_w' = max(s_w, |b| / (2^30 s_x), 2^-31 s_y / s_x)

This moves the output by at most K 2^-31 of the larger of |b| and a step, for K times
the input's largest integer in a total. The paper does not speak of it.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from effdl.quant.fake import quantize
from effdl.quant.fixed_point import fixed_point
from effdl.quant.graph import Weighted
from effdl.quant.grid import Grid
from effdl.quant.integer_layers import IntegerLayer, Requantize


@runtime_checkable
class HasWeightGrid(Protocol):
    """A quantizer of weights that all lie on one evenly spaced grid."""

    def grid(self, weight: Tensor) -> Grid:
        """Return the grid of a weight."""


def weight_grid(layer: Weighted) -> Grid:
    """Return the grid on which the weights of a layer are.

    Args:
        layer: With a quantizer as its only parametrization.

    Raises:
        ValueError: If it has none, or one without a grid, or the grid's integers are
            not symmetric about 0, or its channels are not those of the output.

    Example:
        >>> from effdl.quant.quantizers import WeightQuantizer as Quantizer
        >>> layer = torch.nn.Linear(4, 2)
        >>> _ = parametrize.register_parametrization(layer, "weight", Quantizer(8))
        >>> weight_grid(layer).highest
        127
    """
    if not parametrize.is_parametrized(layer, "weight"):
        raise ValueError("it has no quantizer of its weight; insert one")
    found = layer.get_submodule("parametrizations.weight")
    quantizer = next(found.children(), None)
    if len(list(found.children())) != 1 or not isinstance(quantizer, HasWeightGrid):
        raise ValueError("it needs one quantizer of its weight, with grid(weight)")
    grid = quantizer.grid(original_weight(layer))
    if bool((grid.zero_point != 0).any()) or grid.axis not in (None, 0):
        raise ValueError(
            "it needs weights with zero point 0 and scales for output channels, got "
            f"axis={grid.axis}; use a symmetric grid"
        )
    return grid


def original_weight(layer: Weighted) -> Tensor:
    """Return the weight of a layer before it is quantized.

    Args:
        layer: With a quantizer of its weight.

    Example:
        >>> from effdl.quant.quantizers import WeightQuantizer as Quantizer
        >>> layer = torch.nn.Linear(4, 2)
        >>> _ = parametrize.register_parametrization(layer, "weight", Quantizer(8))
        >>> original_weight(layer).shape
        torch.Size([2, 4])
    """
    return layer.get_parameter("parametrizations.weight.original").detach()


def integer_layer(
    layer: Weighted, source: Grid, target: Grid, ceiling: float | None = None
) -> IntegerLayer:
    """Return a layer in integers; raises what :func:`weight_grid` does.

    Args:
        layer: With a quantizer of its weight.
        source: Grid of its input.
        target: Grid of its output.
        ceiling: 6 if ReLU6 follows, infinity for ReLU, None if neither does.

    Example:
        >>> from effdl.quant.grid import affine_grid
        >>> from effdl.quant.quantizers import WeightQuantizer as Quantizer
        >>> layer = torch.nn.Linear(1, 1)
        >>> layer.weight.data.fill_(12.7), layer.bias.data.fill_(1.0)
        (tensor([[12.7000]]), tensor([1.]))
        >>> _ = parametrize.register_parametrization(layer, "weight", Quantizer(8))
        >>> grid = affine_grid(torch.tensor(0.0), torch.tensor(25.5), bits=8)
        >>> integers = integer_layer(layer, grid, grid)
        >>> integers.weight.item(), integers.bias.item()  # 1.0 = 100 * 0.1 * 0.1
        (127, 100)
    """
    grid = weight_grid(layer)
    q = quantize(original_weight(layer), grid).double()
    rows = q.flatten(1)
    bias = rows.new_zeros(len(rows)) if layer.bias is None else layer.bias.detach()
    bias, s_in, s_out = bias.double(), source.scale.double(), target.scale.double()
    before = grid.scale.double().expand(len(rows))
    alive = torch.where(rows.any(1), before, 0)
    scale = alive.maximum(bias.abs() / 2**30 / s_in).maximum(s_out / s_in / 2**31)
    weight = (rows * (before / scale)[:, None]).round().reshape(q.shape)
    return IntegerLayer(
        weight.int(),
        (bias / (scale * s_in)).round().long(),
        source,
        Requantize(fixed_point(scale * s_in / s_out), target, ceiling),
        layer,
    )
