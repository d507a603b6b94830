"""What a pruned linear layer costs in each format: microseconds, over sparsities.

1,024 inputs and outputs, 32-bit floats, one thread. The batch is one input, where the
weights have to be read for a single use, or 256. Blocks are 32 x 32. All formats of a
case are measured in turn; weights are random, since a kernel does not look at values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.measure.latency import Model, latency
from effdl.prune.break_even import block_mask
from effdl.prune.sparse_formats import CompressedLinear, GatheredLinear, SmallerLinear
from effdl.seed import seeded

SIZE, SIDE = 1024, 32
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
BATCHES = (1, 256)


def dense(weight: Tensor) -> nn.Linear:
    """Return an ordinary layer with this weight."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    return layer


def formats(sparsity: float, size: int = SIZE, side: int = SIDE) -> dict[str, Model]:
    """Return the layer in every format, with the mask that the format asks for."""
    weight = torch.randn(size, size)
    single, blocks, rows = (
        weight * block_mask(weight.abs(), sparsity, block=block)
        for block in ((1, 1), (side, side), (1, size))
    )
    return {
        "whole": dense(weight),
        "zeros": dense(single),
        "csr": CompressedLinear(single),
        "bsr": CompressedLinear(blocks, block=side),
        "gathered": GatheredLinear(blocks, block=(side, side)),
        "smaller": SmallerLinear(rows),
    }


def measure(batch: int, sparsity: float, seed: int) -> Case:
    """Return the median microseconds of every format."""
    with seeded(seed):
        layers, x = formats(sparsity), torch.randn(batch, SIZE)
    times = latency(layers, x, repeats=15)
    return {f"{name}_us": round(1e6 * t.median, 2) for name, t in times.items()}


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [
            {"batch": batch, "sparsity": sparsity, "seed": seed}
            for batch in BATCHES
            for sparsity in SPARSITIES
            for seed in seeds
        ],
        measure,
    )
