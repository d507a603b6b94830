"""The numbers of the page on zero-cost proxies: rankings, combinations, searches.

A page prints {{ key }}. The scores, the public rankings and the searches come from
proxy_scores.py, proxy_ranking_201.py, proxy_combinations_201.py and te_nas_search.py,
which have to run before. Intervals hold 95 percent of 1,000 samples of the cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.cell_space import Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.proxies.combination import (
    held_out_regression,
    rank_sum,
    vote,
    z_score_sum,
)
from effdl.nas.ranking import (
    bootstrap_interval,
    kendall,
    precision_at_top,
    spearman,
    top_half,
)
from effdl.nas.table import Floats

SOURCES = (
    "results/proxy_scores.csv",
    "cellbench/trainings.npz",
    "cellbench/costs.csv",
    "results/proxy_ranking_201.csv",
    "results/proxy_combinations_201.csv",
    "results/te_nas_search.csv",
)
PROXIES = (
    *("snip", "grad_norm", "grasp", "fisher", "synflow", "jacov", "epe", "naswot"),
    *("zen", "ntk", "regions"),
)
BASELINES = ("parameters", "macs")
DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet"}
WAYS_201 = {
    "ntk + regions, rank sum": "pair",
    "synflow, jacov, snip: vote": "vote",
    "all eleven, rank sum": "ranks",
    "all eleven, z-scores": "z",
    "all eleven, regression": "regression",
    "the same and size": "regression_size",
}
DRAWS, HALVES = 1000, 200


# Numbers and how they are printed.


def correlation(value: float) -> Answer:
    """Return 0.654 as 0.65, and a negative one with a true minus sign."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return value, text.replace("-", "\N{MINUS SIGN}")


def between(low: float, high: float) -> Answer:
    """Return an interval."""
    return low, f"{correlation(low)[1]} to {correlation(high)[1]}"


def percent(value: float, places: int = 0) -> Answer:
    """Return 0.8765 as 88 %."""
    return value, f"{100 * value:.{places}f} %"


def whole(value: float) -> Answer:
    """Return 5043 as 5,043."""
    return value, f"{value:,.0f}"


# What was scored, and what the cells are worth.


@cache
def rows(seed: int) -> list[Row]:
    """Return the stored scores of one draw of weights, cell by cell."""
    return [r for r in read_table(data_path(SOURCES[0])) if r["seed"] == str(seed)]


@cache
def seeds() -> list[int]:
    """Return the draws of weights that all cells have."""
    count = Counter(int(r["seed"]) for r in read_table(data_path(SOURCES[0])))
    return sorted(seed for seed in count if count[seed] == max(count.values()))


@cache
def places() -> list[int]:
    """Return the rows of the scored cells in the benchmark."""
    return [load_cellbench().row(Cell.parse(row["cell"])) for row in rows(0)]


@cache
def truth() -> Floats:
    """Return the mean test accuracies of the scored cells."""
    return load_cellbench().mean("test")[places()]


@cache
def score(name: str, seed: int = 0) -> Floats:
    """Return the scores of all cells, of the same cells in the same order."""
    if name in BASELINES:
        return load_cellbench().need(name)[places()]
    found = {row["cell"]: float(row[name]) for row in rows(seed)}
    return np.array([found[row["cell"]] for row in rows(0)])


@cache
def mean_rank(name: str) -> Floats:
    """Return the sum of the ranks in all draws."""
    return rank_sum(*(score(name, seed) for seed in seeds()))


def interval(scores: Floats) -> Answer:
    """Return what resampled cells make of Spearman's correlation."""
    random = np.random.default_rng(0)
    return between(*bootstrap_interval(spearman, scores, truth(), random, draws=DRAWS))


