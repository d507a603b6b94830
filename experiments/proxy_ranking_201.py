"""How the zero-cost proxies rank 200 cells of NAS-Bench-201, against public accuracies.

Needs results/proxy_scores_201.csv and the public table; without a network, that is
taken from the folder EFFDL_CACHE. Bootstrap intervals of 95 percent.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from _results import DATA, Case, fill_table, read_table
from effdl.nas.cell_space import Cell
from effdl.nas.public_tables import load_nas_bench_201
from effdl.nas.ranking import (
    bootstrap_interval,
    kendall,
    precision_at_top,
    spearman,
    top_half,
)
from effdl.nas.table import CellTable

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
PROXIES = (
    *("parameters", "macs", "snip", "grad_norm", "grasp", "fisher", "synflow"),
    *("jacov", "epe", "naswot", "zen", "ntk", "regions"),
)


@cache
def public(dataset: str) -> CellTable:
    """Return the published accuracies."""
    return load_nas_bench_201(dataset)


def measure(dataset: str, proxy: str, seed: int) -> Case:
    """Return the statistics of one proxy on one data set."""
    table, rows = public(dataset), read_table(DATA / "results/proxy_scores_201.csv")
    places = [table.row(Cell.parse(row["cell"])) for row in rows]
    truth = table.mean("validation")[places]
    if proxy in rows[0]:
        scores = np.array([float(row[proxy]) for row in rows])
    else:
        scores = table.need(proxy)[places]
    random = np.random.default_rng(seed)
    low, high = bootstrap_interval(spearman, scores, truth, random)
    return {
        "cells": len(rows),
        "spearman": spearman(scores, truth),
        "spearman_low": low,
        "spearman_high": high,
        "kendall": kendall(scores, truth),
        "top_half": top_half(scores, truth),
        "precision_at_top": partial(precision_at_top, share=0.1)(scores, truth),
    }


if __name__ == "__main__":
    cases = [{"dataset": d, "proxy": p, "seed": 0} for d in DATASETS for p in PROXIES]
    fill_table(__file__, cases, measure)
