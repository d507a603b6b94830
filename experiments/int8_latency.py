"""Times in ONNX Runtime, float against INT8, each pair in one interleaved run.

Run it on a quiet machine: the order of the rows is the order of measurement. INT8 is
ONNX Runtime's static quantization with a scale for each channel; what it is calibrated
on does not matter for the time. One thread. Rows:

    plain_net(32), plain_mlp of 3 x 1024     batches of 1 and of 64
    the candidate blocks of SpaceEvo         two shapes, one image
    chain                                    the networks of int8_space.csv, 64 images

Milliseconds of a call: the median and both quartiles.
"""

from __future__ import annotations

import torch
from torch import nn

from _results import Case, fill_table
from effdl.blocks import plain_mlp, plain_net
from effdl.measure.latency import latency
from effdl.quant.graph import fold_batch_norm
from effdl.quant.int8_blocks import chain_net
from effdl.quant.onnx_files import OnnxNet, onnx_model
from effdl.quant.onnx_static import static_int8
from effdl.seed import seeded
from int8_runtime import processor_flags
from int8_space import BLOCKS, NETS, drawn_net

SHAPES = ((32, 32), (64, 16))  # channels in and out, side of the image
REPEATS = 30


def network(model: str, channels: int, seed: int) -> nn.Module:
    """Return what a row measures, with random weights."""
    with seeded(seed):
        if model == "plain_net(32)":
            return plain_net(32)
        if model == "plain_mlp 3 x 1024":
            return plain_mlp((256, 1024, 1024, 1024, 10))
        if model == "chain":
            return chain_net(drawn_net(seed))
        (block,) = [b for b in BLOCKS if b.__name__ == model]
        return block(channels, channels, 1)


def measure(model: str, channels: int, side: int, batch: int, seed: int) -> Case:
    """Return the times of a network in floats and in INT8."""
    folded = fold_batch_norm(network(model, channels, seed).eval())
    with seeded(seed):
        images = torch.rand(max(batch, 32), channels, side, side)
    floats = onnx_model(folded, images)
    small = static_int8(floats, [(images, None)])
    calls = {"float": OnnxNet(floats), "int8": OnnxNet(small), "torch": folded}
    times = latency(calls, images[:batch], repeats=REPEATS)
    row: dict[str, str | float] = {}
    for name, found in times.items():
        for part in ("median", "low", "high"):
            row[f"{name}_{part}_ms"] = round(1000 * getattr(found, part), 5)
    ratio = times["float"].median / times["int8"].median
    return {**row, "ratio": round(ratio, 3), "flags": processor_flags()}


def case(model: str, channels: int, side: int, batch: int, seed: int = 0) -> Case:
    """Return what identifies a row."""
    return {
        "model": model,
        "channels": channels,
        "side": side,
        "batch": batch,
        "seed": seed,
    }


CASES = [
    *[case("plain_net(32)", 1, 16, batch) for batch in (1, 64)],
    *[case("plain_mlp 3 x 1024", 1, 16, batch) for batch in (1, 64)],
    *[
        case(block.__name__, channels, side, 1)
        for channels, side in SHAPES
        for block in BLOCKS
    ],
    *[case("chain", 1, 16, 64, seed) for seed in range(NETS)],
]


if __name__ == "__main__":
    fill_table(__file__, CASES, measure)
