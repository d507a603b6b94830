"""Few labels and many inputs: a mean teacher, its own teacher, labels alone.

    crescents    two bent clouds of points, 3 labels a class, 400 points without
    digits       small digits, 10 labels a class, 3,000 images without

    labels       the labels only, with the same noise and as many steps
    own          consistency with itself, the teacher without memory (a = 0)
    mean         consistency with the mean teacher

Noise moves points by 0.15, and images by up to one pixel each way, with 0.2 added.
The weight of the consistency is the best of three by the validation accuracy of the
mean teacher with seed 0, for each task. Labels are drawn anew for each seed. Student
and teacher are both reported, of "labels" as well, whose teacher is only an average.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, Split, small_digits
from effdl.distill.mean_teacher import mean_teacher_of
from effdl.distill.mean_teacher_training import Consistency, train_with_mean_teacher
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy

WEIGHTS = (3.0, 10.0, 30.0)
METHODS = ("labels", "own", "mean")
DECAY = 0.97


@dataclass(frozen=True)
class Task:
    """What there is to learn, and for how long.

    Attributes:
        data: Train, validation and test part.
        classes: Their number.
        labels: How many a class.
        epochs: Passes over the training part.
        rate: The highest learning rate.
    """

    data: Digits
    classes: int
    labels: int
    epochs: int
    rate: float


@cache
def task(name: str) -> Task:
    """Return one of the two."""
    if name == "crescents":
        parts = [crescents(count, seed) for seed, count in enumerate((400, 500, 1000))]
        return Task(Digits(*parts), 2, 3, 40, 0.1)
    return Task(small_digits(), 10, 10, 15, 0.05)


def crescents(count: int, seed: int) -> Split:
    """Return points on two half circles, each reaching into the other."""
    random = np.random.RandomState(seed)
    angle, which = np.pi * random.rand(count), np.arange(count) % 2
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[which == 1] = [1.0, 0.4] - x[which == 1]
    x += 0.05 * random.randn(count, 2)
    return Split(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(which))


def net_for(name: str) -> nn.Module:
    """Return an untrained student."""
    if name == "digits":
        return plain_net(6)
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))


def few(split: Split, classes: int, each: int, seed: int) -> Split:
    """Return so many inputs of each class, drawn at random."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(split)))
    y = split.targets[order]
    chosen = torch.cat([order[y == c][:each] for c in range(classes)])
    return Split(split.inputs[chosen], split.targets[chosen])


def noise(x: Tensor) -> Tensor:
    """Return moved points, or moved images with noise in their pixels."""
    if x.ndim == 2:
        return x + 0.15 * torch.randn_like(x)
    side, rows = x.shape[-1], torch.arange(len(x))[:, None, None]
    move = torch.randint(-1, 2, (2, len(x), 1))
    down, right = (torch.arange(side) + move).clamp(0, side - 1)  # (N, side) each
    moved = x[rows, 0, down[:, :, None], right[:, None, :]][:, None]
    return moved + 0.2 * torch.randn_like(moved)


@cache
def trained(name: str, method: str, seed: int, weight: float) -> dict[str, float]:
    """Return accuracies of student and teacher."""
    what = task(name)
    decay = 0.0 if method == "own" else DECAY
    with seeded(seed):
        student = net_for(name)
        teacher = mean_teacher_of(student)
        train_with_mean_teacher(
            student,
            teacher,
            few(what.data.train, what.classes, what.labels, seed),
            what.data.train.inputs,
            Recipe(what.epochs, what.rate, batch_size=50, seed=seed),
            noise=noise,
            consistency=Consistency(weight, decay),
        )
    validation, test = what.data.validation.batches(500), what.data.test.batches(500)
    return {
        "weight": weight,
        "validation": accuracy(student, validation),
        "teacher_validation": accuracy(teacher, validation),
        "test": accuracy(student, test),
        "teacher_test": accuracy(teacher, test),
    }


@cache
def best_weight(name: str) -> float:
    """Return the weight with which the mean teacher of seed 0 is better."""
    found = {w: trained(name, "mean", 0, w)["teacher_validation"] for w in WEIGHTS}
    return max(found, key=lambda weight: found[weight])


def measure(task: str, method: str, seed: int) -> Case:
    """Return what a method makes of few labels."""
    weight = 0.0 if method == "labels" else best_weight(task)
    return trained(task, method, seed, weight)


if __name__ == "__main__":
    asked = seeds_from_command_line(__doc__)
    seeds = [0, 1, 2, 3, 4] if asked == [0, 1, 2] else asked
    cases: list[Case] = [
        {"task": task, "method": method, "seed": seed}
        for task in ("crescents", "digits")
        for seed in seeds
        for method in METHODS
    ]
    fill_table(__file__, cases, measure)
