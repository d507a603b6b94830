"""Accuracies of chains of three candidate blocks, drawn at random, for SpaceEvo.

Each row is a network of three stages, whose blocks and widths its seed draws. It is
trained for a few epochs, folded and rounded to 8 bits; validation and test accuracy.
The fit to the validation accuracies is what the score of a space is made of; the times
of the same networks are in int8_latency.csv.
"""

from __future__ import annotations

import numpy as np

from _results import Case, fill_table
from effdl.data.digits import moved_digits
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.int8_blocks import (
    Block,
    Choice,
    chain_net,
    conv_hardswish,
    conv_relu,
    conv_squeeze_excite,
    depthwise_relu,
)
from effdl.quant.int8_space import Net
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

BLOCKS: list[Block] = [conv_relu, depthwise_relu, conv_hardswish, conv_squeeze_excite]
WIDTHS = (8, 16, 32)
STAGES, NETS, EPOCHS = 3, 48, 3


def drawn_net(seed: int) -> Net:
    """Return the network of a seed."""
    random = np.random.default_rng(seed)
    blocks, widths = (random.integers(n, size=STAGES) for n in (len(BLOCKS), 3))
    pairs = zip(blocks, widths, strict=True)
    return tuple(Choice(BLOCKS[b], WIDTHS[w]) for b, w in pairs)


def label(net: Net) -> str:
    """Return a network's blocks and widths as a text."""
    return " ".join(f"{c.block.__name__}:{c.width}" for c in net)


def measure(seed: int) -> Case:
    """Return the accuracies of the network of a seed, rounded to 8 bits."""
    data, chosen = moved_digits(), drawn_net(seed)
    with seeded(seed):
        net = chain_net(chosen)
    train_classifier(net, data.train, epochs=EPOCHS, seed=seed)
    quantized = insert_quantizers(
        fold_batch_norm(net.eval()),
        weight=lambda _name, _w: WeightQuantizer(8),
        activation=lambda _name: ActivationQuantizer(Extremes(), 8),
    )
    calibrate_(quantized, data.train.batches(600))
    return {
        "net": label(chosen),
        "float": accuracy(net, data.validation.batches(500)),
        "validation": accuracy(quantized, data.validation.batches(500)),
        "test": accuracy(quantized, data.test.batches(500)),
    }


if __name__ == "__main__":
    fill_table(__file__, [{"seed": seed} for seed in range(NETS)], measure)
