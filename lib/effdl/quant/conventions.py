"""Eight bits, four ways: the grids of TFLite, TensorRT, ONNX and PyTorch.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877, from
which TFLite comes; the others from their documentation and, for PyTorch, its code.

    software                activation                   weight, for each channel
    TFLite                  -128 .. 127, zero point      -127 .. 127, symmetric
    TensorRT                -128 .. 127, symmetric       -127 .. 127, symmetric
    ONNX dynamic            0 .. 255, zero point         (left to the converter)
    PyTorch x86 (fbgemm)    0 .. 127, zero point         -128 .. 127, symmetric
    PyTorch ARM (qnnpack)   0 .. 255, zero point         -128 .. 127, per tensor

A bias is int32 with the scale of the product: s_x s_w, and no zero point.

PyTorch's range on x86 has 7 bits (``reduce_range``), because its kernel adds *pairs*
of products in 16 bits: 2 * 127 * 128 = 32512 fits, 2 * 255 * 128 = 65280 does not.
CPUs with VNNI add in 32 bits and would not need it. Its symmetric weights divide the
largest value by 127.5, so the largest is rounded to 127 and ends half a step short.

TensorRT lets activations go to -128 with the scale of 127: one step more at one end.

Before trusting it: conventions change with versions. These were looked up in 2026.
"""

from dataclasses import replace

import torch
from torch import Tensor

from effdl.quant.checks import check_finite
from effdl.quant.grid import Grid, affine_grid, symmetric_grid


def tflite_activation(x: Tensor) -> Grid:
    """Return int8 with a zero point, over the range of a tensor.

    Args:
        x: Any shape; empty or not finite raises ``ValueError``, here and below.

    Example:
        >>> grid = tflite_activation(torch.tensor([0.0, 2.55]))
        >>> round(grid.scale.item(), 4), grid.zero_point.item()
        (0.01, -128)
    """
    low, high = _range(x)
    return affine_grid(low, high, bits=8, signed=True)


def tflite_weight(weight: Tensor) -> Grid:
    """Return int8 from -127 to 127 with a scale for each output channel.

    Args:
        weight: (out, ...).

    Example:
        >>> tflite_weight(torch.tensor([[1.27, 0.0], [0.0, -2.54]])).scale
        tensor([0.0100, 0.0200])
    """
    check_finite(weight=weight)
    return symmetric_grid(weight.detach().flatten(1).abs().amax(1), bits=8, axis=0)


def bias_grid(activation: Grid, weight: Grid) -> Grid:
    """Return int32 with the scale of the product, as in TFLite.

    Quantize a bias in float64: float32 does not hold the ends of int32.

    Args:
        activation: Grid of what goes in, one for the whole tensor.
        weight: Grid of the weight.

    Example:
        >>> x = tflite_activation(torch.tensor([0.0, 2.55]))
        >>> bias_grid(x, tflite_weight(torch.tensor([[1.27], [2.54]]))).scale
        tensor([1.0000e-04, 2.0000e-04])
    """
    zeros = torch.zeros_like(weight.zero_point)
    scale = activation.scale * weight.scale
    return Grid(scale, zeros, -(2**31), 2**31 - 1, weight.axis)


def tensorrt_activation(x: Tensor) -> Grid:
    """Return int8 without a zero point, the largest |x| at 127, clamped at -128.

    Give it ``x`` cut at a calibrated threshold, or as it is.

    Args:
        x: Any shape.

    Example:
        >>> grid = tensorrt_activation(torch.tensor([-2.54, 1.0]))
        >>> round(grid.scale.item(), 4), grid.lowest, grid.highest
        (0.02, -128, 127)
    """
    low, high = _range(x)
    return replace(symmetric_grid(torch.maximum(-low, high), bits=8), lowest=-128)


def onnx_dynamic_activation(x: Tensor) -> Grid:
    """Return uint8 with a zero point, as the operator DynamicQuantizeLinear does.

    Args:
        x: Any shape.

    Example:
        >>> grid = onnx_dynamic_activation(torch.tensor([-1.0, 1.55]))
        >>> round(grid.scale.item(), 4), grid.zero_point.item()
        (0.01, 100)
    """
    low, high = _range(x)
    return affine_grid(low, high, bits=8)


def pytorch_x86_activation(x: Tensor) -> Grid:
    """Return uint8 of which 0 to 127 are used, with a zero point.

    Args:
        x: Any shape.

    Example:
        >>> grid = pytorch_x86_activation(torch.tensor([0.0, 1.27]))
        >>> round(grid.scale.item(), 4), grid.highest
        (0.01, 127)
    """
    low, high = _range(x)
    return affine_grid(low, high, bits=7)


def pytorch_weight(weight: Tensor, *, axis: int | None = 0) -> Grid:
    """Return int8 from -128 to 127 with the scale of 127.5.

    Args:
        weight: (out, ...).
        axis: 0 as on x86, None for one scale as on ARM.

    Raises:
        ValueError: If ``axis`` is another one.

    Example:
        >>> grid = pytorch_weight(torch.tensor([[1.275], [-2.55]]))
        >>> grid.scale, grid.lowest
        (tensor([0.0100, 0.0200]), -128)
    """
    check_finite(weight=weight)
    if axis not in (0, None):
        raise ValueError(f"axis must be 0 or None, got {axis}")
    size = weight.detach().flatten(1).abs().amax(1)
    size = size if axis == 0 else size.amax()
    grid = symmetric_grid(size, bits=8, axis=axis)
    scale = torch.where(size > 0, size / 127.5, 1)
    return replace(grid, scale=scale, lowest=-128)


def _range(x: Tensor) -> tuple[Tensor, Tensor]:
    check_finite(x=x)
    low, high = x.detach().aminmax()
    return low, high
