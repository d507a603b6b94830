"""The times that page 2.1 prints: texts made from the table of network_speed.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.networks_table import load_networks

SOURCES = ("results/network_speed.csv", "survey/networks.csv")

WITH_VARIANT = {
    "resnet50": "ResNet-50",
    "densenet121": "DenseNet-121",
    "ghostnet_v1_13": "GhostNetV1 x1.3",
    "fasternet_t0": "FasterNet-T0",
    "fasternet_t1": "FasterNet-T1",
}


@cache
def times() -> dict[str, Row]:
    """Return the rows of the table of times by key."""
    return {
        row["key"]: row for row in read_table(data_path("results/network_speed.csv"))
    }


def of(key: str, column: str) -> float:
    """Return one measured number."""
    return float(times()[key][column])


def column(name: str) -> list[float]:
    """Return one number of every network."""
    return [of(key, name) for key in times()]


def digits(value: float, unit: str = "") -> Answer:
    """Return 27.31 as 27.3, 127.31 as 127, 0.5123 as 0.51, with its unit."""
    places = 0 if value >= 100 else 1 if value >= 2 else 2
    return value, f"{value:.{places}f} {unit}".strip()


def ratio(first: str, second: str, name: str) -> Answer:
    """Return by what factor a number of the first network is larger."""
    return digits(of(first, name) / of(second, name))


def name(key: str) -> Answer:
    """Return what a network is called; its value is its rate."""
    (network,) = (network for network in load_networks() if network.key == key)
    return of(key, "gmacs_per_second"), WITH_VARIANT.get(key, network.network)


def by_rate() -> list[str]:
    """Return the keys of the networks from the slowest rate to the fastest."""
    return sorted(times(), key=lambda key: of(key, "gmacs_per_second"))


def rank_correlation(first: str, second: str) -> Answer:
    """Return Spearman's correlation of two columns, in which no number is twice."""
    ranks = [np.argsort(np.argsort(column(one))) for one in (first, second)]
    return digits(float(np.corrcoef(*ranks)[0, 1]))


CLAIMS: dict[str, Callable[[], Answer]] = {
    "squeezenet_alexnet": partial(ratio, "squeezenet", "alexnet", "milliseconds"),
    "fasternet_t1_speedup": partial(
        ratio, "ghostnet_v1_13", "fasternet_t1", "milliseconds"
    ),
    "fasternet_t1_rate_ratio": partial(
        ratio, "fasternet_t1", "ghostnet_v1_13", "gmacs_per_second"
    ),
    "rate_spread": lambda: ratio(by_rate()[-1], by_rate()[0], "gmacs_per_second"),
    "best": lambda: name(by_rate()[-1]),
    "worst": lambda: name(by_rate()[0]),
    "rank_macs": partial(rank_correlation, "macs", "milliseconds"),
    "rank_params": partial(rank_correlation, "params", "milliseconds"),
    "networks": lambda: (len(times()), str(len(times()))),
    "processor": lambda: (0, next(iter(times().values()))["processor"]),
}


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers = dict(CLAIMS)
    for key in times():
        for short, long in (("ms", "milliseconds"), ("low", "low"), ("high", "high")):
            numbers[f"{key}_{short}"] = partial(
                lambda k, c: digits(of(k, c), "ms"), key, long
            )
        numbers[f"{key}_rate"] = partial(
            lambda k: digits(of(k, "gmacs_per_second")), key
        )
    return {f"speed_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, all_numbers(), SOURCES)
