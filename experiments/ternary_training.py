"""One trained network, trained on with few values for a weight, and for an input.

All start from the same five convolutions with ReLU. The first convolution and the
linear layer stay in float, as in TTQ's paper. Where inputs have few values, too, their
quantizer stands in the place of the ReLU before a convolution: behind a ReLU no input
is negative, and two of three values would be left.

Every network then trains for the same few epochs, "float" with nothing changed. Where
inputs change, the steps are larger: 0.02 was too small there on the validation part.
Weights that flip leave the running means of batch norm behind. So accuracies are given
with them ("running"), and after the means were taken again over the training part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import update_bn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import moved_digits
from effdl.quant.binarize import sign
from effdl.quant.binary_net import SignActivation
from effdl.quant.sttn import TernaryStep, TwoSigns
from effdl.quant.syq import LAYER, PIXELS, SymmetricWeight, ternary_codes
from effdl.quant.tbn import TernaryInput
from effdl.quant.ternary import best_threshold
from effdl.quant.ttq import TrainedTernary
from effdl.quant.twn import TernaryWeight, in_groups, whole
from effdl.quant.xnor_net import ScaledSigns
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WIDTH, EPOCHS = 4, 6
RATE, INPUTS_RATE = 0.02, 0.1  # the second where inputs have few values, too


Weight = Callable[[Tensor], nn.Module]
Input = Callable[[], nn.Module]
SIGNS: Weight = lambda _: ScaledSigns()  # noqa: E731
TERNARY: Weight = lambda _: TernaryWeight()  # noqa: E731
WAYS: dict[str, tuple[Weight | None, Input | None]] = {
    "float": (None, None),
    "signs": (SIGNS, None),
    "TWN, layer": (lambda _: TernaryWeight(whole), None),
    "TWN": (TERNARY, None),
    "TWN, best": (lambda _: TernaryWeight(threshold=best_threshold), None),
    "FGQ, 4": (lambda _: TernaryWeight(in_groups(4), best_threshold), None),
    "TTQ": (TrainedTernary, None),
    "STTN": (lambda _: TwoSigns(), None),
    "SYQ 1, layer": (partial(SymmetricWeight, shared=LAYER, codes=sign), None),
    "SYQ 1, pixels": (partial(SymmetricWeight, shared=PIXELS, codes=sign), None),
    "SYQ 2, pixels": (
        partial(SymmetricWeight, shared=PIXELS, codes=ternary_codes),
        None,
    ),
    "signs, inputs signs": (SIGNS, SignActivation),
    "TBN": (SIGNS, TernaryInput),
    "TWN, inputs ternary": (TERNARY, TernaryInput),
    "STTN, inputs ternary": (lambda _: TwoSigns(), TernaryStep),
}


@cache
def trained(seed: int) -> nn.Sequential:
    """Return the network that all of a seed start from."""
    with seeded(seed):
        net = plain_net(WIDTH)
    train_classifier(net, moved_digits().train, seed=seed)
    return net


def with_few_values(
    net: nn.Sequential, weight: Weight | None, inputs: Input | None
) -> nn.Sequential:
    """Return a copy with quantizers at all convolutions but the first."""
    changed = copy.deepcopy(net)
    for before, block in pairwise(changed[:5]):
        if weight is not None:
            conv = block[0]
            parametrize.register_parametrization(conv, "weight", weight(conv.weight))
        if inputs is not None:
            before[2] = inputs()
    return changed


def measure(way: str, seed: int) -> Case:
    """Return accuracies of one training, and how many weights are 0."""
    digits = moved_digits()
    weight, inputs = WAYS[way]
    net = with_few_values(trained(seed), weight, inputs)
    rate = RATE if inputs is None else INPUTS_RATE
    untrained = accuracy(net, digits.test.batches(500))
    train_classifier(
        net, digits.train, epochs=EPOCHS, learning_rate=rate, seed=100 + seed
    )
    running = accuracy(net, digits.test.batches(500))
    update_bn(digits.train.batches(100), net)
    weights = torch.cat([block[0].weight.detach().flatten() for block in net[1:5]])
    return {
        "at_once": untrained,
        "running": running,
        "validation": accuracy(net, digits.validation.batches(500)),
        "test": accuracy(net, digits.test.batches(500)),
        "zeros": float((weights == 0).float().mean()),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [{"way": way, "seed": seed} for seed in seeds for way in WAYS],
        measure,
    )
