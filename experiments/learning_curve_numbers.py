"""The numbers of the page on learning curves, from the benchmark's stored trainings.

A page prints {{ key }}. The early part of the training with seed 0 predicts; what it
predicts is the mean test accuracy of the same cell with all other seeds, so that the
luck of a run is not counted as knowledge. learning_curve_batches.py has to run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.cell_space import Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.curves.curve_families import EXP3, ILOG2, LOG, POW3, Family
from effdl.nas.curves.curve_regression import fit_curve_regression
from effdl.nas.curves.curve_surrogate import curve_basis, fit_curve_surrogate
from effdl.nas.curves.extrapolation import STOP, extrapolate
from effdl.nas.curves.loss_slope import lcga, lcga_normalised
from effdl.nas.curves.training_speed import Floats, bte, tbe, tse, tse_last
from effdl.nas.ranking import bootstrap_interval, spearman, top_half

SOURCES = (
    "cellbench/trainings.npz",
    "cellbench/costs.csv",
    "results/learning_curve_batches.csv",
)
EPOCHS, SHOWN = 10, (1, 2, 3, 5, 10)
TAUGHT, JUDGED = 100, 400
FAMILIES = (POW3, EXP3, ILOG2, LOG)
NOISE = 0.05  # accuracies jump by about this from epoch to epoch
SUMS = ("tse", "last_loss")
FINISHED = 0.05  # share of the cells whose training goes on


class Runs(NamedTuple):
    """Cells of the benchmark: what seed 0 shows early, and what the others gave."""

    losses: Floats  # (runs, epochs), seed 0
    curves: Floats  # (runs, epochs), seed 0
    validation: Floats  # (runs,), mean of the other seeds
    test: Floats  # (runs,), mean of the other seeds
    architecture: Floats  # (runs, 32)
    seconds: Floats  # (runs,)


@cache
def runs() -> tuple[Runs, Runs]:
    """Return the cells that the regression learns from, and those that are judged."""
    table = load_cellbench()
    rows = np.random.default_rng(0).permutation(len(table))[: TAUGHT + JUDGED]
    every = Runs(
        table.need("losses")[rows, 0],
        table.need("curves")[rows, 0],
        np.nanmean(table.need("validation")[rows, 1:], axis=1),
        np.nanmean(table.need("test")[rows, 1:], axis=1),
        np.array([features(row) for row in rows]),
        table.need("seconds")[rows],
    )
    return Runs(*(a[:TAUGHT] for a in every)), Runs(*(a[TAUGHT:] for a in every))


def features(row: int) -> Floats:
    """Return which operation is on which edge, parameters and MACs."""
    table = load_cellbench()
    cost = [table.need("parameters")[row], table.need("macs")[row]]
    return np.concatenate((table.cells[row].one_hot().ravel(), np.log(cost)))


# Predictors: what is known after so many epochs, the larger the better.


def extrapolated(
    epochs: int, *, families: tuple[Family, ...] = FAMILIES, noise: float = NOISE
) -> Floats:
    """Return the expected last accuracy of each judged run."""
    curves = runs()[1].curves[:, :epochs]
    forecasts = [extrapolate(y, EPOCHS, families=families, noise=noise) for y in curves]
    return np.array([forecast.mean for forecast in forecasts])


def regressed(epochs: int, *, architecture: bool = True) -> Floats:
    """Return what a support vector machine makes of the first epochs."""
    taught, judged = runs()
    u = (taught.architecture, judged.architecture) if architecture else (None, None)
    fit = fit_curve_regression(
        taught.curves[:, :epochs],
        taught.curves[:, -1],
        np.random.default_rng(0),
        architecture=u[0],
    )
    return fit.predict(judged.curves[:, :epochs], u[1])


PREDICTORS: dict[str, tuple[int, Callable[[int], Floats]]] = {
    "tse": (1, lambda t: -tse(runs()[1].losses[:, :t])),
    "last_loss": (1, lambda t: -tse_last(runs()[1].losses[:, :t])),
    "accuracy": (1, lambda t: runs()[1].curves[:, t - 1]),
    "lcga": (3, lambda t: -lcga(runs()[1].losses[:, :t])),
    "lcga_level": (3, lambda t: lcga_normalised(runs()[1].losses[:, :t])),
    "extrapolated": (3, extrapolated),
    "ilog2": (2, partial(extrapolated, families=(ILOG2,))),
    "exp3": (3, partial(extrapolated, families=(EXP3,))),
    "regression": (1, regressed),
    "curve_only": (1, partial(regressed, architecture=False)),
}


@cache
def scores(name: str, epochs: int) -> Floats:
    """Return what a predictor says of the judged cells."""
    if name == "parameters":
        return runs()[1].architecture[:, -2]
    if name == "architecture":
        return regressed(0)
    if name == "finished":
        return runs()[1].curves[:, -1]
    return PREDICTORS[name][1](epochs)


# What the page prints.


def correlation(value: float) -> Answer:
    """Return 0.654 as 0.65, and a negative one with a true minus sign."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return value, text.replace("-", "\N{MINUS SIGN}")


