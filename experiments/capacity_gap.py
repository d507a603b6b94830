"""Does a better teacher make a better student? Cluttered digits, two small students.

Width 2 with five seeds or more, width 4 with three:

    alone               no teacher
    KD 4 .. 24          distilled from a plain network of that width
    snapshot 3, 5       from width 24 after 3 or 5 of its 10 epochs
    short 3             from width 24 after a whole schedule of 3 epochs
    first half          from width 24 in the first 5 epochs, labels only after that
    DIST                relations of width 24 in place of its probabilities
    24 > 8              an assistant of width 8 in between
    24 > 8 > 4          two assistants

All methods share a student's first weights and the order of its inputs, and where they
have the same teacher, the teacher: they are paired. Every student has 10 epochs. The
teacher's accuracies are those of the network that taught last; "macs" are the
multiply-adds of all trainings together, the teacher's included.
"""

from __future__ import annotations

from functools import cache

from torch import nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, cluttered_digits
from effdl.distill.assistant import distil_chain, training_macs
from effdl.distill.dist import distil_relations
from effdl.distill.early_stopping import distil_at_first, snapshots
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.measure.macs import count_macs
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

SEEDS, EPOCHS, EARLY, HALF = {2: 5, 4: 3}, 10, 3, 5
STOPS = {f"snapshot {epoch}": epoch for epoch in (EARLY, HALF)}
SHORT = f"short {EARLY}"
OTHER = 100  # added to the seed of teachers, so that none begins as a student does
TEACHERS, LARGE = (4, 8, 16, 24), 24
CHAINS = {"24 > 8": (8,), "24 > 8 > 4": (8, 4)}
METHODS = {
    2: (
        "alone",
        *(f"KD {width}" for width in TEACHERS),
        *STOPS,
        SHORT,
        "first half",
        "DIST",
        *CHAINS,
    ),
    4: ("alone", *(f"KD {width}" for width in TEACHERS)),
}


@cache
def data() -> Digits:
    """Return the images."""
    return cluttered_digits()


@cache
def made(width: int, seed: int) -> dict[int, nn.Module]:
    """Return a network after its last epoch and after the early ones."""
    with seeded(OTHER + seed):
        net, epochs = plain_net(width), (*STOPS.values(), EPOCHS)
        return snapshots(net, data().train, epochs, Recipe(seed=OTHER + seed))


@cache
def hurried(width: int, seed: int) -> nn.Module:
    """Return a network after a whole schedule of few epochs."""
    with seeded(OTHER + seed):
        net = plain_net(width)
        train_classifier(net, data().train, epochs=EARLY, seed=OTHER + seed)
    return net.eval()


@cache
def assistants(widths: tuple[int, ...], seed: int) -> nn.Module:
    """Return the last assistant of a chain that begins with the large teacher."""
    if not widths:
        return made(LARGE, seed)[EPOCHS]
    teacher = assistants(widths[:-1], seed)
    with seeded(OTHER + seed):
        net = plain_net(widths[-1])
        distil_chain(teacher, [net], data().train, Recipe(seed=OTHER + seed))
    return net


def teacher_of(method: str, seed: int) -> nn.Module:
    """Return the network that teaches the student."""
    if method in CHAINS:
        return assistants(CHAINS[method], seed)
    if method == SHORT:
        return hurried(LARGE, seed)
    width = int(method.split()[1]) if method.startswith("KD") else LARGE
    return made(width, seed)[STOPS.get(method, EPOCHS)]


def taught(student: nn.Module, teacher: nn.Module, method: str, seed: int) -> None:
    """Train a student."""
    split, recipe = data().train, Recipe(seed=seed)
    if method == "DIST":
        distil_relations(student, teacher, split, recipe)
    elif method == "first half":
        distil_at_first(student, teacher, split, recipe, taught_epochs=HALF)
    else:
        distil(student, teacher, split, recipe)


def price(student: int, method: str) -> int:
    """Return the multiply-adds of all trainings, and of every teacher's answers."""
    split = data().train
    own = training_macs(plain_net(student), split)
    if method == "alone":
        return own
    widths = (LARGE, *CHAINS.get(method, ()))
    if method.startswith("KD"):
        widths = (int(method.split()[1]),)
    recipe = Recipe(epochs=EARLY if method == SHORT else STOPS.get(method, EPOCHS))
    nets = [plain_net(width) for width in widths]
    asked = sum(count_macs(net, split.inputs[:1]).total * len(split) for net in nets)
    return own + asked + sum(training_macs(net, split, recipe) for net in nets)


def seen(net: nn.Module, name: str = "") -> dict[str, float]:
    """Return the accuracies."""
    return {
        f"{name}validation": accuracy(net, data().validation.batches(500)),
        f"{name}test": accuracy(net, data().test.batches(500)),
    }


def measure(student: int, method: str, seed: int) -> Case:
    """Return the accuracies of the student and of its teacher."""
    with seeded(seed):
        net = plain_net(student)
        if method == "alone":
            train_classifier(net, data().train, seed=seed)
            above = {"teacher_validation": 0.0, "teacher_test": 0.0}
        else:
            teacher = teacher_of(method, seed)
            taught(net, teacher, method, seed)
            above = seen(teacher, "teacher_")
    return {**seen(net), **above, "macs": price(student, method)}


if __name__ == "__main__":
    asked = seeds_from_command_line(__doc__)
    cases: list[Case] = [
        {"student": student, "method": method, "seed": seed}
        for seed in sorted({*asked, *range(max(SEEDS.values()))})
        for student, methods in METHODS.items()
        if seed in asked or seed < SEEDS[student]
        for method in methods
    ]
    fill_table(__file__, cases, measure)
