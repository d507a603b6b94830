"""Whether combined proxies rank cells of NAS-Bench-201 better than their parts.

Needs results/proxy_scores_201.csv and the public accuracies; without a network, those
are taken from the folder EFFDL_CACHE. A gain is a difference of Spearman's
correlations, over the better one of kernel and regions or over the parameters, with an
interval of 95 percent from resampled cells. The regressions never see the cell that
they predict.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from _results import DATA, Case, fill_table, read_table
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.combination import (
    held_out_regression,
    rank_sum,
    vote,
    z_score_sum,
)
from effdl.nas.public_tables import DATASETS, load_nas_bench_201
from effdl.nas.ranking import spearman
from effdl.nas.table import Floats

NAMES = (
    *("snip", "grad_norm", "grasp", "fisher", "synflow", "jacov", "epe", "naswot"),
    *("zen", "ntk", "regions"),
)
DRAWS = 1000


@cache
def known(dataset: str) -> tuple[dict[str, Floats], Floats]:
    """Return the scores with the logarithm of the parameters, and the accuracies."""
    table = load_nas_bench_201(dataset)
    rows = read_table(DATA / "results/proxy_scores_201.csv")
    places = [table.row(Cell.parse(row["cell"])) for row in rows]
    scores = {n: np.array([float(row[n]) for row in rows]) for n in NAMES}
    scores["parameters"] = np.log(table.need("parameters")[places])
    return scores, table.mean("validation")[places]


def regression(scores: dict[str, Floats], truth: Floats, *more: str) -> Floats:
    """Return predictions by all proxies, and by what else is named."""
    columns = [scores[name] for name in (*NAMES, *more)]
    return held_out_regression(truth, *columns, random=np.random.default_rng(0))


WAYS: dict[str, Callable[[dict[str, Floats], Floats], Floats]] = {
    "ntk + regions, rank sum": lambda s, _: rank_sum(s["ntk"], s["regions"]),
    "synflow, jacov, snip: vote": lambda s, _: vote(
        s["synflow"], s["jacov"], s["snip"]
    ),
    "all eleven, rank sum": lambda s, _: rank_sum(*(s[n] for n in NAMES)),
    "all eleven, z-scores": lambda s, _: z_score_sum(*(s[n] for n in NAMES)),
    "all eleven, regression": regression,
    "the same and size": lambda s, truth: regression(s, truth, "parameters"),
}


def gain(score: Floats, over: Floats, truth: Floats, seed: int) -> tuple[float, float]:
    """Return the central 95 percent of the difference of two correlations."""
    random = np.random.default_rng(seed)
    rows = random.integers(len(truth), size=(DRAWS, len(truth)))
    found = [spearman(score[r], truth[r]) - spearman(over[r], truth[r]) for r in rows]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def measure(dataset: str, way: str, seed: int) -> Case:
    """Return how one combination ranks on one data set."""
    scores, truth = known(dataset)
    combined = WAYS[way](scores, truth)
    part = max(("ntk", "regions"), key=lambda name: spearman(scores[name], truth))
    over_part = gain(combined, scores[part], truth, seed)
    over_size = gain(combined, scores["parameters"], truth, seed)
    return {
        "spearman": spearman(combined, truth),
        "part": part,
        "over_part_low": over_part[0],
        "over_part_high": over_part[1],
        "over_size_low": over_size[0],
        "over_size_high": over_size[1],
    }


if __name__ == "__main__":
    cases = [{"dataset": d, "way": w, "seed": 0} for d in DATASETS for w in WAYS]
    fill_table(__file__, cases, measure)
