"""Students that learned from teachers who knew more: clicks, and frames of a stream.

Clicks: areas under the curve on 5,000 fresh clicks of teacher, student alone, student
alone with steps as large as the teacher's share makes them, and distilled student; for
few or many clicks and few or many passes. lambda is 3, and 0 in the first ten steps.
Frames: accuracies on 500 fresh streams, whose labels are exact. The students are alone,
have the teacher that looks 8 frames ahead, or three that look 2, 4 and 8 ahead in turn.
The labels that all learn from are exact, or off by up to three frames at both ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import Split
from effdl.distill.future_frames import (
    FrameNet,
    action_streams,
    distil_frames,
    frame_accuracy,
)
from effdl.distill.privileged_features import click_data, train_together
from effdl.distill.privileged_tasks import PrivilegedData
from effdl.distill.recipe import Recipe, train_student
from effdl.seed import seeded

SEEDS = 10
FEATURES, WEIGHT, QUIET = 50, 3.0, 10
CLICKS = {"few, short": (500, 3), "few, long": (500, 20), "many, short": (2000, 3)}
PAST, WINDOWS, STREAMS = 8, (2, 4, 8), 30
RECIPE = Recipe(epochs=40, batch_size=10)
OFF = {"exact": 0, "off": 3}


@cache
def clicks(n: int, seed: int) -> tuple[PrivilegedData, PrivilegedData]:
    """Return clicks to learn from and to test on."""
    with seeded(seed):
        taste = 0.2 * torch.randn(FEATURES)
        return click_data(taste, n), click_data(taste, 5000)


@cache
def together(setting: str, seed: int, weight: float, rate: float) -> tuple[float, ...]:
    """Return the areas of teacher and student."""
    n, epochs = CLICKS[setting]
    train, test = clicks(n, seed)
    with seeded(seed):
        student, teacher = nn.Linear(FEATURES, 1), nn.Linear(FEATURES + 2, 1)
    for net in (student, teacher):
        nn.init.zeros_(net.weight)
    recipe = Recipe(epochs, rate, 50, 0.0, seed)
    train_together(student, teacher, train, recipe, weight=weight, quiet_steps=QUIET)
    both = torch.cat([test.inputs, test.privileged], dim=1)
    return area(teacher(both), test), area(student(test.inputs), test)


def area(logits: Tensor, data: PrivilegedData) -> float:
    """Return the area under the curve."""
    return float(roc_auc_score(data.targets, logits.detach()[:, 0]))


@cache
def streams(off: int, seed: int) -> tuple[Split, Split]:
    """Return streams to learn from, and others with exact labels."""
    with seeded(seed):
        return action_streams(STREAMS, late_by=off), action_streams(500)


def fresh(future: int, seed: int) -> FrameNet:
    """Return a network that has not learned yet."""
    with seeded(seed + 100):
        return FrameNet(PAST, future)


@cache
def alone(future: int, off: int, seed: int) -> FrameNet:
    """Return a network that learned from labels."""
    net = fresh(future, seed)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(net(x), y)

    train_student(net, streams(off, seed)[0], loss_of, recipe(seed))
    return net.eval()


def recipe(seed: int) -> Recipe:
    """Return how the networks on streams are trained."""
    return Recipe(RECIPE.epochs, batch_size=RECIPE.batch_size, seed=seed)


def on_streams(method: str, off: int, seed: int) -> float:
    """Return the share of frames that are right."""
    train, test = streams(off, seed)
    if method in ("plain", "teacher"):
        return frame_accuracy(alone(0 if method == "plain" else 8, off, seed), test)
    windows = WINDOWS if method == "in turn" else WINDOWS[-1:]
    student = fresh(0, seed)
    teachers = [alone(window, off, seed) for window in windows]
    distil_frames(student, teachers, train, recipe(seed))
    return frame_accuracy(student.eval(), test)


def measure(data: str, setting: str, method: str, seed: int) -> Case:
    """Return the score of one network."""
    if data == "frames":
        return {"score": on_streams(method, OFF[setting], seed)}
    weight = WEIGHT if method == "distilled" else 0.0
    rate = 0.1 * (1 + WEIGHT) if method == "larger steps" else 0.1
    found = together(setting, seed, weight, rate)
    return {"score": found[0 if method == "teacher" else 1]}


if __name__ == "__main__":
    asked = seeds_from_command_line(__doc__)
    seeds = sorted({*asked, *range(SEEDS)})
    compared: dict[str, tuple[Iterable[str], tuple[str, ...]]] = {
        "clicks": (CLICKS, ("teacher", "plain", "larger steps", "distilled")),
        "frames": (OFF, ("teacher", "plain", "one teacher", "in turn")),
    }
    cases: list[Case] = [
        {"data": data, "setting": setting, "method": method, "seed": seed}
        for seed in seeds
        for data, (settings, names) in compared.items()
        for setting in settings
        for method in names
    ]
    fill_table(__file__, cases, measure)
