"""The numbers that the pages print about few samples, federations and domains.

A page prints {{ key }}. few_samples.py and federated_round.py run before. Computed here
are the errors over depth, and how many channels two of ten classes can do without.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from typing import cast

import numpy as np
import torch
from torch import nn

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import Row, read_table, seeds_from_command_line
from effdl.compress.channels import remove_channels
from effdl.data.digits import Split
from effdl.data.files import data_path
from effdl.distill.cross_distillation import cross_distil, estimate_layers
from effdl.distill.fskd import fskd
from effdl.distill.layer_errors import layer_at, relative_errors
from effdl.measure.macs import count_macs
from effdl.nas.table import Floats
from effdl.quant.graph import fold_batch_norm
from effdl.train import accuracy, train_classifier
from few_samples import IMAGES, LAYERS, data, drawn, kept, pruned, teacher

SOURCES = ("results/few_samples.csv", "results/federated_round.csv")
METHODS = ("labels", "logits", "mir", "fskd", "estimation", "cross")
PAIRS = (
    ("mir", "labels"),
    ("mir", "logits"),
    ("logits", "labels"),
    ("estimation", "mir"),
    ("estimation", "cross"),
    ("fskd", "labels"),
)
MERGES = ("pooled", "average", "shared", "zeros", "kept", "fusion", "logits")
DRAWS, RIDGE = (0, 1, 2), 0.01  # for the errors over depth
PAIR = (3, 8)  # the classes of the small domain
SHARES, STEPS, SEEDS = (0.75, 0.5, 0.25, 0.125), 180, (0, 1, 2)
LOSS = 0.02  # of validation accuracy: what a smaller network may cost


@cache
def rows(table: str) -> list[Row]:
    """Return a table."""
    return read_table(data_path(f"results/{table}.csv"))


def column(table: str, name: str, **case: str | int) -> Floats:
    """Return the values of a column for some cases, in the order of the seeds."""
    wanted = {key: str(value) for key, value in case.items()}
    found = {
        int(r["seed"]): float(r[name])
        for r in rows(table)
        if wanted.items() <= r.items()
    }
    return np.array([found[seed] for seed in sorted(found)])


def percent(values: Floats | float) -> Answer:
    """Return a mean accuracy or share as the pages print it."""
    mean = float(np.mean(values))
    return mean, f"{100 * mean:.1f} %"


def difference(first: Floats, second: Floats) -> Answer:
    """Return a mean paired difference with a 95 % interval as the pages print it."""
    return paired(first, second)


@cache
def errors(method: str) -> Floats:
    """Return the relative error of every layer on test images, a mean over draws."""
    whole = fold_batch_norm(teacher())
    found = []
    for seed in DRAWS:
        images = drawn(10, seed).inputs
        make: dict[str, Callable[[], nn.Module]] = {
            "pruned": lambda: fold_batch_norm(pruned()),
            "fskd": partial(
                fskd, pruned(), teacher(), images, LAYERS, keep=kept(), ridge=RIDGE
            ),
            "estimation": partial(
                estimate_layers, teacher(), kept(), images, ridge=RIDGE
            ),
        }
        make |= {
            f"cross_{mu}": partial(
                cross_distil, teacher(), kept(), images, mu=mu / 10, ridge=RIDGE
            )
            for mu in (0, 6, 10)
        }
        net = make[method]()
        small = net if method in ("pruned", "fskd") else remove_channels(net, kept())
        inputs = data().test.inputs[:500]
        found.append([
            *relative_errors(small, whole, inputs, LAYERS, keep=kept()).values()
        ])
    return np.mean(found, axis=0)


def domain(classes: tuple[int, ...], split: Split) -> Split:
    """Return the images of some classes, with targets 0, 1, ..."""
    which = torch.isin(split.targets, torch.tensor(classes))
    numbers = torch.full((10,), -1)
    numbers[list(classes)] = torch.arange(len(classes))
    return Split(split.inputs[which], numbers[split.targets[which]])


def for_classes(classes: tuple[int, ...]) -> nn.Module:
    """Return the teacher with the logits of some classes only."""
    net = copy.deepcopy(teacher())
    head = layer_at(net, "7")
    smaller = nn.Linear(head.weight.shape[1], len(classes))
    with torch.no_grad():
        smaller.weight.copy_(head.weight[list(classes)])
        smaller.bias.copy_(cast(torch.Tensor, head.bias)[list(classes)])
    net.set_submodule("7", smaller)
    return net


@cache
def domain_accuracy(classes: tuple[int, ...], share: float) -> tuple[float, float]:
    """Return validation and test accuracy of a network that keeps so many channels.

    After 180 steps on the domain's images; so has the one that keeps all.
    """
    train, validation, test = (domain(classes, split) for split in data())
    found = []
    for seed in SEEDS:
        net = remove_channels(for_classes(classes), share)
        epochs = STEPS // len(train.batches(100))
        train_classifier(net, train, epochs=epochs, learning_rate=0.03, seed=seed)
        found.append([accuracy(net, s.batches(500)) for s in (validation, test)])
    first, second = np.mean(found, axis=0)
    return float(first), float(second)


@cache
def smallest(classes: tuple[int, ...]) -> float:
    """Return the smallest share that loses no more than two points of validation."""
    limit = domain_accuracy(classes, 1.0)[0] - LOSS
    enough = [s for s in SHARES if domain_accuracy(classes, s)[0] >= limit]
    return min([1.0, *enough])


def share_of(classes: tuple[int, ...]) -> Answer:
    """Return the smallest share of the channels."""
    return percent(smallest(classes))


def macs_share(classes: tuple[int, ...]) -> Answer:
    """Return the multiply-adds that are left of all."""
    image = data().test.inputs[:1]
    left = count_macs(remove_channels(for_classes(classes), smallest(classes)), image)
    return percent(left.total / count_macs(teacher(), image).total)


def mean_of(table: str, case: dict[str, str | int]) -> Answer:
    """Return the mean test accuracy of a case."""
    return percent(column(table, "test", **case))


def gain(table: str, first: str, second: str, case: dict[str, str | int]) -> Answer:
    """Return by how much a method is better than another, in points."""
    return difference(
        column(table, "test", method=first, **case),
        column(table, "test", method=second, **case),
    )


def draws() -> Answer:
    """Return how often images were drawn."""
    count = len(column("few_samples", "test", method="mir", images=10))
    return count, f"{count}"


def error_at(method: str, layer: int) -> Answer:
    """Return the error of a layer."""
    value = float(errors(method)[layer])
    return value, f"{value:.2f}"


def domain_test(classes: tuple[int, ...], share: float | None = None) -> Answer:
    """Return the test accuracy with a share of the channels; None is the smallest."""
    return percent(domain_accuracy(classes, share or smallest(classes))[1])


def few_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute the numbers about few samples."""
    table = "few_samples"
    numbers: dict[str, Callable[[], Answer]] = {"fewsample_draws": draws}
    for method in ("teacher", "pruned"):
        numbers[f"fewsample_{method}"] = partial(mean_of, table, {"method": method})
    for method, images in product(METHODS, IMAGES):
        case: dict[str, str | int] = {"method": method, "images": images}
        numbers[f"fewsample_{method}_{images}"] = partial(mean_of, table, case)
    for (first, second), images in product(PAIRS, (1, 10, 50)):
        key = f"fewsample_{first}_{second}_{images}"
        numbers[key] = partial(gain, table, first, second, {"images": images})
    methods = ("pruned", "fskd", "estimation", "cross_0", "cross_6", "cross_10")
    for method, layer in product(methods, range(1, 5)):
        key = f"fewsample_error_{method}_{layer}"
        numbers[key] = partial(error_at, method, layer)
    return numbers


def future_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute the numbers about federations and domains."""
    numbers: dict[str, Callable[[], Answer]] = {}
    table = "federated_round"
    for skew in ("even", "classes"):
        for method in MERGES:
            case: dict[str, str | int] = {"method": method, "skew": skew}
            numbers[f"fewsample_fed_{method}_{skew}"] = partial(mean_of, table, case)
        for first, second in (("fusion", "average"), ("kept", "zeros")):
            key = f"fewsample_fed_{first}_{second}_{skew}"
            numbers[key] = partial(gain, table, first, second, {"skew": skew})
    for name, classes in (("ten", tuple(range(10))), ("two", PAIR)):
        key = f"fewsample_domain_{name}"
        numbers[f"{key}_whole"] = partial(domain_test, classes, 1.0)
        numbers[f"{key}_share"] = partial(share_of, classes)
        numbers[f"{key}_macs"] = partial(macs_share, classes)
        numbers[f"{key}_test"] = partial(domain_test, classes)
        numbers[f"{key}_eighth"] = partial(domain_test, classes, SHARES[-1])
    return numbers


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help
    fill_numbers(__file__, few_numbers() | future_numbers(), SOURCES)
