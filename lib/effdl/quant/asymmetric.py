"""What a zero point costs: the integer dot product, taken apart.

Paper: Kim et al., "Performance Evaluation of INT8 Quantized Inference on Mobile GPUs",
IEEE Access 2021, https://doi.org/10.1109/ACCESS.2021.3133100; the identity is that of
Jacob et al., CVPR 2018, https://arxiv.org/abs/1712.05877, section 2.3.

One scale a tensor or one a channel, symmetric or asymmetric: four schemes from one
formula. With K products in a sum,

    sum (q_w - z_w)(q_x - z_x)
        = sum q_w q_x - z_w sum q_x - z_x sum q_w + K z_w z_x

    first     the integer product, which every scheme needs
    second    depends on the input: additions at run time, only if z_w is not 0
    others    known in advance; they go into the bias

So a zero point of *activations* is free, and one of *weights* is not: this is why
weights are symmetric nearly everywhere. All sums are exact whole numbers.

What differs: nothing was run on a phone. Operations are counted, and a count is not a
time.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.quant.grid import Grid, affine_grid, symmetric_grid


def integer_product(x: Tensor, weight: Tensor, zeros: tuple[Tensor, Tensor]) -> Tensor:
    """Return sum (q_w - z_w)(q_x - z_x), put together from the four terms.

    Args:
        x: Integers q_x, (batch, K).
        weight: Integers q_w, (out, K).
        zeros: z_x, (), and z_w, () or (out,).

    Returns:
        (batch, out), int64.

    Raises:
        ValueError: If one of them holds floats.

    Example:
        >>> x, weight = torch.tensor([[1, 2]]), torch.tensor([[3, 5]])
        >>> integer_product(x, weight, (torch.tensor(1), torch.tensor(4)))
        tensor([[1]])
    """
    given = (("x", x), ("weight", weight), ("zeros", zeros[0]), ("zeros", zeros[1]))
    for name, tensor in given:
        if tensor.is_floating_point():
            raise ValueError(f"{name} must hold integers, got {tensor.dtype}")
    x, weight = x.long(), weight.long()
    zero_x, zero_weight = zeros[0].long(), zeros[1].long()
    at_run_time = x @ weight.T - zero_weight * x.sum(1, keepdim=True)
    return at_run_time + folded_terms(weight, (zero_x, zero_weight))


def folded_terms(weight: Tensor, zeros: tuple[Tensor, Tensor]) -> Tensor:
    """Return K z_w z_x - z_x sum q_w, what can be added to the bias in advance, (out,).

    Args:
        weight: Integers, (out, K).
        zeros: z_x, (), and z_w, () or (out,).

    Example:
        >>> folded_terms(torch.tensor([[3, 5]]), (torch.tensor(1), torch.tensor(4)))
        tensor([0])
    """
    zero_x, zero_weight = zeros[0].long(), zeros[1].long()
    inputs = weight.shape[1]
    return inputs * zero_weight * zero_x - zero_x * weight.long().sum(1)


@dataclass(frozen=True)
class ExtraOperations:
    """Integer operations at run time beside the product itself.

    Attributes:
        additions: Of integers, subtractions included.
        multiplications: Of integers.
    """

    additions: int
    multiplications: int


def extra_operations(
    grid: Grid, *, batch: int, inputs: int, out: int
) -> ExtraOperations:
    """Return what the weight's zero point costs, for a layer run on a batch.

    The sum of q_x is taken once for each input vector, then multiplied once if all
    outputs share z_w and once for each output if not, then subtracted everywhere.

    Args:
        grid: Of the weight.
        batch: Vectors that go in; for a convolution, all its places.
        inputs: K.
        out: Outputs.

    Example:
        >>> grid = affine_grid(torch.tensor(-1.0), torch.tensor(2.0), bits=8)
        >>> extra_operations(grid, batch=1, inputs=100, out=10)
        ExtraOperations(additions=109, multiplications=1)
    """
    check_positive(batch=batch, inputs=inputs, out=out)
    if not bool(grid.zero_point.any()):
        return ExtraOperations(0, 0)
    products = batch if grid.axis is None else batch * out
    return ExtraOperations(batch * (inputs - 1 + out), products)


def four_grids(weight: Tensor, *, bits: int = 8) -> dict[str, Grid]:
    """Return the grid of a weight under each of the four schemes.

    Args:
        weight: (out, ...).
        bits: 2 to 16.

    Example:
        >>> grids = four_grids(torch.tensor([[0.0, 1.0], [-1.0, 3.0]]), bits=2)
        >>> [len(grid.scale.reshape(-1)) for grid in grids.values()]
        [1, 2, 1, 2]
    """
    rows = weight.detach().flatten(1)
    low, high = rows.aminmax(dim=1)
    size = torch.maximum(-low, high)
    return {
        "symmetric, per layer": symmetric_grid(size.max(), bits=bits),
        "symmetric, per channel": symmetric_grid(size, bits=bits, axis=0),
        "asymmetric, per layer": affine_grid(low.min(), high.max(), bits=bits),
        "asymmetric, per channel": affine_grid(low, high, bits=bits, axis=0),
    }
