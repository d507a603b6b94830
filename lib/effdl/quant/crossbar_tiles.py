"""Pruning by the crossbar: what is zero in one place needs no crossbar there.

Paper: Shafiee et al., "ISAAC: A Convolutional Neural Network Accelerator with In-Situ
Analog Arithmetic in Crossbars", ISCA 2016, https://doi.org/10.1109/ISCA.2016.12, for
the crossbars; pruning aligned with them is the idea of Huai et al., "Crossbar-Aligned &
Integer-Only Neural Network Compression for Efficient In-Memory Acceleration", ASP-DAC
2023, which we could not read.

A tile is the part of a weight that one crossbar holds: as many inputs as it has rows,
as many outputs as its columns hold, with two sides of all slices each. A zero cell
takes the same place as another, so zeros that are scattered save nothing. Pruned are
whole tiles, those with the smallest sum of sizes.

When not to trust it: which tile an output falls into is an accident of its number.
Sorting rows and columns first would find emptier tiles; that is not done here.
"""

import torch
from torch import Tensor

from effdl.quant.in_memory import Crossbar


def tile_sizes(weight: Tensor, crossbar: Crossbar) -> Tensor:
    """Return the sum of sizes in each tile, (tiles of outputs, tiles of inputs).

    Args:
        weight: (out, in).
        crossbar: Of what kind; its columns must hold an output, or ``ValueError``.

    Raises:
        ValueError: If the weight is no matrix.

    Example:
        >>> tile_sizes(torch.ones(20, 130), Crossbar())
        tensor([[2048.,   32.],
                [ 512.,    8.]])
    """
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(
            f"weight must be (out, in) and not empty, got {tuple(weight.shape)}; "
            "use flatten(1)"
        )
    sums = [
        torch.stack([tile.abs().sum() for tile in band.split(crossbar.rows, dim=1)])
        for band in weight.detach().split(outputs_of(crossbar))
    ]
    return torch.stack(sums)


def crossbars_needed(weight: Tensor, crossbar: Crossbar) -> int:
    """Return how many crossbars a weight takes; tiles of zeros take none.

    Args:
        weight: (out, in), or ``ValueError``.
        crossbar: Of what kind.

    Example:
        >>> crossbars_needed(torch.ones(32, 256), Crossbar())
        4
    """
    return int((tile_sizes(weight, crossbar) > 0).sum())


def without_smallest_tiles(weight: Tensor, crossbar: Crossbar, keep: int) -> Tensor:
    """Return a copy in which only the largest tiles are left.

    Args:
        weight: (out, in), or ``ValueError``.
        crossbar: Of what kind.
        keep: Tiles that stay.

    Raises:
        ValueError: If there are not so many, or ``keep`` is negative.

    Example:
        >>> weight = torch.ones(20, 130)
        >>> left = without_smallest_tiles(weight, Crossbar(), 1)
        >>> int(left.sum()), crossbars_needed(left, Crossbar())
        (2048, 1)
    """
    sizes = tile_sizes(weight, crossbar)
    if not 0 <= keep <= sizes.numel():
        raise ValueError(f"keep must be 0 to {sizes.numel()} tiles, got {keep}")
    mask = torch.zeros_like(sizes)
    mask.view(-1)[sizes.flatten().argsort(descending=True, stable=True)[:keep]] = 1
    mask = mask.repeat_interleave(outputs_of(crossbar), dim=0)[: len(weight)]
    mask = mask.repeat_interleave(crossbar.rows, dim=1)[:, : weight.shape[1]]
    return torch.where(mask > 0, weight.detach(), 0)


def outputs_of(crossbar: Crossbar) -> int:
    """Return how many outputs the columns hold.

    Args:
        crossbar: Of what kind.

    Raises:
        ValueError: If there is not one.

    Example:
        >>> outputs_of(Crossbar())
        16
    """
    outputs = crossbar.columns // (2 * crossbar.slices)
    if outputs < 1:
        raise ValueError(
            f"columns must be {2 * crossbar.slices} or more for one output, got "
            f"{crossbar.columns}"
        )
    return outputs
