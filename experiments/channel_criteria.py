"""What makes a channel unimportant: scores of channels against the truth.

A small convolutional network is trained for each seed. The truth is the exact increase
of the loss when one channel of an activation is set to 0, on 500 training images.

    pooled      Spearman's correlation with the truth, over the channels of all layers
    within      the same within each layer, the mean over the layers

"other images" is the truth itself, on 500 other images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.nas.ranking import spearman
from effdl.prune.loss_increase import channel_increases
from effdl.prune.taylor import activation_taylor_scores, channel_taylor_scores
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WIDTH, IMAGES = 8, 500
LAYERS = [f"{block}.2" for block in range(5)]  # the activations
Scores = Mapping[str, Tensor]


@cache
def digits() -> Digits:
    """Return the images of all seeds."""
    return moved_digits()


@cache
def trained(seed: int) -> nn.Module:
    """Return the network that all scores of a seed judge."""
    with seeded(seed):
        net = plain_net(WIDTH)
    train_classifier(net, digits().train, seed=seed)
    return net.eval()


def images(seed: int, part: int = 0) -> tuple[Tensor, Tensor]:
    """Return training images, other ones for every part."""
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(digits().train), generator=random)
    chosen = chosen[part * IMAGES : (part + 1) * IMAGES]
    return digits().train.inputs[chosen], digits().train.targets[chosen]


@cache
def truth(seed: int, part: int = 0) -> Scores:
    """Return the increase of the loss for every channel."""
    return channel_increases(trained(seed), *images(seed, part), layers=LAYERS)


def filter_norms(seed: int) -> Scores:
    """Return the l1 norm of the filter behind each channel."""
    net = trained(seed)
    return {
        name: net.get_parameter(f"{name[0]}.0.weight").detach().abs().sum((1, 2, 3))
        for name in LAYERS
    }


def scales(seed: int) -> Scores:
    """Return the size of batch norm's scale in front of each channel."""
    net = trained(seed)
    return {n: net.get_parameter(f"{n[0]}.1.weight").detach().abs() for n in LAYERS}


def mean_activations(seed: int) -> Scores:
    """Return the mean of each channel over images and pixels."""
    x, found = images(seed)[0], {}
    with torch.no_grad():
        for name, block in zip(LAYERS, trained(seed).children(), strict=False):
            x = block(x)
            found[name] = x.mean((0, 2, 3))
    return found


def random_scores(seed: int) -> Scores:
    """Return scores by chance."""
    with seeded(seed):
        return {name: torch.rand(len(scores)) for name, scores in truth(seed).items()}


CRITERIA: dict[str, Callable[[int], Scores]] = {
    "random": random_scores,
    "filter norm": filter_norms,
    "batch-norm scale": scales,
    "mean activation": mean_activations,
    "Taylor 2017": lambda seed: activation_taylor_scores(
        trained(seed), *images(seed), layers=LAYERS
    ),
    "Taylor 2019": lambda seed: channel_taylor_scores(
        trained(seed), *images(seed), layers=LAYERS
    ),
    "other images": lambda seed: truth(seed, 1),
}


def measure(criterion: str, seed: int) -> Case:
    """Return how well the scores of one criterion rank the channels."""
    scores, true = CRITERIA[criterion](seed), truth(seed)
    both = [torch.cat([of[name] for name in LAYERS]).numpy() for of in (scores, true)]
    within = [spearman(scores[n].numpy(), true[n].numpy()) for n in LAYERS]
    return {
        "pooled": spearman(*both),
        "within": float(np.mean(within)),
        "dense": accuracy(trained(seed), digits().test.batches(500)),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases: list[Case] = [
        {"criterion": name, "seed": seed} for seed in seeds for name in CRITERIA
    ]
    fill_table(__file__, cases, measure)
