"""The numbers that the pages print about Deep Compression and combined branches.

A page prints {{ key }}. They are means over the seeds of deep_compression.py and
compression_branches.py; accuracies are on test.
"""

from __future__ import annotations

from functools import cache, partial

import pandas as pd

from _numbers import Answer, fill_numbers
from _results import DATA, seeds_from_command_line

SOURCES = ("results/deep_compression.csv", "results/compression_branches.csv")
STAGES = ("pruned", "shared", "coded")


@cache
def table(name: str) -> pd.DataFrame:
    """Return a table of results."""
    return pd.read_csv(DATA / "results" / f"{name}.csv", dtype={"bits": str})


def compressed(net: str, bits: str) -> pd.DataFrame:
    """Return the rows of one network and one choice of bits."""
    rows = table("deep_compression")
    return rows[(rows["net"] == net) & (rows["bits"] == bits)]


def factor(net: str, bits: str, stage: str) -> Answer:
    """Return by how much the file is smaller after a stage."""
    rows = compressed(net, bits)
    value = float((rows["dense_bytes"] / rows[f"{stage}_bytes"]).mean())
    return value, f"{value:.1f}"


def percent(net: str, bits: str, stage: str) -> Answer:
    """Return test accuracy after a stage."""
    value = float(compressed(net, bits)[f"{stage}_test"].mean())
    return value, f"{100 * value:.1f} %"


def branch(distilled: int, pruned: int, shared: int) -> pd.DataFrame:
    """Return the rows of one combination."""
    rows = table("compression_branches").astype({"bits": int})
    chosen = (
        rows[["distilled", "pruned", "shared"]] == [distilled, pruned, shared]
    ).all(axis=1)
    return rows[chosen].set_index("seed")


def branch_test(which: tuple[int, int, int]) -> Answer:
    """Return the test accuracy of one combination."""
    value = float(branch(*which)["test"].mean())
    return value, f"{100 * value:.1f} %"


def branch_factor(which: tuple[int, int, int]) -> Answer:
    """Return by how much fewer bits one combination needs."""
    value = float((branch(0, 0, 0)["bits"] / branch(*which)["bits"]).mean())
    return value, f"{value:.1f}"


def better_distilled() -> Answer:
    """Return in how many of all pairs the distilled network was better on test."""
    gains = [
        branch(1, p, s)["test"] - branch(0, p, s)["test"]
        for p in (0, 1)
        for s in (0, 1)
    ]
    together = pd.concat(gains)
    better = int((together > 0).sum())
    return better, f"{better} of {len(together)}"


BRANCHES = [(d, p, s) for d in (0, 1) for p in (0, 1) for s in (0, 1)]
NUMBERS = {
    **{
        f"deepc_{net}_{bits}_{stage}": partial(factor, net, bits, stage)
        for net in ("linear", "convolutional")
        for bits in ("paper", "4")
        for stage in STAGES
    },
    **{
        f"deepc_{net}_4_{stage}_test": partial(percent, net, "4", stage)
        for net in ("linear", "convolutional")
        for stage in ("dense", "pruned", "shared")
    },
    **{
        f"deepc_branch_{d}{p}{s}_test": partial(branch_test, (d, p, s))
        for d, p, s in BRANCHES
    },
    **{
        f"deepc_branch_0{p}{s}_factor": partial(branch_factor, (0, p, s))
        for p in (0, 1)
        for s in (0, 1)
    },
    "deepc_branch_better": better_distilled,
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are those of the tables
    fill_numbers(__file__, NUMBERS, SOURCES)