def between(low: float, high: float) -> Answer:
    """Return an interval."""
    return low, f"{correlation(low)[1]} to {correlation(high)[1]}"


def of_predictor(name: str, epochs: int) -> dict[str, Callable[[], Answer]]:
    """Return the three numbers of a predictor: all cells, interval, better half."""
    truth = runs()[1].test

    def interval() -> Answer:
        random, guess = np.random.default_rng(0), scores(name, epochs)
        return between(*bootstrap_interval(spearman, guess, truth, random))

    key = f"{name}_{epochs}" if epochs else name
    return {
        key: lambda: correlation(spearman(scores(name, epochs), truth)),
        f"{key}_interval": interval,
        f"{key}_half": lambda: correlation(top_half(scores(name, epochs), truth)),
    }


@cache
def chosen(epochs: int) -> str:
    """Return the predictor that ranks best by validation accuracy, not by test."""
    able = [name for name, (least, _) in PREDICTORS.items() if epochs >= least]
    free = [n for n in able if n not in ("regression", "curve_only")]
    truth = runs()[1].validation
    return max(free, key=lambda name: spearman(scores(name, epochs), truth))


@cache
def halved(epochs: int) -> tuple[float, float]:
    """Return test accuracy and share of the seconds if few trainings are finished."""
    judged = runs()[1]
    best = np.argsort(-scores(chosen(epochs), epochs), kind="stable")
    kept = best[: int(FINISHED * len(best))]
    winner = kept[judged.curves[kept, -1].argmax()]
    share = epochs / EPOCHS
    paid = share * judged.seconds.sum() + (1 - share) * judged.seconds[kept].sum()
    return float(judged.test[winner]), float(paid / judged.seconds.sum())


def all_finished() -> float:
    """Return the test accuracy of the best cell if all trainings are finished."""
    judged = runs()[1]
    return float(judged.test[judged.curves[:, -1].argmax()])


@cache
def stopped(epochs: int) -> tuple[float, float]:
    """Return share of epochs and test accuracy if hopeless runs are stopped."""
    judged, best, winner, spent = runs()[1], 0.0, 0, 0
    for run, curve in enumerate(judged.curves):
        forecast = extrapolate(curve[:epochs], EPOCHS, families=FAMILIES, noise=NOISE)
        hopeless = forecast.probability_above(best) < STOP
        spent += epochs if hopeless else EPOCHS
        if not hopeless and curve[-1] > best:
            best, winner = float(curve[-1]), run
    return spent / (EPOCHS * len(judged.curves)), float(judged.test[winner])


@cache
def batches() -> tuple[Floats, Floats]:
    """Return the losses of all batches, and the cells' mean test accuracies."""
    table, rows = load_cellbench(), read_table(data_path(SOURCES[-1]))
    losses = [[float(loss) for loss in row["losses"].split()] for row in rows]
    test = table.mean("test")
    return np.array(losses), test[[table.row(Cell.parse(r["cell"])) for r in rows]]


def batch_parameters() -> float:
    """Return how the number of parameters ranks the cells of the batch losses."""
    table, rows = load_cellbench(), read_table(data_path(SOURCES[-1]))
    places = [table.row(Cell.parse(row["cell"])) for row in rows]
    return spearman(table.need("parameters")[places], batches()[1])


