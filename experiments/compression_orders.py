"""Pruning, distilling and quantizing one network, in every order and step by step.

A row is a network after some steps: "steps" says which and in which order.

    P    half of the channels of every layer go      4 epochs on the labels
    D    nothing goes                                4 epochs with a teacher's answers
    Q    weights of some bits, activations of 8      4 epochs on the labels
    T    nothing goes: more training                 4 epochs on the labels
    A    all of P, D and Q in one training           12 epochs

"bits" is 32 where nothing is rounded. The network is plain_net(8) after ten epochs,
the teacher plain_net(24). All steps have one learning rate: of 0.03, 0.06 and 0.1 the
middle one, after a look at the validation part with seed 0.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import permutations

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.compress.at_once import at_once
from effdl.compress.orders import distilled, pruned, quantized
from effdl.compress.report import bytes_of, macs_of
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.recipe import Recipe
from effdl.distill.teacher import answers
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WIDTH, TEACHER, KEEP, BITS = 8, 24, 0.5, (4, 2)
EPOCHS, RATE = 4, 0.06
FLOATS = ("", "P", "D", "PD", "DP", "T", "TT", "TTT")
ROUNDED = sorted({
    "".join(p) for n in (1, 2, 3) for p in permutations("PDQ", n) if "Q" in p
})


@cache
def digits() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def taught() -> Tensor:
    """Return the teacher's logits for all training images."""
    with seeded(0):
        teacher = plain_net(TEACHER)
        train_classifier(teacher, digits().train)
    return answers(teacher.eval(), digits().train.inputs)


@cache
def network(steps: str, bits: int, seed: int) -> nn.Module:
    """Return the network after the steps, the first of them done first."""
    if not steps:
        with seeded(seed):
            net = plain_net(WIDTH)
            train_classifier(net, digits().train, seed=seed)
        return net.eval()
    last = steps[-1]
    before = network(steps[:-1], bits if "Q" in steps[:-1] else 32, seed)
    recipe = Recipe(EPOCHS, RATE, seed=seed)
    everything = partial(at_once, keep=KEEP, bits=bits, taught=taught())
    make = {
        "P": partial(pruned, recipe=recipe, keep=KEEP),
        "D": partial(distilled, recipe=recipe, taught=taught()),
        "Q": partial(quantized, recipe=recipe, bits=bits),
        "T": partial(pruned, recipe=recipe, keep=1.0),
        "A": partial(everything, recipe=Recipe(3 * EPOCHS, RATE, seed=seed)),
    }
    with seeded(seed):
        return make[last](before, digits().train)


def measure(steps: str, bits: int, seed: int) -> Case:
    """Return accuracies, multiply-adds and bytes."""
    net = network(steps.removeprefix("-"), bits, seed)
    return {
        "validation": accuracy(net, digits().validation.batches(500)),
        "test": accuracy(net, digits().test.batches(500)),
        "macs": macs_of(net, digits().test.inputs[:1]),
        "bytes": bytes_of(net),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    torch.set_num_threads(1)
    rows = [(steps or "-", 32) for steps in FLOATS]
    rows += [(steps, bits) for bits in BITS for steps in (*ROUNDED, "A")]
    cases: list[Case] = [
        {"steps": steps, "bits": bits, "seed": seed}
        for seed in seeds
        for steps, bits in rows
    ]
    fill_table(__file__, cases, measure)
