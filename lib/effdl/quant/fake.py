"""To a grid and back: integers, the values they stand for, and fake quantization.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877.

    quantize        x -> q      integers
    dequantize      q -> x'     floats on the grid
    fake_quantize   x -> x'     both, in floats, with a gradient straight through

In training, rounding has the gradient 0 nearly everywhere. Straight through: the
gradient of x' with respect to x is taken to be 1 where q was not clamped, 0 elsewhere.

The grid is :class:`effdl.quant.grid.Grid`.
"""

import torch
from torch import Tensor

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.checks import check_finite
from effdl.quant.grid import Grid


def quantize(x: Tensor, grid: Grid) -> Tensor:
    """Return the integers of a tensor, int32, of the same shape.

    Not finite values raise ``ValueError``, and so does another number of channels.

    Args:
        x: Floats.
        grid: Where they go.

    Example:
        >>> from effdl.quant.grid import affine_grid
        >>> grid = affine_grid(torch.tensor(0.0), torch.tensor(25.5), bits=8)
        >>> quantize(torch.tensor([-1.0, 0.04, 0.26, 99.0]), grid)
        tensor([  0,   0,   3, 255], dtype=torch.int32)
    """
    check_finite(x=x)
    return _steps(x.detach(), grid).clamp(grid.lowest, grid.highest).int()


def dequantize(q: Tensor, grid: Grid) -> Tensor:
    """Return the values that integers stand for, in the type of the scale.

    Args:
        q: Integers, from ``lowest`` to ``highest``, or ``ValueError``.
        grid: Of which they are.

    Raises:
        ValueError: If an integer is not one of the grid's.

    Example:
        >>> from effdl.quant.grid import symmetric_grid
        >>> grid = symmetric_grid(torch.tensor(12.7), bits=8)
        >>> dequantize(torch.tensor([-127, 0, 5]), grid).round(decimals=4)
        tensor([-12.7000,   0.0000,   0.5000])
    """
    if q.numel() and not grid.lowest <= int(q.min()) <= int(q.max()) <= grid.highest:
        raise ValueError(
            f"q must be {grid.lowest} to {grid.highest}, got {int(q.min())} to "
            f"{int(q.max())}; is it of another grid?"
        )
    scale, zero_point = grid.along(q)
    return (q - zero_point) * scale


def fake_quantize(x: Tensor, grid: Grid) -> Tensor:
    """Return the nearest values on the grid; the gradient passes where none is clipped.

    NaN stays NaN. The grid itself takes no gradient.

    Args:
        x: Floats, of any shape.
        grid: ``ValueError`` if it has another number of channels.

    Example:
        >>> from effdl.quant.grid import symmetric_grid
        >>> grid = symmetric_grid(torch.tensor(3.0), bits=3)
        >>> x = torch.tensor([0.4, 1.6, 9.0], requires_grad=True)
        >>> fake_quantize(x, grid)
        tensor([0., 2., 3.], grad_fn=<AddBackward0>)
        >>> fake_quantize(x, grid).sum().backward()
        >>> x.grad
        tensor([1., 1., 0.])
    """
    scale, zero_point = grid.along(x)
    with torch.no_grad():
        steps = _steps(x, grid)
        q = steps.clamp(grid.lowest, grid.highest)
        value = (q - zero_point) * scale
    return straight_through(torch.where(steps == q, x, 0), value)


def _steps(x: Tensor, grid: Grid) -> Tensor:
    scale, zero_point = grid.along(x)
    return (x / scale).round() + zero_point
