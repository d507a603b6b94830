"""Four teachers, four students, every pair: who should teach whom?

The networks are of three kinds: plain convolutions, a small MobileNetV2, and linear
layers on flattened pixels. A student has a row without a teacher, too.

Beside the accuracies stand what DisWOT says of the pair before any training, from the
same first weights and 64 training images, and its two halves. It is larger where the
pair is said to be better.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp, plain_net
from effdl.compress.diswot import Views, diswot_score, views
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.measure.count import parameter_count
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier


class Kind(NamedTuple):
    """How to make a network, and the layer of its last maps or features."""

    make: Callable[[], nn.Module]
    features: str


TEACHERS = {
    "plain 16": Kind(lambda: plain_net(16), "4"),
    "plain 6": Kind(lambda: plain_net(6), "4"),
    "MobileNetV2": Kind(small_mobilenet_v2, "features"),
    "MLP 200": Kind(plain_mlp, "4"),
}
STUDENTS = {
    "plain 2": Kind(lambda: plain_net(2), "4"),
    "plain 4": Kind(lambda: plain_net(4), "4"),
    "MobileNetV2 0.5": Kind(lambda: small_mobilenet_v2(0.5), "features"),
    "MLP 32": Kind(lambda: plain_mlp((256, 32, 32, 10)), "4"),
}
OTHER = 100  # added to the seed of teachers, so that none begins as a student does
IMAGES = 64
NONE = "none"


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher_of(name: str, seed: int) -> nn.Module:
    """Return a trained teacher, in evaluation mode."""
    with seeded(OTHER + seed):
        net = TEACHERS[name].make()
        train_classifier(net, data().train, seed=OTHER + seed)
    return net.eval()


@cache
def student_of(name: str, teacher: str, seed: int) -> nn.Module:
    """Return a student after its training."""
    with seeded(seed):
        net = STUDENTS[name].make()
        if teacher == NONE:
            train_classifier(net, data().train, seed=seed)
        else:
            source = teacher_of(teacher, seed)
            distil(net, source, data().train, Recipe(seed=seed))
    return net


def first_views(kind: Kind, seed: int) -> Views:
    """Return how a network of this kind sees a batch before it is trained."""
    batch = data().train.inputs[:IMAGES], data().train.targets[:IMAGES]
    with seeded(seed):
        return views(kind.make(), *batch, kind.features)


def scores(student: str, teacher: str, seed: int) -> dict[str, float]:
    """Return DisWOT's score and its halves, or zeros without a teacher."""
    if teacher == NONE:
        return {"diswot": 0.0, "samples": 0.0, "classes": 0.0}
    theirs = first_views(TEACHERS[teacher], OTHER + seed)
    ours = first_views(STUDENTS[student], seed)
    return {
        "diswot": diswot_score(theirs, ours),
        "samples": diswot_score(theirs, ours._replace(classes=theirs.classes)),
        "classes": diswot_score(theirs, ours._replace(samples=theirs.samples)),
    }


def measure(student: str, teacher: str, seed: int) -> Case:
    """Return accuracies of student and teacher, sizes and scores."""
    net = student_of(student, teacher, seed)
    above = 0.0
    if teacher != NONE:
        source = teacher_of(teacher, seed)
        above = accuracy(source, data().test.batches(500))
    return {
        "validation": accuracy(net, data().validation.batches(500)),
        "test": accuracy(net, data().test.batches(500)),
        "teacher_test": above,
        "parameters": parameter_count(net),
        **scores(student, teacher, seed),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases: list[Case] = [
        {"student": student, "teacher": teacher, "seed": seed}
        for seed in seeds
        for student in STUDENTS
        for teacher in (NONE, *TEACHERS)
    ]
    fill_table(__file__, cases, measure)
