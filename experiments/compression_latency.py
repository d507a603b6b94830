"""Milliseconds in ONNX Runtime of a network in floats, pruned, quantized, and both.

Run it on a quiet machine. All four are measured in turn, one thread, and the weights
are random: time does not depend on them. Pruned networks keep half of the channels of
every layer, quantized ones have weights and activations of 8 bits. For each batch size
the median and both quartiles; multiply-adds and bytes beside them.
"""

from __future__ import annotations

import torch
from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.compress.channels import remove_channels
from effdl.compress.report import bytes_of, macs_of
from effdl.compress.rounding import rounded
from effdl.compress.speed import runtimes
from effdl.seed import seeded

KEEP, BITS, REPEATS = 0.5, 8, 30


def networks(width: int, seed: int) -> dict[str, nn.Module]:
    """Return the four."""
    with seeded(seed):
        whole = plain_net(width).eval()
        images = torch.rand(100, 1, 16, 16)
    smaller = remove_channels(whole, KEEP).eval()
    return {
        "float": whole,
        "pruned": smaller,
        "quantized": rounded(whole, BITS, images).eval(),
        "both": rounded(smaller, BITS, images).eval(),
    }


def measure(width: int, batch: int, seed: int) -> Case:
    """Return the times of all four, in milliseconds, their MACs and bytes."""
    nets = networks(width, seed)
    with seeded(seed):
        images = torch.rand(batch, 1, 16, 16)
    row: dict[str, str | float] = {}
    for name, found in runtimes(nets, images, repeats=REPEATS).items():
        row[f"{name}_macs"] = macs_of(nets[name], images[:1])
        row[f"{name}_bytes"] = bytes_of(nets[name])
        for part in ("median", "low", "high"):
            row[f"{name}_{part}_ms"] = round(1000 * getattr(found, part), 5)
    return row


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases: list[Case] = [
        {"width": width, "batch": batch, "seed": seed}
        for width in (8, 32)
        for batch in (1, 64)
        for seed in seeds
    ]
    fill_table(__file__, cases, measure)
