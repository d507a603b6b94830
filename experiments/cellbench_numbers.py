"""The numbers of the page on the cell benchmark: size, noise, time, agreement."""

from __future__ import annotations

import csv
from functools import cache

import numpy as np
from numpy.typing import NDArray

from _numbers import Answer, fill_numbers
from _results import DATA, Row, read_table
from effdl.nas.cell_classes import representatives, scale_blind_form
from effdl.nas.cellbench import COSTS, TRAININGS, load_cellbench
from effdl.nas.ranking import spearman, top_half

SOURCES = (
    TRAININGS,
    COSTS,
    "cellbench/provenance.csv",
    "results/cellbench_agreement.csv",
)


def whole(value: float) -> Answer:
    """Return 5043 as 5,043."""
    return float(value), f"{value:,.0f}"


def decimal(value: float, places: int = 2) -> Answer:
    """Return .8833 as 0.88."""
    return float(value), f"{value:.{places}f}"


def points(value: float) -> Answer:
    """Return .0156 as 1.6, in percentage points or percent."""
    return float(value), f"{100 * value:.1f}"


@cache
def test() -> NDArray[np.float64]:
    """Return test accuracies, (classes, seeds)."""
    return load_cellbench().need("test")


@cache
def mean() -> NDArray[np.float64]:
    """Return mean test accuracies, (classes,)."""
    return load_cellbench().mean("test")


def noise(rows: NDArray[np.bool_]) -> float:
    """Return the deviation between seeds of a class, pooled over classes."""
    return float(np.sqrt(np.nanvar(test()[rows], axis=1, ddof=1).mean()))


def origins(*, card: bool) -> list[Row]:
    """Return how the trainings on a graphics card, or all others, were made."""
    with (DATA / "cellbench/provenance.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if ("NVIDIA" in row["processor"]) is card]


def total(rows: list[Row], column: str) -> float:
    """Return the sum of a column."""
    return sum(float(row[column]) for row in rows)


def difference(column: str) -> NDArray[np.float64]:
    """Return trainings repeated on a processor, minus those of the table."""
    rows = read_table(DATA / "results/cellbench_agreement.csv")
    return np.array([
        float(row[column]) - float(row[f"stored_{column}"]) for row in rows
    ])


def saved_hours() -> float:
    """Return core-hours that all trainings would take one after the other."""
    seeds = np.isfinite(test()).sum(axis=1)
    return float((load_cellbench().need("seconds") * seeds).sum() / 3600)


def seeds_of(least: int) -> int:
    """Return how many classes have at least so many seeds."""
    return int((np.isfinite(test()).sum(axis=1) >= least).sum())


def upper() -> NDArray[np.bool_]:
    """Return which classes are at least as good as the median."""
    return mean() >= np.median(mean())


def relative_spread(name: str) -> float:
    """Return the median of quartile distance over median, of a latency."""
    table = load_cellbench()
    return float(np.median(table.need(f"{name}_spread") / table.need(name)))


def chosen() -> int:
    """Return the row that validation accuracy chooses."""
    return int(load_cellbench().mean("validation").argmax())


NUMBERS = {
    "cellbench_trainings": lambda: whole(np.isfinite(test()).sum()),
    "cellbench_two_seeds": lambda: whole(seeds_of(2)),
    "cellbench_three_seeds": lambda: whole(seeds_of(3)),
    "cellbench_five_seeds": lambda: whole(seeds_of(5)),
    "cellbench_scale_blind": lambda: whole(
        len({scale_blind_form(cell) for cell in representatives().values()}) - 1
    ),
    "cellbench_noise": lambda: points(noise(mean() >= 0)),
    "cellbench_noise_upper": lambda: points(noise(upper())),
    "cellbench_spread": lambda: points(float(mean().std())),
    "cellbench_spread_upper": lambda: points(float(mean()[upper()].std())),
    "cellbench_median": lambda: points(float(np.median(mean()))),
    "cellbench_best": lambda: points(float(mean().max())),
    "cellbench_chosen": lambda: points(float(mean()[chosen()])),
    "cellbench_seed_spearman": lambda: decimal(spearman(test()[:, 0], test()[:, 1])),
    "cellbench_seed_top_half": lambda: decimal(top_half(test()[:, 0], test()[:, 1])),
    "cellbench_core_hours": lambda: decimal(saved_hours(), 1),
    "cellbench_card_trainings": lambda: whole(total(origins(card=True), "trainings")),
    "cellbench_card_minutes": lambda: decimal(
        total(origins(card=True), "seconds") / 60, 1
    ),
    "cellbench_core_trainings": lambda: whole(total(origins(card=False), "trainings")),
    "cellbench_core_minutes": lambda: whole(total(origins(card=False), "seconds") / 60),
    "cellbench_same_seed": lambda: points(float(difference("test").std())),
    "cellbench_same_seed_mean": lambda: points(float(difference("test").mean())),
    "cellbench_first_loss": lambda: decimal(np.abs(difference("first_loss")).max(), 4),
    "cellbench_repeated": lambda: whole(len(difference("test"))),
    "cellbench_kilobytes": lambda: whole(
        sum(p.stat().st_size for p in (DATA / "cellbench").glob("*.*")) / 1000
    ),
    "cellbench_macs_batch_1": lambda: decimal(
        spearman(load_cellbench().need("macs"), load_cellbench().need("latency_1"))
    ),
    "cellbench_macs_batch_64": lambda: decimal(
        spearman(load_cellbench().need("macs"), load_cellbench().need("latency_64"))
    ),
    "cellbench_latency_spread": lambda: points(relative_spread("latency_1")),
}


if __name__ == "__main__":
    fill_numbers(__file__, NUMBERS, SOURCES)