def of_window(window: Callable[[Floats], Floats]) -> dict[str, Callable[[], Answer]]:
    """Return how a window of batches ranks."""

    def interval() -> Answer:
        losses, truth = batches()
        random = np.random.default_rng(0)
        return between(*bootstrap_interval(spearman, -window(losses), truth, random))

    return {
        "": lambda: correlation(spearman(-window(batches()[0]), batches()[1])),
        "_interval": interval,
    }


WINDOWS: dict[str, Callable[[Floats], Floats]] = {
    "bte_10": lambda losses: bte(losses, 10),
    "bte_30": lambda losses: bte(losses, 30),
    "bte_60": lambda losses: bte(losses, 60),
    "tbe_20_10": lambda losses: tbe(losses, 10, warm_up=20),
    "tbe_30_30": lambda losses: tbe(losses, 30, warm_up=30),
    "tbe_50_10": lambda losses: tbe(losses, 10, warm_up=50),
}


@cache
def predicted_curves() -> Floats:
    """Return the curves of the second half of the judged cells, as predicted."""
    judged = runs()[1]
    half = len(judged.curves) // 2
    forest = RandomForestRegressor(100, random_state=0)
    fit = fit_curve_surrogate(
        judged.architecture[:half], judged.curves[:half], forest, components=4
    )
    return fit.predict(judged.architecture[half:])


def left_over(components: int) -> float:
    """Return the error of the components in points: root of the mean square."""
    curves = runs()[1].curves
    return 100 * float(np.sqrt(curve_basis(curves, components).dropped / curves.size))


def surrogate_error() -> float:
    """Return the mean error of a predicted curve in points."""
    judged = runs()[1]
    half = len(judged.curves) // 2
    return 100 * float(np.abs(predicted_curves() - judged.curves[half:]).mean())


def surrogate_ranks() -> float:
    """Return how the ends of the predicted curves rank the cells."""
    judged = runs()[1]
    return spearman(predicted_curves()[:, -1], judged.test[len(judged.test) // 2 :])


def percent(value: float) -> Answer:
    """Return 0.8765 as 87.7 %."""
    return value, f"{100 * value:.1f} %"


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers: dict[str, Callable[[], Answer]] = {
        "judged": lambda: (len(runs()[1].test), f"{len(runs()[1].test):,}"),
        "taught": lambda: (TAUGHT, str(TAUGHT)),
        "all_finished": lambda: percent(all_finished()),
        "best": lambda: percent(float(runs()[1].test.max())),
        "median": lambda: percent(float(np.median(runs()[1].test))),
        "surrogate_error": lambda: (surrogate_error(), f"{surrogate_error():.1f}"),
        "surrogate_ranks": lambda: correlation(surrogate_ranks()),
        "batch_cells": lambda: (len(batches()[1]), str(len(batches()[1]))),
        "batch_parameters": lambda: correlation(batch_parameters()),
    }
    for name in ("parameters", "architecture", "finished"):
        numbers |= of_predictor(name, 0)
    for name, (least, _) in PREDICTORS.items():
        last = SHOWN if name in SUMS else SHOWN[:-1]
        for epochs in (t for t in last if t >= least):
            numbers |= of_predictor(name, epochs)
    for epochs in SHOWN[:-1]:
        numbers |= {
            f"chosen_{epochs}": partial(lambda t: (t, chosen(t)), epochs),
            f"halved_{epochs}": partial(lambda t: percent(halved(t)[0]), epochs),
            f"halved_{epochs}_share": partial(lambda t: percent(halved(t)[1]), epochs),
        }
    for epochs in (3, 5):
        numbers |= {
            f"stopped_{epochs}": partial(lambda t: percent(stopped(t)[1]), epochs),
            f"stopped_{epochs}_share": partial(
                lambda t: percent(stopped(t)[0]), epochs
            ),
        }
    for name, window in WINDOWS.items():
        numbers |= {f"{name}{end}": get for end, get in of_window(window).items()}
    for k in (1, 2, 4):
        numbers[f"components_{k}"] = partial(
            lambda k: (left_over(k), f"{left_over(k):.1f}"), k
        )
    return {f"curve_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; the draws are fixed
    fill_numbers(__file__, all_numbers(), SOURCES)
