"""A network that lost half its channels, mended with 1 to 50 images of each class.

All but the last convolution of the teacher lose the half with the smallest filters.
Then, on one draw of images, the same in all methods:

    pruned        nothing
    labels        300 steps on the cross-entropy
    logits        300 steps on the teacher's softened answers, no labels
    mir           300 steps on the last features, then the teacher's head
    fskd          one matrix of channels by channels for each layer
    estimation    each layer refitted, on the student's inputs to the teacher's outputs
    cross         each layer refitted by the mix of correction and imitation

The first three train with batch norm; the last three have it folded. The seed draws
the images. Rate, ridge and mu are those with the best validation accuracy of seed 0:
of more labelled images than there are to learn from, so all methods look better here
than they would be without.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from itertools import product

import torch
from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.compress.channels import largest_filters, remove_channels
from effdl.data.digits import Digits, Split, cluttered_digits
from effdl.distill.cross_distillation import cross_distil, estimate_layers
from effdl.distill.fskd import fskd
from effdl.distill.kd import distil
from effdl.distill.layer_errors import relative_errors
from effdl.distill.mir import mir
from effdl.distill.recipe import Recipe
from effdl.quant.graph import fold_batch_norm
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

IMAGES = (1, 2, 5, 10, 50)  # of each class
STEPS, BATCH = 300, 50
RATES, RIDGES, MIXES = (0.003, 0.01, 0.03, 0.1), (0.0, 0.01, 0.1), (0.3, 0.6, 0.9)
LAYERS = [f"{i}.0" for i in range(5)]
Setting = tuple[float, float]  # rate or ridge, and mu


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher() -> nn.Module:
    """Return the network that is pruned, in eval mode."""
    with seeded(0):
        net = plain_net(16)
        train_classifier(net, data().train)
    return net.eval()


@cache
def kept() -> dict[str, torch.Tensor]:
    """Return which channels stay."""
    return largest_filters(teacher(), 0.5, names=frozenset(LAYERS[:-1]))


@cache
def pruned() -> nn.Module:
    """Return the pruned network, in eval mode."""
    return remove_channels(teacher(), kept()).eval()


@cache
def drawn(images: int, seed: int) -> Split:
    """Return so many images of each class."""
    train = data().train
    with seeded(seed):
        chosen = [
            of_class[torch.randperm(len(of_class))[:images]]
            for of_class in ((train.targets == c).nonzero()[:, 0] for c in range(10))
        ]
    which = torch.cat(chosen)
    return Split(train.inputs[which], train.targets[which])


def recipe(split: Split, rate: float) -> Recipe:
    """Return 300 steps at a rate."""
    size = min(BATCH, len(split))
    epochs = STEPS // -(-len(split) // size)
    return Recipe(epochs=epochs, learning_rate=rate, batch_size=size)


def with_labels(split: Split, rate: float) -> nn.Module:
    """Return the network after plain fine-tuning."""
    net, how = copy.deepcopy(pruned()), recipe(split, rate)
    train_classifier(
        net,
        split,
        epochs=how.epochs,
        learning_rate=rate,
        batch_size=how.batch_size,
    )
    return net.eval()


def with_logits(split: Split, rate: float) -> nn.Module:
    """Return the network after distillation without labels."""
    net = copy.deepcopy(pruned())
    distil(net, teacher(), split, recipe(split, rate), alpha=1.0)
    return net.eval()


def by_method(method: str, split: Split, setting: Setting) -> nn.Module:
    """Return the network that a method makes, in eval mode."""
    strength, mu = setting
    few, how = split.inputs, recipe(split, strength or 0.1)
    make: dict[str, Callable[[], nn.Module]] = {
        "teacher": teacher,
        "pruned": pruned,
        "labels": lambda: with_labels(split, strength),
        "logits": lambda: with_logits(split, strength),
        "mir": lambda: mir(pruned(), teacher(), few, how, layer="4", head=["7"]),
        "fskd": lambda: fskd(
            pruned(), teacher(), few, LAYERS, keep=kept(), ridge=strength
        ),
        "estimation": lambda: estimate_layers(teacher(), kept(), few, ridge=strength),
        "cross": lambda: cross_distil(teacher(), kept(), few, mu=mu, ridge=strength),
    }
    return make[method]().eval()


def settings(method: str) -> list[Setting]:
    """Return what to choose from."""
    if method in ("labels", "logits", "mir"):
        return [(rate, 0.0) for rate in RATES]
    if method == "cross":
        return list(product(RIDGES[1:], MIXES))
    return [(ridge, 0.0) for ridge in RIDGES if method in ("fskd", "estimation")]


@cache
def seen(method: str, images: int, seed: int, setting: Setting) -> dict[str, float]:
    """Return accuracies, and how far the last features of test images are away."""
    net = by_method(method, drawn(max(1, images), seed), setting)
    inputs = data().test.inputs[:500]
    folded, whole = fold_batch_norm(net), fold_batch_norm(teacher())
    last = relative_errors(folded, whole, inputs, LAYERS[-1:])
    return {
        "validation": accuracy(net, data().validation.batches(500)),
        "test": accuracy(net, data().test.batches(500)),
        "error": last[LAYERS[-1]],
    }


@cache
def best(method: str, images: int) -> Setting:
    """Return the setting with the best validation accuracy of seed 0."""
    choice = settings(method) or [(0.0, 0.0)]
    return max(choice, key=lambda s: seen(method, images, 0, s)["validation"])


def measure(method: str, images: int, seed: int) -> Case:
    """Return the setting and what came of it."""
    strength, mu = best(method, images)
    found = seen(method, images, seed, (strength, mu))
    return {"strength": strength, "mu": mu, **found}


if __name__ == "__main__":
    seeds = sorted({*seeds_from_command_line(__doc__), 3, 4})  # five draws at least
    methods = ("labels", "logits", "mir", "fskd", "estimation", "cross")
    cases: list[Case] = [
        {"method": method, "images": 0, "seed": 0} for method in ("teacher", "pruned")
    ]
    cases += [
        {"method": method, "images": images, "seed": seed}
        for images in IMAGES
        for method in methods
        for seed in seeds
    ]
    fill_table(__file__, cases, measure)
