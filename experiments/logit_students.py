"""Five ways to learn from the same teacher's logits, or from none: paired seeds.

    labels        cross-entropy, no teacher
    distilled     T = 4, alpha = 0.9
    matched       logit matching, no labels
    noisy         the same; half of the inputs have logits with noise, sigma 0.5
    curriculum    a learned temperature, alpha = 0.9, settings of its authors' program

The teacher is plain_net(24), trained by labels with seed 0; the student plain_net(4).
A student's seed decides on its weights and on the order of the images.

    validation, test    accuracies
    temperature         at the end, of the curriculum
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.curriculum_temperature import (
    LearnedTemperature,
    distil_with_curriculum,
)
from effdl.distill.kd import distil
from effdl.distill.logit_matching import MATCHING, match_logits
from effdl.distill.noisy_teacher import match_noisy_logits
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

METHODS = ("labels", "distilled", "matched", "noisy", "curriculum")
WIDTH = 4
EXTRA_SEEDS = 2  # beyond those of the command line, as a comparison decides


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher() -> nn.Module:
    """Return the trained teacher, in eval mode."""
    with seeded(0):
        net = plain_net(24)
        train_classifier(net, data().train, seed=0)
    return net.eval()


def teach(student: nn.Module, method: str, seed: int) -> float:
    """Train the student in place; return the temperature at the end, 0 if none."""
    recipe, matching = Recipe(seed=seed), replace(MATCHING, seed=seed)
    pair = student, teacher(), data().train
    if method == "matched":
        match_logits(*pair, matching)
    elif method == "noisy":
        match_noisy_logits(*pair, matching, sigma=0.5, share=0.5)
    elif method == "curriculum":
        run = distil_with_curriculum(*pair, recipe, temperature=LearnedTemperature())
        return run.temperatures[-1]
    else:
        distil(*pair, recipe, alpha=0.9 if method == "distilled" else 0.0)
    return 4.0 if method == "distilled" else 0.0


def measure(method: str, seed: int) -> Case:
    """Return the accuracies of a student."""
    with seeded(seed):
        student = plain_net(WIDTH)
        temperature = teach(student, method, seed)
    return {
        "validation": accuracy(student, data().validation.batches(500)),
        "test": accuracy(student, data().test.batches(500)),
        "temperature": temperature,
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    seeds += [max(seeds) + 1 + more for more in range(EXTRA_SEEDS)]
    cases: list[Case] = [
        {"method": method, "seed": seed} for seed in seeds for method in METHODS
    ]
    fill_table(__file__, cases, measure)
