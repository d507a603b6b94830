"""What magnitude pruning costs, five ways to spread it, and what it shows.

The plain network of 256-200-100-10 units on moved digits, trained for ten epochs. Then
one of these, at one sparsity, from the trained weights:

    random              any weights, the same share of every layer
    layer               the smallest of every layer
    global              the smallest of all layers
    lamp                the smallest LAMP scores of all layers
    erk                 the smallest of every layer, shares by its sides
                        each as it is ("cut"), and after 3 epochs
    one shot            layer, then 15 epochs
    restarts            layer, then 5 times 3 epochs
    rounds              5 rounds of layer and 3 epochs, ever sparser

And with a twentieth of the weights of the first layer learned, none pruned:

    predicted           the others predicted from where their pixels are
    mixed               all weights random mixtures of 13 learned numbers a unit
    alone               the others 0
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.digits import Digits, moved_digits
from effdl.prune.densities import erk_sparsities
from effdl.prune.iterative import prune_and_train_
from effdl.prune.magnitude import lamp_scores, magnitude_scores
from effdl.prune.masks import Masks, prune_
from effdl.prune.overparameterized import (
    PredictedLinear,
    gaussian_kernel,
    pixel_positions,
    prediction_dictionary,
)
from effdl.prune.pruned import weights_of
from effdl.prune.schedules import sparsity_of_rounds
from effdl.prune.thresholds import global_masks, layer_masks
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

RATE, EPOCHS, ROUNDS = 0.05, 3, 5
GROUPS, KNOWN = 20, 13  # of 200 units, and of 256 pixels
SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
IN_ROUNDS = (0.9, 0.95, 0.98)


@cache
def digits() -> Digits:
    """Return the scenes that all are trained on."""
    return moved_digits()


def train(net: nn.Module, seed: int, epochs: int = EPOCHS) -> None:
    """Train a network in place."""
    train_classifier(net, digits().train, epochs=epochs, learning_rate=RATE, seed=seed)


@cache
def dense(seed: int) -> nn.Module:
    """Return the trained network; copy it before changing it."""
    with seeded(seed):
        net = plain_mlp()
    train(net, seed, 10)
    return net


def random_masks(net: nn.Module, sparsity: float, seed: int) -> Masks:
    """Return masks that do not look at the weights."""
    with seeded(1000 + seed):
        scores = {name: torch.rand_like(w) for name, w in weights_of(net).items()}
    return layer_masks(scores, sparsity)


def erk_masks(net: nn.Module, sparsity: float) -> Masks:
    """Return masks of the largest weights, with the densities of ERK."""
    scores = magnitude_scores(net)
    shapes = {name: score.shape for name, score in scores.items()}
    return layer_masks(scores, erk_sparsities(shapes, sparsity))


MASKS: dict[str, Callable[[nn.Module, float, int], Masks]] = {
    "random": random_masks,
    "layer": lambda net, sparsity, _: layer_masks(magnitude_scores(net), sparsity),
    "global": lambda net, sparsity, _: global_masks(magnitude_scores(net), sparsity),
    "lamp": lambda net, sparsity, _: global_masks(lamp_scores(net), sparsity),
    "erk": lambda net, sparsity, _: erk_masks(net, sparsity),
}


def in_turns(sparsities: list[float], epochs: int, seed: int) -> nn.Module:
    """Return the trained network after pruning and training in turns."""
    net = copy.deepcopy(dense(seed))
    prune_and_train_(
        net,
        sparsities,
        scores_of=magnitude_scores,
        select=layer_masks,
        train=partial(train, seed=seed, epochs=epochs),
    )
    return net


def few_learned(way: str, seed: int) -> nn.Module:
    """Return a network trained with a twentieth of its first layer's weights."""
    kernel = gaussian_kernel(pixel_positions(16, 16), width=1.0)

    def dictionary() -> Tensor:
        chosen = torch.randperm(len(kernel))[:KNOWN]
        if way == "predicted":
            return prediction_dictionary(kernel, chosen, ridge=0.1)
        alone = torch.eye(len(kernel))[:, chosen]
        return torch.randn_like(alone) if way == "mixed" else alone

    with seeded(2000 + seed):
        dictionaries = torch.stack([dictionary() for _ in range(GROUPS)])
    with seeded(seed):
        net = plain_mlp()
        net[1] = PredictedLinear(dictionaries, 200)
    train(net, seed, 10)
    return net


def measure(method: str, sparsity: float, seed: int) -> Case:
    """Return accuracies of one network; "cut" are those before fine-tuning."""
    cut: tuple[float | str, ...] = ("", "")
    if method in MASKS:
        net = copy.deepcopy(dense(seed))
        prune_(net, MASKS[method](net, sparsity, seed))
        cut = accuracies(net)
        train(net, seed)
    elif method == "rounds":
        net = in_turns(sparsity_of_rounds(sparsity, ROUNDS), EPOCHS, seed)
    elif method == "restarts":
        net = in_turns([sparsity] * ROUNDS, EPOCHS, seed)
    elif method == "one shot":
        net = in_turns([sparsity], ROUNDS * EPOCHS, seed)
    else:
        net = dense(seed) if method == "dense" else few_learned(method, seed)
    validation, test = accuracies(net)
    return {
        "validation": validation,
        "test": test,
        "cut_validation": cut[0],
        "cut_test": cut[1],
    }


def accuracies(net: nn.Module) -> tuple[float, float]:
    """Return validation and test accuracy."""
    parts = digits().validation, digits().test
    return accuracy(net, parts[0].batches(1000)), accuracy(net, parts[1].batches(1000))


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    pairs = [(method, s) for method in MASKS for s in SPARSITIES]
    pairs += [(m, s) for m in ("one shot", "restarts", "rounds") for s in IN_ROUNDS]
    pairs += [(m, 0.0) for m in ("dense", "predicted", "mixed", "alone")]
    fill_table(
        __file__,
        [{"method": m, "sparsity": s, "seed": i} for i in seeds for m, s in pairs],
        measure,
    )
