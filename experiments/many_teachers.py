"""A small student with one, two and four teachers, with peers, and with nobody.

The student is plain_net(4) on cluttered digits: 10 epochs, one recipe, in all methods
with the same first weights (but for generations) and the same order of the images.
Teachers are five plain_net(16); with seed s they are taken from number s on, round and
round.

    alone           the labels only
    KD-1, 2, 4      the mean of the teachers' probabilities, T = 4, alpha = 0.9
    CA-MKD, AEKD    four teachers, weighted by image, by batch (cap 0.6)
    DML-2, DML-4    peers that teach one another; the first is reported
    BAN-1, BAN-2    taught by the generation before, T = 1, alpha = 0.5, as in the paper
    Tf-KD           virtual teacher, a = 0.99, T = 20; alpha by validation with seed 0
    smoothing       label smoothing of 0.1
    BYOT            exits after the second and the fourth convolution, as in the paper

Beside accuracy, cross-entropy and calibration error of the student: the accuracy and
the calibration error of what it was taught by. For peers that is all of them together.
"""

from __future__ import annotations

from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, Split, cluttered_digits
from effdl.distill.averaged_teachers import Averaged, mean_probabilities
from effdl.distill.calibration import expected_calibration_error
from effdl.distill.confident_teachers import distil_confident
from effdl.distill.gradient_agreement import distil_agreement
from effdl.distill.kd import distil
from effdl.distill.mutual import train_peers
from effdl.distill.own_teacher import Exit, train_with_exits
from effdl.distill.recipe import Recipe
from effdl.distill.teacher import answers
from effdl.distill.virtual_teacher import train_without_teacher
from effdl.seed import seeded
from effdl.train import train_classifier

WIDTH, TEACHER_WIDTH, TEACHERS = 4, 16, 5
TEMPERATURE = 4.0
SHARES = (0.05, 0.5)  # of the virtual teacher
SMOOTHING = 0.1
METHODS = ("alone", "KD-1", "KD-2", "KD-4", "CA-MKD", "AEKD", "DML-2", "DML-4")
METHODS += ("BAN-1", "BAN-2", "Tf-KD", "smoothing", "BYOT")


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def teacher(number: int) -> nn.Module:
    """Return one of the five, in evaluation mode."""
    with seeded(100 + number):
        net = plain_net(TEACHER_WIDTH)
    train_classifier(net, data().train, seed=100 + number)
    return net.eval()


def teachers(seed: int, count: int) -> list[nn.Module]:
    """Return the teachers of a seed."""
    return [teacher((seed + k) % TEACHERS) for k in range(count)]


def student(seed: int, member: int = 0) -> nn.Sequential:
    """Return a student, untrained; member 0 is that of all methods."""
    with seeded(seed + 1000 * member):
        return plain_net(WIDTH)


def averaged(nets: list[nn.Module], temperature: float = 1.0) -> nn.Module:
    """Return several networks as one."""
    return Averaged(nets, partial(mean_probabilities, temperature=temperature)).eval()


@cache
def virtual(seed: int, share: float) -> nn.Module:
    """Return the student of the virtual teacher."""
    net = student(seed)
    train_without_teacher(net, data().train, Recipe(seed=seed), alpha=share)
    return net.eval()


@cache
def best_share() -> float:
    """Return the share with the better validation accuracy of seed 0."""
    return max(
        SHARES, key=lambda share: seen(virtual(0, share), data().validation)["accuracy"]
    )


@cache
def generation(number: int, seed: int) -> nn.Module:
    """Return a born-again network, half of its loss its parent's, as in the paper.

    Generation 0 is the student alone.
    """
    net, recipe = student(seed, member=10 * number), Recipe(seed=seed)
    if number == 0:
        train_classifier(net, data().train, seed=seed)
    else:
        parent = generation(number - 1, seed)
        distil(net, parent, data().train, recipe, temperature=1.0, alpha=0.5)
    return net.eval()


def smoothed(seed: int) -> nn.Module:
    """Return the student of smoothed labels, the virtual teacher at T = 1."""
    net, classes = student(seed), 10
    correct = 1 - SMOOTHING * (classes - 1) / classes
    train_without_teacher(
        net, data().train, Recipe(seed=seed), correct=correct, temperature=1.0, alpha=1
    )
    return net.eval()


def with_exits(seed: int) -> nn.Module:
    """Return the student that taught its own exits, without them."""
    net = student(seed)
    with seeded(seed):
        exits = {
            "1": Exit(WIDTH, 4 * WIDTH, 10),
            "3": Exit(2 * WIDTH, 4 * WIDTH, 10),
        }
    train_with_exits(net, exits, data().train, Recipe(seed=seed), last="6")
    return net.eval()


def trained(method: str, seed: int) -> tuple[nn.Module, nn.Module]:
    """Return the student, and what taught it: itself if nobody did."""
    name, _, number = method.partition("-")
    if method == "alone":
        net = generation(0, seed)
        return net, net
    if name == "BAN":
        return generation(int(number), seed), generation(int(number) - 1, seed)
    if name == "DML":
        peers: list[nn.Module] = [student(seed, k) for k in range(int(number))]
        train_peers(peers, data().train, Recipe(seed=seed))
        return peers[0].eval(), averaged(peers)
    makers = {"smoothing": smoothed, "BYOT": with_exits}
    if method in makers or method == "Tf-KD":
        net = makers[method](seed) if method in makers else virtual(seed, best_share())
        return net, net
    return taught(method, seed)


def taught(method: str, seed: int) -> tuple[nn.Module, nn.Module]:
    """Return the student of finished teachers, and these as one."""
    name, _, number = method.partition("-")
    net, recipe = student(seed), Recipe(seed=seed)
    nets = teachers(seed, int(number) if name == "KD" else 4)
    if name == "KD":
        distil(net, averaged(nets, TEMPERATURE), data().train, recipe)
    elif method == "CA-MKD":
        distil_confident(net, nets, data().train, recipe)
    else:
        distil_agreement(net, nets, data().train, recipe)
    return net.eval(), averaged(nets)


def seen(net: nn.Module, split: Split) -> dict[str, float]:
    """Return accuracy, cross-entropy and calibration error."""
    logits = answers(net, split.inputs)
    right = (logits.argmax(dim=1) == split.targets).double().mean()
    return {
        "accuracy": float(right),
        "surprise": float(F.cross_entropy(logits, split.targets)),
        "ece": expected_calibration_error(logits, split.targets),
    }


def measure(method: str, seed: int) -> Case:
    """Return what the student and its teacher do."""
    torch.set_num_threads(1)
    net, by = trained(method, seed)
    test, its = seen(net, data().test), seen(by, data().test)
    return {
        "validation": seen(net, data().validation)["accuracy"],
        "test": test["accuracy"],
        "surprise": test["surprise"],
        "ece": test["ece"],
        "teacher_test": its["accuracy"],
        "teacher_surprise": its["surprise"],
        "teacher_ece": its["ece"],
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    seeds = [0, 1, 2, 3, 4] if seeds == [0, 1, 2] else seeds
    cases: list[Case] = [
        {"method": method, "seed": seed} for seed in seeds for method in METHODS
    ]
    fill_table(__file__, cases, measure)
