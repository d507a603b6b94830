"""What makes a weight unimportant: criteria against the truth, on one network a seed.

A small fully connected network is trained. The truth is the exact increase of the loss
when one of the 800 weights of its middle layer goes, on 1,000 training images.

    correlation         Spearman's, of the scores with the truth
    only_50 ... _90     test accuracy when that share of the middle layer goes
    net_50 ... _875     the same for every layer of the network
    global_75           for the network, with one threshold for all layers
    tuned_875           as net_875, trained for three more epochs

No network is trained after it was pruned but for the last column. Empty: the criterion
has no scores for so many weights. "other images" is the truth itself, on 1,000 other
images. "with step" means that the weights left make up for those that went.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.digits import Digits, moved_digits
from effdl.nas.proxies.snip import connection_sensitivity
from effdl.nas.ranking import spearman
from effdl.prune.block_fisher import (
    compensate_blocks_,
    sample_slopes,
    woodfisher_scores,
)
from effdl.prune.layer_obs import layer_obs_scores, operate_layers_
from effdl.prune.loss_increase import weight_increases
from effdl.prune.magnitude import lamp_scores, magnitude_scores
from effdl.prune.masks import prune_
from effdl.prune.obd import exact_curvature, hutchinson_curvature
from effdl.prune.obd_backward import backward_curvature
from effdl.prune.obs_model import obs_scores, operate_
from effdl.prune.pruned import weights_of
from effdl.prune.sensitivity import output_sensitivity
from effdl.prune.taylor import taylor_scores
from effdl.prune.thresholds import global_masks, layer_masks
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WIDTHS, MIDDLE = (256, 40, 20, 10), "3.weight"
IMAGES, FEW = 1000, 300  # FEW where a matrix of all weights is made
Scores = Mapping[str, Tensor]
Select = Callable[[Scores, float], dict[str, Tensor]]


@cache
def digits() -> Digits:
    """Return the images of all seeds."""
    return moved_digits()


@cache
def trained(seed: int) -> nn.Module:
    """Return the network that all criteria of a seed judge."""
    with seeded(seed):
        net = plain_mlp(WIDTHS)
    train_classifier(net, digits().train, seed=seed)
    return net.eval()


def images(seed: int, part: int = 0) -> tuple[Tensor, Tensor]:
    """Return training images, other ones for every part."""
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(digits().train), generator=random)
    chosen = chosen[part * IMAGES : (part + 1) * IMAGES]
    return digits().train.inputs[chosen], digits().train.targets[chosen]


def truth(seed: int, part: int = 0) -> Tensor:
    """Return the increases of the middle layer."""
    return weight_increases(trained(seed), *images(seed, part), names=[MIDDLE])[MIDDLE]


true_increases = cache(truth)


def of_curvature(curvature: Scores, seed: int) -> Scores:
    """Return h w^2 / 2."""
    weights = weights_of(trained(seed))
    return {name: h * weights[name] ** 2 / 2 for name, h in curvature.items()}


def taylor_and_curvature(seed: int) -> Scores:
    """Return both terms of the expansion, with their signs: - g w + h w^2 / 2."""
    net, (x, y) = trained(seed), images(seed)
    curvature = exact_curvature(net, x, y, names=[MIDDLE])
    loss = nn.functional.cross_entropy(net(x), y)
    weight = net.get_parameter(MIDDLE)
    [slope] = torch.autograd.grad(loss, weight)
    second = of_curvature(curvature, seed)[MIDDLE]
    return {MIDDLE: second - slope * weight.detach()}


def weighted_sensitivity(seed: int) -> Scores:
    """Return |w| S."""
    weights = weights_of(trained(seed))
    found = output_sensitivity(trained(seed), images(seed)[0])
    return {name: s * weights[name].abs() for name, s in found.items()}


def random_scores(seed: int) -> Scores:
    """Return scores by chance."""
    with seeded(seed):
        return {
            name: torch.rand_like(w) for name, w in weights_of(trained(seed)).items()
        }


def hutchinson(seed: int) -> Scores:
    """Return the scores of a hundred draws."""
    with seeded(seed):
        return of_curvature(hutchinson_curvature(trained(seed), *images(seed)), seed)


def obs(seed: int) -> Scores:
    """Return the scores of brain surgery on the middle layer."""
    x, y = images(seed)
    return obs_scores(trained(seed), x[:FEW], y[:FEW], names=[MIDDLE])


CRITERIA: dict[str, Callable[[int], Scores]] = {
    "random": random_scores,
    "magnitude": lambda seed: magnitude_scores(trained(seed)),
    "LAMP": lambda seed: lamp_scores(trained(seed)),
    "SNIP": lambda seed: connection_sensitivity(trained(seed), *images(seed)),
    "Taylor": lambda seed: taylor_scores(trained(seed), *images(seed)),
    "sensitivity": lambda seed: output_sensitivity(trained(seed), images(seed)[0]),
    "weight times sensitivity": weighted_sensitivity,
    "OBD, Hutchinson": hutchinson,
    "OBD, backward": lambda seed: of_curvature(
        backward_curvature(trained(seed), *images(seed)), seed
    ),
    "OBD, exact": lambda seed: of_curvature(
        exact_curvature(trained(seed), *images(seed), names=[MIDDLE]), seed
    ),
    "layer-wise OBS": lambda seed: layer_obs_scores(trained(seed), images(seed)[0]),
    "WoodFisher": lambda seed: woodfisher_scores(trained(seed), *images(seed)),
    "OBS": obs,
    "slope and curvature": taylor_and_curvature,
    "truth": lambda seed: {MIDDLE: true_increases(seed)},
    "other images": lambda seed: {MIDDLE: truth(seed, 1)},
}
WITH_STEP = ("layer-wise OBS, with step", "WoodFisher, with step", "OBS, with step")


def on_test(net: nn.Module) -> float:
    """Return the test accuracy."""
    return accuracy(net, digits().test.batches(500))


def pruned(seed: int, scores: Scores, sparsity: float, select: Select) -> nn.Module:
    """Return a copy of the network that has lost its smallest scores."""
    net = copy.deepcopy(trained(seed))
    prune_(net, select(scores, sparsity))
    return net


def tuned(net: nn.Module, seed: int) -> float:
    """Return the test accuracy after three more epochs."""
    train_classifier(net, digits().train, epochs=3, learning_rate=0.02, seed=seed)
    return on_test(net)


def with_step(criterion: str, seed: int, sparsity: float, *, only: bool) -> nn.Module:
    """Return a copy of which some weights went and others changed."""
    net, (x, y) = copy.deepcopy(trained(seed)), images(seed)
    if criterion == "OBS, with step":
        operate_(net, x[:FEW], y[:FEW], sparsity=sparsity, names=[MIDDLE])
    elif criterion == "WoodFisher, with step":
        scores = woodfisher_scores(net, x, y)
        masks = layer_masks(scores, sparsity)
        some = {MIDDLE: masks[MIDDLE]} if only else masks
        compensate_blocks_(net, sample_slopes(net, x, y), some)
    else:
        operate_layers_(net, x, sparsity=sparsity)
        for name, parameter in trained(seed).named_parameters():
            if only and name != MIDDLE:
                net.get_parameter(name).data.copy_(parameter.data)
    return net


def measure(criterion: str, seed: int) -> Case:
    """Return the correlation and the accuracies of one criterion."""
    stepping = criterion in WITH_STEP
    scores = {} if stepping else CRITERIA[criterion](seed)
    whole = len(scores) > 1 or (stepping and criterion != "OBS, with step")

    def after(
        sparsity: float, select: Select = layer_masks, *, only: bool
    ) -> nn.Module:
        if stepping:
            return with_step(criterion, seed, sparsity, only=only)
        some = {MIDDLE: scores[MIDDLE]} if only else scores
        return pruned(seed, some, sparsity, select)

    row: dict[str, str | float] = {"correlation": "", "dense": on_test(trained(seed))}
    if not stepping:
        flat = scores[MIDDLE].flatten().numpy()
        row["correlation"] = spearman(flat, true_increases(seed).flatten().numpy())
    for share in (0.5, 0.75, 0.9):
        row[f"only_{100 * share:g}"] = on_test(after(share, only=True))
    for share in (0.5, 0.75, 0.875):
        key = f"net_{100 * share:g}".replace(".", "")
        row[key] = on_test(after(share, only=False)) if whole else ""
    plain = whole and not stepping
    row["global_75"] = on_test(after(0.75, global_masks, only=False)) if plain else ""
    row["tuned_875"] = tuned(after(0.875, only=False), seed) if plain else ""
    return row


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    names = (*CRITERIA, *WITH_STEP)
    cases: list[Case] = [
        {"criterion": name, "seed": seed} for seed in seeds for name in names
    ]
    fill_table(__file__, cases, measure)
