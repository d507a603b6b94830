"""All 729 bit assignments of a small network: every one rounded and measured.

Six layers, 2, 4 or 8 bits for the weights of each, with a scale for each output
channel; activations have 8 bits. The network is trained in floats, folded, calibrated
once with all weights at 8 bits, and then only rounded: nothing is trained again.
Networks of several seeds are measured on the validation and on the test images. A row
is the part of the members that share the bits of the first two layers, in the order of
``bit_space(6).all_choices()``.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import fx

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, Split, moved_digits
from effdl.quant.bit_choices import CANDIDATES, LayerSize, layer_sizes
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.quant.set_bits import set_bits_
from effdl.seed import seeded
from effdl.train import train_classifier

EPOCHS, WIDTH, LAYERS, FIRST = 10, 8, 6, 2


@cache
def digits() -> Digits:
    """Return the images."""
    return moved_digits()


@cache
def trained(seed: int) -> fx.GraphModule:
    """Return the network in floats, its batch norm folded."""
    with seeded(seed):
        net = plain_net(WIDTH)
    train_classifier(net, digits().train, epochs=EPOCHS, seed=seed)
    return fold_batch_norm(net.eval())


@cache
def sizes(seed: int) -> list[LayerSize]:
    """Return the sizes of its layers."""
    return layer_sizes(trained(seed), digits().train.inputs[:1])


def quantized(seed: int) -> fx.GraphModule:
    """Return the network at 8 bits everywhere, calibrated on 1,000 training images."""
    net = insert_quantizers(
        trained(seed),
        weight=lambda _name, _weight: WeightQuantizer(8),
        activation=lambda _name: ActivationQuantizer(Extremes(), 8),
    )
    some = digits().train
    calibrate_(net, [(some.inputs[:1000], some.targets[:1000])])
    return net


@torch.no_grad()
def logits(net: fx.GraphModule, split: Split) -> torch.Tensor:
    """Return the logits of all images, (N, 10)."""
    return torch.cat([net(inputs) for inputs, _ in split.batches(500)])


def right(answers: torch.Tensor, split: Split) -> float:
    """Return the share of right answers."""
    return float((answers.argmax(dim=1) == split.targets).double().mean())


def measure(seed: int, first: str) -> Case:
    """Return the scores of the 81 members with these bits in the first two layers."""
    net, part = quantized(seed), tuple(map(int, first.split()))
    found: dict[str, list[str]] = {"validation": [], "loss": [], "test": []}
    for rest in product(CANDIDATES, repeat=LAYERS - FIRST):
        set_bits_(net, (*part, *rest))
        on_validation = logits(net, digits().validation)
        loss = F.cross_entropy(on_validation, digits().validation.targets)
        accuracy = right(on_validation, digits().validation)
        found["validation"].append(f"{accuracy:.4g}")
        found["loss"].append(f"{loss.item():.4g}")
        found["test"].append(f"{right(logits(net, digits().test), digits().test):.4g}")
    floats = trained(seed)
    return {
        "names": " ".join(size.name for size in sizes(seed)),
        "weights": " ".join(str(size.weights) for size in sizes(seed)),
        "macs": " ".join(str(size.macs) for size in sizes(seed)),
        "float_validation": right(
            logits(floats, digits().validation), digits().validation
        ),
        "float_test": right(logits(floats, digits().test), digits().test),
        **{name: " ".join(texts) for name, texts in found.items()},
    }


def cases(seeds: list[int]) -> list[Case]:
    """Return the parts of all networks."""
    parts = [" ".join(map(str, bits)) for bits in product(CANDIDATES, repeat=FIRST)]
    return [{"first": part, "seed": seed} for seed in seeds for part in parts]


if __name__ == "__main__":
    torch.set_num_threads(1)
    fill_table(__file__, cases(seeds_from_command_line(__doc__)), measure)
