"""A student that never sees an image: five sources of inputs, and the real ones.

Teacher and student, the student's loss, its optimiser and its 2,500 steps are the same
in all rows; only what the inputs are differs. No row sees a label.

    real       images of the training part, at random
    noise      independent pixels of mean 0 and variance 1
    still      a generator that does not learn
    DAFL       a generator that makes what the teacher is sure of, all classes alike
    ABM        adversarial belief matching: a generator that looks for disagreement
    L1         the same with the distance of logits of DFAD

The rates of ABM, L1 and DAFL were chosen by a few shorter runs of seed 0, on validation
images: so these results are not entirely free of data. Reported are accuracies, how
often the student agrees with the teacher on test images, and the mean transition error.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.belief_matching import (
    logit_distance,
    match_beliefs,
    transition_curves,
    transition_error,
)
from effdl.distill.dafl import dafl
from effdl.distill.generator import Generator
from effdl.distill.imagined import Game, Imagined, learn_imagined
from effdl.distill.teacher import answers
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

METHODS = ("real", "noise", "still", "DAFL", "ABM", "L1")
GAME = Game(epochs=10, rounds=25, student_steps=10, generator_rate=0.003)
DAFL_GAME = Game(epochs=10, rounds=25, student_steps=10, generator_rate=0.002)
FEATURES = "6"  # the mean over pixels, before the linear layer
IMAGES, STEPS = 20, 30  # of the transition curves


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher_of(seed: int) -> nn.Module:
    """Return the teacher, in eval mode."""
    with seeded(seed):
        net = plain_net(16)
    train_classifier(net, data().train, epochs=10, seed=seed)
    return net.eval()


def some_images() -> Tensor:
    """Return a batch of real images."""
    inputs = data().train.inputs
    return inputs[torch.randint(len(inputs), (GAME.batch_size,))]


def some_noise() -> Tensor:
    """Return a batch of noise."""
    return torch.randn(GAME.batch_size, 1, 16, 16)


def learn(method: str, student: nn.Module, teacher: nn.Module) -> list[float]:
    """Train the student; return its losses."""
    generator = Generator(width=16)

    @torch.no_grad()
    def still() -> Tensor:
        return generator(generator.noise(GAME.batch_size))

    if method == "DAFL":
        return dafl(student, teacher, generator, FEATURES, DAFL_GAME)
    if method == "ABM":
        return match_beliefs(student, teacher, generator, GAME)
    if method == "L1":
        return match_beliefs(
            student, teacher, generator, GAME, divergence=logit_distance
        )
    draw = {"real": some_images, "noise": some_noise, "still": still}[method]
    return learn_imagined(student, Imagined(draw, teacher, GAME))


def measure(method: str, seed: int) -> Case:
    """Return what a student, or the teacher, does on images that it has not seen."""
    teacher, student, losses = teacher_of(seed), teacher_of(seed), [0.0]
    if method != "teacher":
        with seeded(seed):
            student = plain_net(4)
            losses = learn(method, student, teacher)
    student.eval()
    theirs, ours = (answers(n, data().test.inputs) for n in (teacher, student))
    curves = transition_curves(
        student, teacher, data().test.inputs[: 10 * IMAGES : 10], steps=STEPS
    )
    return {
        "validation": accuracy(student, data().validation.batches(500)),
        "test": accuracy(student, data().test.batches(500)),
        "agreement": float((ours.argmax(1) == theirs.argmax(1)).float().mean()),
        "transition_error": transition_error(*curves),
        "loss": losses[-1],
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [
            {"method": method, "seed": seed}
            for seed in seeds
            for method in ("teacher", *METHODS)
        ],
        measure,
    )
