"""An ensemble labels invented digits, and a small network learns from them.

200 randomised trees and the three nearest neighbours learn from 300 digits, a table of
64 numbers, and vote. A network with 32 hidden units then learns what they say about 300
to 10,000 rows, or from the 300 themselves, with the ensemble's answers or the true
labels. 1,500 steps each, whatever the number of rows. p and s of MUNGE are the best of
four pairs by the agreement on validation digits with seed 0. Reported on the test
digits: how often the network agrees with the ensemble, both accuracies, and the energy
distance of up to 1,000 rows to the test digits, of whole rows and the mean over single
attributes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.digits import INK_DEVIATION, INK_MEAN, Digits, Split, raw_digits
from effdl.distill.munge import (
    Floats,
    energy_distance,
    independent_points,
    munge,
    uniform_points,
)
from effdl.distill.recipe import Recipe, train_student
from effdl.seed import seeded

SEEDS, ROWS, TREES, HIDDEN, STEPS = 5, 300, 200, 32, 1500
COUNTS = (300, 1000, 3000, 10_000)
PAIRS = ((0.25, 2.0), (0.5, 1.0), (0.5, 4.0), (0.75, 2.0))
INVENTED = ("munge", "independent", "uniform")


@cache
def data() -> Digits:
    """Return the digits."""
    return raw_digits()


def table(split: Split) -> Floats:
    """Return the ink of digits, from 0 to 1, (N, 64)."""
    ink = split.inputs.flatten(1) * INK_DEVIATION + INK_MEAN
    return ink.double().numpy()


@cache
def ensemble(seed: int) -> VotingClassifier:
    """Return the ensemble: the mean of two kinds of probabilities."""
    members = [
        ("trees", ExtraTreesClassifier(TREES, random_state=seed)),
        ("neighbours", KNeighborsClassifier(3, weights="distance")),
    ]
    model = VotingClassifier(members, voting="soft")
    return model.fit(table(data().train)[:ROWS], data().train.targets[:ROWS].numpy())


@cache
def invented(kind: str, seed: int, pair: tuple[float, float]) -> Floats:
    """Return as many rows as are needed at most."""
    rows, random = table(data().train)[:ROWS], np.random.default_rng(seed)
    most = COUNTS[-1]
    if kind == "munge":
        p, s = pair
        return munge(rows, -(-most // ROWS), random, swap=p, sharpness=s)[:most]
    draw = independent_points if kind == "independent" else uniform_points
    return draw(rows, most, random)


def taught(rows: Floats, answers: torch.Tensor, seed: int) -> nn.Module:
    """Return the network after training on rows and probabilities."""
    with seeded(seed):
        net = plain_mlp((rows.shape[1], HIDDEN, 10))
    epochs = round(STEPS * 100 / len(rows))
    recipe = Recipe(epochs, batch_size=100, weight_decay=0.0, seed=seed)
    split = Split(torch.from_numpy(rows).float(), answers)
    train_student(net, split, lambda x, p: cross_entropy(net(x), p), recipe)
    return net.eval()


def says(net: nn.Module, rows: Floats) -> Floats:
    """Return the classes that the network chooses."""
    with torch.no_grad():
        return net(torch.from_numpy(rows).float()).argmax(1).numpy()


def from_ensemble(rows: Floats, seed: int) -> nn.Module:
    """Return the network after learning what the ensemble says."""
    said = ensemble(seed).predict_proba(rows)
    return taught(rows, torch.from_numpy(said).float(), seed)


@cache
def best_pair() -> tuple[float, float]:
    """Return p and s of the highest agreement on validation, seed 0."""
    rows = table(data().validation)
    said, count = ensemble(0).predict(rows), COUNTS[2]

    def agreement(pair: tuple[float, float]) -> float:
        net = from_ensemble(invented("munge", 0, pair)[:count], 0)
        return float(np.mean(says(net, rows) == said))

    return max(PAIRS, key=agreement)


def measure(rows: str, count: int, seed: int) -> Case:
    """Return agreement, accuracies and distances."""
    given, pair = table(data().train)[:ROWS], best_pair()
    used = invented(rows, seed, pair)[:count] if rows in INVENTED else given
    if rows == "labels":
        targets = one_hot(data().train.targets[:ROWS], 10).float()
        net = taught(given, targets, seed)
    else:
        net = from_ensemble(used, seed)
    test, y = table(data().test), data().test.targets.numpy()
    said, some = says(net, test), used[:1000]
    single = [energy_distance(some[:, [j]], test[:, [j]]) for j in range(64)]
    return {
        "p": pair[0],
        "s": pair[1],
        "agreement": float(np.mean(said == ensemble(seed).predict(test))),
        "accuracy": float(np.mean(said == y)),
        "ensemble": float(ensemble(seed).score(test, y)),
        "distance": energy_distance(some, test),
        "single_distance": float(np.mean(single)),
    }


if __name__ == "__main__":
    asked = seeds_from_command_line(__doc__)
    seeds = sorted({*asked, *range(SEEDS)})
    kinds = [("labels", ROWS), ("data", ROWS)]
    kinds += [(kind, count) for kind in INVENTED for count in COUNTS]
    cases: list[Case] = [
        {"rows": rows, "count": count, "seed": seed}
        for seed in seeds
        for rows, count in kinds
    ]
    fill_table(__file__, cases, measure)