def gain(first: Floats, second: Floats) -> Answer:
    """Return by how much the first ranks better, over resampled cells."""
    random = np.random.default_rng(0)
    chosen = random.integers(len(truth()), size=(DRAWS, len(truth())))
    found = [
        spearman(first[i], truth()[i]) - spearman(second[i], truth()[i]) for i in chosen
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return between(float(low), float(high))


def beyond(name: str) -> float:
    """Return the correlation with accuracy after the rank of the size is taken out."""
    size = rank_sum(score("parameters"))

    def rest(values: Floats) -> Floats:
        ranks = rank_sum(values)
        return ranks - np.polyval(np.polyfit(size, ranks, 1), size)

    return float(np.corrcoef(rest(score(name)), rest(truth()))[0, 1])


def agreement(name: str) -> float:
    """Return the mean correlation between the orders of two draws."""
    draws = [score(name, seed) for seed in seeds()]
    pairs = [(a, b) for i, a in enumerate(draws) for b in draws[:i]]
    return float(np.mean([spearman(a, b) for a, b in pairs]))


def spread(name: str) -> float:
    """Return the deviation over draws as a share of the mean, for the median cell."""
    draws = np.array([score(name, seed) for seed in seeds()])
    return float(np.median(draws.std(axis=0, ddof=1) / np.abs(draws.mean(axis=0))))


def ceiling() -> float:
    """Return how one training ranks the cells, against the mean of the others."""
    test = load_cellbench().need("test")[places()]
    test = test[:, ~np.isnan(test).any(axis=0)]
    others = [np.delete(test, s, axis=1).mean(axis=1) for s in range(test.shape[1])]
    return float(np.mean([spearman(a, b) for a, b in zip(test.T, others, strict=True)]))


def of_proxy(name: str) -> dict[str, Callable[[], Answer]]:
    """Return the numbers of one ranking."""
    found: dict[str, Callable[[], Answer]] = {
        "": lambda: correlation(spearman(score(name), truth())),
        "_interval": lambda: interval(score(name)),
        "_kendall": lambda: correlation(kendall(score(name), truth())),
        "_half": lambda: correlation(top_half(score(name), truth())),
        "_tenth": lambda: percent(precision_at_top(score(name), truth())),
        "_choice": lambda: percent(float(truth()[score(name).argmax()]), 1),
    }
    if name not in BASELINES:
        found |= {
            "_size": lambda: correlation(spearman(score(name), score("parameters"))),
            "_beyond": lambda: correlation(beyond(name)),
            "_agree": lambda: correlation(agreement(name)),
            "_spread": lambda: percent(spread(name)),
            "_one": lambda: correlation(
                float(np.mean([spearman(score(name, s), truth()) for s in seeds()]))
            ),
            "_three": lambda: correlation(spearman(mean_rank(name), truth())),
        }
    return {f"{name}{end}": get for end, get in found.items()}


# Combinations.


def regression(*more: str) -> Floats:
    """Return predictions by all proxies, and by what else is named."""
    columns = [score(name) for name in PROXIES]
    columns += [np.log(score(name)) for name in more]
    return held_out_regression(truth(), *columns, random=np.random.default_rng(0))


WAYS: dict[str, Callable[[], Floats]] = {
    "pair": lambda: rank_sum(score("ntk"), score("regions")),
    "vote": lambda: vote(score("synflow"), score("jacov"), score("snip")),
    "ranks": lambda: rank_sum(*(score(name) for name in PROXIES)),
    "z": lambda: z_score_sum(*(score(name) for name in PROXIES)),
    "regression": regression,
    "regression_size": lambda: regression("parameters"),
}


def pair_of_three() -> Floats:
    """Return the rank sum of kernel and regions, each with the mean rank of draws."""
    return rank_sum(mean_rank("ntk"), mean_rank("regions"))


@cache
def chosen() -> tuple[str, int, float]:
    """Return which proxy is best on one half, how often, and its gain on the other."""
    random = np.random.default_rng(0)
    names, gains = [], []
    for _ in range(HALVES):
        known, new = np.array_split(random.permutation(len(truth())), 2)
        on = {n: spearman(score(n)[known], truth()[known]) for n in PROXIES}
        names.append(max(on, key=lambda n: on[n]))
        pair = [
            spearman(score(n)[new], truth()[new]) for n in (names[-1], "parameters")
        ]
        gains.append(pair[0] - pair[1])
    name, times = Counter(names).most_common(1)[0]
    return name, times, float(np.mean(gains))


def best() -> str:
    """Return the proxy with the highest correlation."""
    return max(PROXIES, key=lambda name: spearman(score(name), truth()))


def above_parameters() -> int:
    """Return how many proxies rank better than the parameters."""
    least = spearman(score("parameters"), truth())
    return sum(spearman(score(name), truth()) > least for name in PROXIES)


# The public tables.


@cache
def public() -> dict[tuple[str, str], Row]:
    """Return the rows of the ranking of NAS-Bench-201 by data set and proxy."""
    table = read_table(data_path("results/proxy_ranking_201.csv"))
    return {(row["dataset"], row["proxy"]): row for row in table}


@cache
def combined() -> dict[tuple[str, str], Row]:
    """Return the rows of the combinations by data set and way."""
    table = read_table(data_path("results/proxy_combinations_201.csv"))
    return {(row["dataset"], row["way"]): row for row in table}


def ends(row: Row, name: str) -> Answer:
    """Return an interval that is stored in two columns."""
    return between(float(row[f"{name}_low"]), float(row[f"{name}_high"]))


def of_public(dataset: str, short: str) -> dict[str, Callable[[], Answer]]:
    """Return what the public table of one data set gives."""
    numbers: dict[str, Callable[[], Answer]] = {}
    for name in (*PROXIES, *BASELINES):
        numbers[f"{name}_{short}"] = lambda name=name: correlation(
            float(public()[dataset, name]["spearman"])
        )
        numbers[f"{name}_{short}_interval"] = lambda name=name: ends(
            public()[dataset, name], "spearman"
        )
    for way, key in WAYS_201.items():
        numbers[f"{key}_{short}"] = lambda way=way: correlation(
            float(combined()[dataset, way]["spearman"])
        )
        numbers[f"{key}_{short}_gain"] = lambda way=way: ends(
            combined()[dataset, way], "over_size"
        )
        numbers[f"{key}_{short}_over_part"] = lambda way=way: ends(
            combined()[dataset, way], "over_part"
        )
    return numbers


# The search.


@cache
def searches() -> list[Row]:
    """Return the rows of the searches."""
    return read_table(data_path("results/te_nas_search.csv"))


def percentile(cell: Cell) -> float:
    """Return which share of all classes a cell leaves behind, in percent."""
    table = load_cellbench()
    accuracy = table.mean("test")
    return 100 * float((accuracy < accuracy[table.row(cell)]).mean())


@cache
def found() -> list[float]:
    """Return the percentiles that the searches end at, ascending."""
    return sorted(percentile(Cell.parse(row["cell"])) for row in searches())


def largest() -> Cell:
    """Return the cell with the most parameters."""
    return Cell(("nor_conv_3x3",) * 6)


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers: dict[str, Callable[[], Answer]] = {
        "cells": lambda: whole(len(truth())),
        "draws": lambda: whole(len(seeds())),
        "ceiling": lambda: correlation(ceiling()),
        "better": lambda: (above_parameters(), str(above_parameters() or "none")),
        "best_gain": lambda: gain(score(best()), score("parameters")),
        "chosen_times": lambda: percent(chosen()[1] / HALVES),
        "chosen_gain": lambda: correlation(chosen()[2]),
        "training": lambda: (
            float(np.median(load_cellbench().need("seconds"))),
            f"{np.median(load_cellbench().need('seconds')):.1f} s",
        ),
        "best_cell": lambda: percent(float(truth().max()), 1),
        "pair_over_kernel": lambda: gain(WAYS["pair"](), score("ntk")),
        "pair_three": lambda: correlation(spearman(pair_of_three(), truth())),
        "pair_three_over_kernel": lambda: gain(pair_of_three(), mean_rank("ntk")),
        "pair_three_over_regions": lambda: gain(pair_of_three(), mean_rank("regions")),
        "pair_one": lambda: correlation(
            float(
                np.mean([
                    spearman(rank_sum(score("ntk", s), score("regions", s)), truth())
                    for s in seeds()
                ])
            )
        ),
        "cells_201": lambda: whole(int(public()["cifar100", "snip"]["cells"])),
        "search_runs": lambda: whole(len(searches())),
        "search_cells": lambda: whole(len({row["cell"] for row in searches()})),
        "search_evaluations": lambda: whole(int(searches()[0]["evaluations"])),
        "search_seconds": lambda: whole(
            float(np.median([float(row["seconds"]) for row in searches()]))
        ),
        "search_median": lambda: whole(float(np.median(found()))),
        "search_worst": lambda: whole(found()[0]),
        "search_best": lambda: whole(found()[-1]),
        "search_largest": lambda: whole(percentile(largest())),
    }
    for name in (*PROXIES, *BASELINES):
        numbers |= of_proxy(name)
    for key, way in WAYS.items():
        numbers[key] = partial(lambda w: correlation(spearman(w(), truth())), way)
        numbers[f"{key}_gain"] = partial(lambda w: gain(w(), score("parameters")), way)
    for dataset, short in DATASETS.items():
        numbers |= of_public(dataset, short)
    return {f"proxy_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; the draws are fixed
    fill_numbers(__file__, all_numbers(), SOURCES)
