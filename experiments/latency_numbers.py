"""Numbers on searches for a latency: how far from the target they end.

From ``latency_target.csv``, and from the additive toys, whose exact answers take no
search. The table of the Pixel 1 is a published file in the folder EFFDL_CACHE.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.hardware.additive_toy import best_for_multiplier, seeded_toy, switches
from effdl.nas.hardware.lagrangian import Bisected, bisect_multiplier
from effdl.nas.hardware.pixel1_table import load_pixel1

SOURCES = ("results/latency_target.csv",)
BENCH = "cellbench"
TARGETS = range(58, 122, 3)  # milliseconds
NEAR, NEARER = 0.02, 0.005


@cache
def stored() -> list[Row]:
    """Return the searches."""
    return read_table(data_path(SOURCES[0]))


def rows(rule: str, device: str) -> list[Row]:
    """Return those of one rule on a device, or on all four ("devices")."""
    return [
        row
        for row in stored()
        if row["rule"] == rule
        and (row["device"] == device or (device == "devices" != BENCH != row["device"]))
    ]


def off(rule: str, column: str, device: str, *, worst: bool = False) -> Answer:
    """Return by how much of the target a column is off, median or largest."""
    away = [abs(float(row[column]) - 1) for row in rows(rule, device)]
    share = float(max(away) if worst else np.median(away))
    return share, f"{100 * share:.1f} %"


def swing(rule: str) -> Answer:
    """Return by how much of T the mixture swings at the end, on the devices, median."""
    wide = [float(r["highest"]) - float(r["lowest"]) for r in rows(rule, "devices")]
    share = float(np.median(wide))
    return share, f"{100 * share:.1f} %"


@cache
def bisected(within: float) -> tuple[Bisected, ...]:
    """Return the bisections for all targets of the Pixel 1, utilities of seed 0."""
    table = load_pixel1()
    toy = seeded_toy(table, 0)
    highest = 2 * switches(toy)[-1]

    def cost_at(multiplier: float) -> float:
        return table.of(best_for_multiplier(toy, multiplier))

    return tuple(
        bisect_multiplier(cost_at, ms / 1e3, highest=highest, within=within)
        for ms in TARGETS
    )


def runs(which: str) -> Answer:
    """Return the median or the largest number of runs of those that hit."""
    counts = [found.runs for found in bisected(NEAR) if found.hit]
    number = int(max(counts) if which == "most" else np.median(counts))
    return number, str(number)


def missed() -> Answer:
    """Return how many targets no multiplier comes near to, of all."""
    count = sum(not found.hit for found in bisected(NEARER))
    return count, f"{count} of {len(TARGETS)}"


NUMBERS = {
    "lightnas_plain_swing": lambda: swing("plain"),
    "lightnas_plain_mean": lambda: off("plain", "mixture", "devices"),
    "lightnas_slow_mean": lambda: off("slow", "mixture", "devices"),
    "lightnas_authors_mean": lambda: off("authors", "mixture", "devices"),
    "lightnas_damped_mean_worst": lambda: off(
        "augmented", "mixture", "devices", worst=True
    ),
    "lightnas_damped_kept_worst": lambda: off(
        "augmented", "kept", "devices", worst=True
    ),
    "lightnas_bench_damped_mean": lambda: off("augmented", "mixture", BENCH),
    "lightnas_bench_damped_kept": lambda: off("augmented", "kept", BENCH),
    "lightnas_bench_sharp_kept": lambda: off("sharpened", "kept", BENCH),
    "lightnas_bench_sharp_measured": lambda: off("sharpened", "measured", BENCH),
    "lightnas_bench_sharp_worst": lambda: off(
        "sharpened", "measured", BENCH, worst=True
    ),
    "lightnas_bench_inside_kept": lambda: off("inside", "kept", BENCH),
    "lightnas_bisect_runs": lambda: runs("median"),
    "lightnas_bisect_most": lambda: runs("most"),
    "lightnas_bisect_missed": missed,
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
