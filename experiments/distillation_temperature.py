"""Students of two widths, distilled at five temperatures, and without a teacher.

The teacher is plain_net(24), trained by labels with seed 0. A student's seed decides on
its weights and on the order of the images, the same for all temperatures. "none" is the
student that learns from labels alone. The teacher's share alpha is 0.9.

    validation    accuracy by which a temperature is to be chosen
    test          accuracy to report
"""

from __future__ import annotations

from functools import cache

from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WIDTHS = (2, 6)
TEMPERATURES = (1, 2, 4, 8, 20)
ALPHA = 0.9


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


def measure(width: int, temperature: str | int, seed: int) -> Case:
    """Return the accuracies of a student."""
    with seeded(seed):
        student = plain_net(width)
    alone = temperature == "none"
    distil(
        student,
        teacher(),
        data().train,
        Recipe(seed=seed),
        temperature=1.0 if alone else float(temperature),
        alpha=0.0 if alone else ALPHA,
    )
    return {
        "validation": accuracy(student, data().validation.batches(500)),
        "test": accuracy(student, data().test.batches(500)),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases: list[Case] = [
        {"width": width, "temperature": temperature, "seed": seed}
        for seed in seeds
        for width in WIDTHS
        for temperature in ("none", *TEMPERATURES)
    ]
    fill_table(__file__, cases, measure)
