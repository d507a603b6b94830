"""The four synthetic tasks of Lopez-Paz et al.: 50 planes, 200 examples, T = 1.

Accuracies on 10,000 fresh examples: of the teacher with x*, of a student that learned
from the labels, and of one that learned from the teacher alone (lambda = 1). All three
are logistic regressions: 200 steps on the whole training set, no weight decay. The
fourth task is there three times: as the authors' program has it (J drawn once for the
training set, once for the test set), as the paper writes it, and with J drawn for every
example while the three weights stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.distill.generalized import distil_privileged
from effdl.distill.privileged_tasks import (
    PrivilegedData,
    clean_inputs,
    clean_labels,
    features_by_sample,
    relevant_features,
    standardised,
)
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

DIMENSIONS, TRAIN, TEST, STEPS = 50, 200, 10_000, 200
PLANES = 50


def features_by_set(alpha: Tensor, n: int) -> PrivilegedData:
    """Return data with three relevant features, drawn for all of them together."""
    x = torch.randn(n, len(alpha))
    few = x[:, torch.randperm(len(alpha))[:3]]
    score = few @ alpha[:3]
    return PrivilegedData(x, few, (score > score.median()).long())


TASKS: dict[str, Callable[[Tensor, int], PrivilegedData]] = {
    "clean labels": clean_labels,
    "clean inputs": clean_inputs,
    "relevant features": relevant_features,
    "by set": features_by_set,
    "by sample, as written": partial(features_by_sample, fixed=False),
    "by sample": features_by_sample,
}


def measure(task: str, seed: int) -> Case:
    """Return the three accuracies."""
    make = TASKS[task]
    with seeded(seed):
        alpha = torch.randn(DIMENSIONS)
        train, test = standardised(make(alpha, TRAIN), make(alpha, TEST))
        teacher = nn.Linear(train.privileged.shape[1], 2)
        plain, taught = nn.Linear(DIMENSIONS, 2), nn.Linear(DIMENSIONS, 2)
    taught.load_state_dict(plain.state_dict())
    recipe = Recipe(epochs=STEPS, batch_size=TRAIN, weight_decay=0.0, seed=seed)
    for net, split in ((teacher, train.for_teacher()), (plain, train.for_student())):
        train_classifier(
            net, split, epochs=STEPS, batch_size=TRAIN, weight_decay=0.0, seed=seed
        )
    x, extra = train.for_student(), train.privileged
    distil_privileged(taught, teacher.eval(), x, extra, recipe)
    held_out = test.for_student().batches(1000)
    return {
        "teacher": accuracy(teacher, test.for_teacher().batches(1000)),
        "plain": accuracy(plain, held_out),
        "distilled": accuracy(taught, held_out),
    }


if __name__ == "__main__":
    asked = seeds_from_command_line(__doc__)
    seeds = sorted({*asked, *range(PLANES)})
    cases: list[Case] = [{"task": t, "seed": s} for s in seeds for t in TASKS]
    fill_table(__file__, cases, measure)
