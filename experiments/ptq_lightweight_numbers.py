"""The numbers that the pages print about post-training quantization of small nets.

Read from ptq_lightweight.py, which runs before: test accuracies, mean over seeds. A
page prints {{ key }}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import mean

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/ptq_lightweight.csv",)
NETS = ("plain", "mobile")
WAYS = {
    "tensor": "tensor",
    "channel": "channel",
    "equal": "equal",
    "bias": "equal+bias",
}
INJECTED = {
    "injected": "injected",
    "injected_channel": "injected, channel",
    "injected_equal": "injected, equal",
}


@cache
def rows() -> list[Row]:
    """Return the table."""
    return read_table(data_path(SOURCES[0]))


def column(net: str, way: str, bits: int, name: str) -> list[float]:
    """Return a column for one network and way, one value for each seed."""
    key = {"net": net, "way": way, "bits": str(bits)}
    return [float(row[name]) for row in rows() if key.items() <= row.items()]


def percent(net: str, way: str, bits: int) -> Callable[[], Answer]:
    """Return how to compute a mean test accuracy."""

    def compute() -> Answer:
        share = mean(column(net, way, bits, "test"))
        return share, f"{100 * share:.1f} %"

    return compute


def loss(net: str, way: str, bits: int) -> Callable[[], Answer]:
    """Return how to compute the mean loss against the float network, in points."""

    def compute() -> Answer:
        before = mean(column(net, "float", 32, "test"))
        points = 100 * (before - mean(column(net, way, bits, "test")))
        return points, f"{round(points, 1) + 0.0:.1f} points".replace(
            "-", "\N{MINUS SIGN}"
        )

    return compute


def ratio(net: str, way: str, bits: int, name: str) -> Callable[[], Answer]:
    """Return how to compute a mean ratio of channel ranges."""

    def compute() -> Answer:
        value = mean(column(net, way, bits, name))
        return value, f"{value:.1f}" if value < 100 else f"{value:.0f}"

    return compute


def seeds() -> Answer:
    """Return of how many seeds these are means."""
    count = len({row["seed"] for row in rows()})
    return count, f"{count}"


def numbers() -> dict[str, Callable[[], Answer]]:
    """Return all of them by their keys."""
    found: dict[str, Callable[[], Answer]] = {"integer_ptq_seeds": seeds}
    for net in NETS:
        key = f"integer_ptq_{net}"
        found[f"{key}_float"] = percent(net, "float", 32)
        found[f"{key}_relu"] = percent(net, "relu", 32)
        for bits in (8, 6, 4):
            for short, way in WAYS.items():
                found[f"{key}_{short}_{bits}"] = percent(net, way, bits)
                found[f"{key}_{short}_{bits}_loss"] = loss(net, way, bits)
        for short, way in INJECTED.items():
            found[f"{key}_{short}"] = percent(net, way, 8)
        found[f"{key}_ratio"] = ratio(net, "float", 32, "others")
        found[f"{key}_ratio_injected"] = ratio(net, "injected", 8, "others")
    key = "integer_ptq_mobile_depthwise"
    found[key] = ratio("mobile", "float", 32, "depthwise")
    found[f"{key}_equal"] = ratio("mobile", "equal", 8, "depthwise")
    found[f"{key}_injected"] = ratio("mobile", "injected", 8, "depthwise")
    return found


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, numbers(), SOURCES)
