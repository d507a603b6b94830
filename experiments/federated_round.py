"""Ten clients, each with few classes, and what a server makes of what they send.

The scanned digits are dealt out to ten clients: evenly, or sorted by class, two parts
of twenty for each. 329 images belong to nobody and are public, without labels. Each of
ten rounds starts all clients from the server's network, for two epochs each.

    pooled       one network on the images of all clients, as many steps
    average      FedAvg: the mean of all weights
    shared       after one round the server prunes half its weights, for all
    zeros        after one round each client prunes half of its own; FedAvg, zeros count
    kept         the same clients; each entry's mean is over those that kept it
    fusion       FedAvg, and then the clients' mean logits are distilled on the public
                 images, in every round
    logits       no weights are averaged: the server learns from the mean logits only

Weights are pruned by size, and masks stay. With masks of the clients' own the server's
network is dense, and each client ignores what it has pruned. The rate is the best of
three by the validation accuracy of seed 0.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.compress.federated import federated_average, federated_round, fuse
from effdl.data.digits import Digits, Split, raw_digits
from effdl.distill.recipe import Recipe
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import prune_
from effdl.prune.thresholds import layer_masks
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

CLIENTS, ROUNDS, EPOCHS, BATCH = 10, 10, 2, 10
OWN = 700  # images that belong to clients; the others are public
RATES = (0.01, 0.03, 0.1)
SPARSITY = 0.5
FUSION = Recipe(epochs=5, learning_rate=0.03, batch_size=50)
OWN_MASKS = ("zeros", "kept")


@cache
def data() -> Digits:
    """Return the images."""
    return raw_digits()


def dealt(skew: str, seed: int) -> tuple[list[Split], Tensor]:
    """Return the clients' images, and the public ones."""
    train = data().train
    with seeded(seed):
        order = torch.randperm(len(train))
        own, public = order[:OWN], train.inputs[order[OWN:]]
        if skew == "classes":
            own = own[train.targets[own].argsort(stable=True)]
        parts = own.tensor_split(2 * CLIENTS)
        hands = torch.randperm(2 * CLIENTS).view(CLIENTS, 2)
    which = [torch.cat([parts[i] for i in hand]) for hand in hands]
    return [Split(train.inputs[w], train.targets[w]) for w in which], public


def new_net(seed: int) -> nn.Module:
    """Return the server's network before the first round."""
    with seeded(seed):
        return plain_mlp((64, 64, 32, 10))


Training = Callable[[nn.Module, Split, int], list[float]]


def train_at(rate: float, seed: int, turn: int) -> Training:
    """Return the training of a client in a round."""

    def train(net: nn.Module, split: Split, number: int) -> list[float]:
        return train_classifier(
            net,
            split,
            epochs=EPOCHS,
            learning_rate=rate,
            batch_size=BATCH,
            seed=1000 * seed + CLIENTS * turn + number,
        )

    return train


def pooled(clients: list[Split], rate: float, seed: int) -> nn.Module:
    """Return a network that has seen all images."""
    together = Split(
        torch.cat([c.inputs for c in clients]), torch.cat([c.targets for c in clients])
    )
    net = new_net(seed)
    train_classifier(
        net,
        together,
        epochs=ROUNDS * EPOCHS,
        learning_rate=rate,
        batch_size=BATCH,
        seed=seed,
    )
    return net


def by_rounds(method: str, skew: str, seed: int, rate: float) -> nn.Module:
    """Return the server's network after all rounds."""
    clients, public = dealt(skew, seed)
    if method == "pooled":
        return pooled(clients, rate, seed)
    server, masks = new_net(seed), None
    for turn in range(ROUNDS):
        before = copy.deepcopy(server)
        train = train_at(rate, seed, turn)
        nets = federated_round(server, clients, train, masks=masks)
        if method == "zeros" and masks is not None:
            average = federated_average([n.state_dict() for n in nets], sizes(clients))
            server.load_state_dict(average)
        if method == "logits":
            server = before
        if method in ("fusion", "logits"):
            fuse(server, [net.eval() for net in nets], public, FUSION)
        masks = masks or first_masks(method, server, nets)
    if method == "shared" and masks is not None:
        prune_(server, masks[0])
    return server


def first_masks(
    method: str, server: nn.Module, nets: list[nn.Module]
) -> list[dict[str, Tensor]] | None:
    """Return each client's masks after the first round, None if it prunes nothing."""
    if method in OWN_MASKS:
        return [masks_by_size(net) for net in nets]
    return [masks_by_size(server)] * CLIENTS if method == "shared" else None


def masks_by_size(net: nn.Module) -> dict[str, Tensor]:
    """Return the larger half of the weights of each layer."""
    return layer_masks(magnitude_scores(net), SPARSITY)


def sizes(clients: list[Split]) -> list[int]:
    """Return how many images each client has."""
    return [len(split) for split in clients]


@cache
def seen(method: str, skew: str, seed: int, rate: float) -> dict[str, float]:
    """Return the accuracies, nan if the training ran away."""
    try:
        net = by_rounds(method, skew, seed, rate)
    except FloatingPointError:
        return {"validation": math.nan, "test": math.nan}
    return {
        "validation": accuracy(net, data().validation.batches(500)),
        "test": accuracy(net, data().test.batches(500)),
    }


@cache
def best_rate(method: str, skew: str) -> float:
    """Return the rate with the best validation accuracy of seed 0."""
    found = {rate: seen(method, skew, 0, rate)["validation"] for rate in RATES}
    return max(RATES, key=lambda rate: -1 if math.isnan(found[rate]) else found[rate])


def measure(method: str, skew: str, seed: int) -> Case:
    """Return the rate and what came of it."""
    rate = best_rate(method, skew)
    return {"rate": rate, **seen(method, skew, seed, rate)}


if __name__ == "__main__":
    seeds = sorted({*seeds_from_command_line(__doc__), 3, 4})
    methods = ("pooled", "average", "shared", *OWN_MASKS, "fusion", "logits")
    cases: list[Case] = [
        {"method": method, "skew": skew, "seed": seed}
        for skew in ("even", "classes")
        for method in methods
        for seed in seeds
    ]
    fill_table(__file__, cases, measure)
