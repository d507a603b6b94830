"""Does a teacher help, and does it help to look inside? Nine trainings of one student.

One plain network of width 24 teaches plain networks of width 4, on cluttered digits.
Rows of one seed begin at the same weights and see the images in the same order.

    alone, smoothing        no teacher; smoothing spreads 0.1 of each label
    KD                      soft targets at temperature 4, share 0.9
    hints, hints + KD       two epochs of stage 1 first, then ten of labels or of
                            distillation with falling share
    attention, RKD, SP, CWD labels and a weighted loss on inner layers

The weights are tried with seed 100, which is not used again. The one with the best
validation accuracy there is what "chosen" means in the other rows. Single runs before,
also with seed 100, had shown that larger weights do worse: attention at 1000, SP at 30
and 300.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch.nn.functional as F
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.attention_transfer import attention_loss
from effdl.distill.channel_wise import channel_wise_loss
from effdl.distill.feature_training import (
    Inner,
    PairLoss,
    distil_features,
    each_layer,
)
from effdl.distill.fitnets import distil_annealed, hint_regressor, learn_hints
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe, train_student
from effdl.distill.relational import relational_loss
from effdl.distill.similarity import similarity_loss
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

TRIALS = {  # weights of the inner loss
    "attention": (1.0, 10.0, 1000.0),  # the last is the paper's
    "RKD": (0.25, 2.5),
    "SP": (0.3, 3.0),
    "CWD": (0.1, 1.0),
}
FIXED = {"KD": 0.9, "hints": 2, "hints + KD": 2}  # alpha, epochs of stage 1
SEEDS, TRIAL_SEED, TEACHER_SEED = range(5), 100, 0
MIDDLE, GROUPS, LAST, POOLED = "2", ["0", "2", "4"], "4", "6"  # of the five blocks
SMOOTHING = 0.1


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher() -> nn.Sequential:
    """Return the network that teaches, in evaluation mode."""
    with seeded(TEACHER_SEED):
        net = plain_net(24)
        train_classifier(net, data().train, seed=TEACHER_SEED)
    return net.eval()


def mapped(student: nn.Sequential, layer: str) -> nn.Sequential:
    """Return a convolution from the student's features to the teacher's."""
    images, place = data().train.inputs[:1], int(layer) + 1
    nets = [net[:place].eval() for net in (student, teacher())]
    return hint_regressor(*(net(images) for net in nets))


def with_labels(
    student: nn.Sequential,
    recipe: Recipe,
    loss: PairLoss,
    layers: list[str],
    weight: float,
) -> None:
    """Train with labels and a loss on layers of the same names."""
    inner = Inner(each_layer(loss), layers, layers, weight)
    distil_features(student, teacher(), data().train, inner, recipe)


def attention(student: nn.Sequential, recipe: Recipe, weight: float) -> None:
    """Train with labels and the places that the teacher looks at."""
    with_labels(student, recipe, attention_loss, GROUPS, weight)


def relations(student: nn.Sequential, recipe: Recipe, weight: float) -> None:
    """Train with labels and distances and angles before the last layer."""
    with_labels(student, recipe, relational_loss, [POOLED], weight)


def similarity(student: nn.Sequential, recipe: Recipe, weight: float) -> None:
    """Train with labels and similarities in the last maps."""
    with_labels(student, recipe, similarity_loss, [LAST], weight)


def channels(student: nn.Sequential, recipe: Recipe, weight: float) -> None:
    """Train with labels and the last maps, channel by channel."""
    maps = nn.ModuleList([mapped(student, LAST)[:1]])  # without ReLU
    loss = each_layer(channel_wise_loss, list(maps))
    inner = Inner(loss, [LAST], [LAST], weight, beside=maps)
    distil_features(student, teacher(), data().train, inner, recipe)


def hinted(student: nn.Sequential, recipe: Recipe, epochs: float) -> None:
    """Train stage 1 only."""
    first = Recipe(epochs=int(epochs), seed=recipe.seed)
    r = mapped(student, MIDDLE)
    learn_hints(student, teacher(), data().train, (MIDDLE, MIDDLE), r, first)


def hints(student: nn.Sequential, recipe: Recipe, epochs: float) -> None:
    """Train on hints, then with labels."""
    hinted(student, recipe, epochs)
    train_classifier(student, data().train, seed=recipe.seed)


def hints_and_answers(student: nn.Sequential, recipe: Recipe, epochs: float) -> None:
    """Train on hints, then on labels and answers with a falling share."""
    hinted(student, recipe, epochs)
    distil_annealed(student, teacher(), data().train, recipe)


def answers_only(student: nn.Sequential, recipe: Recipe, alpha: float) -> None:
    """Train on labels and answers."""
    distil(student, teacher(), data().train, recipe, alpha=alpha)


def smoothed(student: nn.Sequential, recipe: Recipe, _: float) -> None:
    """Train on smoothed labels."""

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(student(inputs), targets, label_smoothing=SMOOTHING)

    train_student(student, data().train, loss_of, recipe)


def alone(student: nn.Sequential, recipe: Recipe, _: float) -> None:
    """Train as ever."""
    train_classifier(student, data().train, seed=recipe.seed)


TRAININGS: dict[str, Callable[[nn.Sequential, Recipe, float], None]] = {
    "alone": alone,
    "smoothing": smoothed,
    "KD": answers_only,
    "hints": hints,
    "hints + KD": hints_and_answers,
    "attention": attention,
    "RKD": relations,
    "SP": similarity,
    "CWD": channels,
}


@cache
def seen(method: str, setting: float, seed: int) -> dict[str, float]:
    """Return the accuracies after one training."""
    if method == "teacher":
        net = teacher()
    else:
        with seeded(seed):
            net = plain_net(4)
            TRAININGS[method](net, Recipe(seed=seed), setting)
    return {
        "validation": accuracy(net, data().validation.batches(500)),
        "test": accuracy(net, data().test.batches(500)),
    }


def chosen(method: str) -> float:
    """Return the setting with the best validation accuracy of the seed for trials."""
    if method not in TRIALS:
        return FIXED.get(method, 0.0)
    tried = TRIALS[method]
    return max(tried, key=lambda s: seen(method, s, TRIAL_SEED)["validation"])


def measure(method: str, setting: str, seed: int) -> Case:
    """Return the setting and the accuracies."""
    used = chosen(method) if setting == "chosen" else float(setting)
    return {"used": float(used), **seen(method, used, seed)}


def cases() -> list[Case]:
    """Return the trials, then every method with every seed."""
    trials: list[Case] = [
        {"method": method, "setting": f"{setting:g}", "seed": TRIAL_SEED}
        for method, settings in TRIALS.items()
        for setting in settings
    ]
    teachers: list[Case] = [
        {"method": "teacher", "setting": "chosen", "seed": TEACHER_SEED}
    ]
    students: list[Case] = [
        {"method": method, "setting": "chosen", "seed": seed}
        for seed in SEEDS
        for method in TRAININGS
    ]
    return teachers + trials + students


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are fixed
    fill_table(__file__, cases(), measure)
