"""The passes and times that the page on zero-cost proxies prints, as texts.

Made from the table of proxy_speed.py and from the seconds of a training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from statistics import median

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.cellbench import load_cellbench

SOURCES = ("results/proxy_speed.csv", "cellbench/costs.csv")
CELLS = ("largest", "middle")


@cache
def rows() -> dict[tuple[str, str], Row]:
    """Return the rows of the table by cell and proxy."""
    table = read_table(data_path(SOURCES[0]))
    return {(row["cell"], row["proxy"]): row for row in table}


def of(cell: str, proxy: str, column: str) -> float:
    """Return one measured number."""
    return float(rows()[cell, proxy][column])


def whole(value: float) -> Answer:
    """Return 3000 as 3,000."""
    return value, f"{value:,.0f}"


def digits(value: float, unit: str = "") -> Answer:
    """Return 127.31 as 127, 27.31 as 27, 7.31 as 7.3, with its unit."""
    places = 0 if value >= 10 else 1
    return value, f"{value:.{places}f} {unit}".strip()


def milliseconds(cell: str, proxy: str) -> Answer:
    """Return the median time of one call."""
    return digits(of(cell, proxy, "milliseconds"), "ms")


def ratio(cell: str, first: str, second: str) -> Answer:
    """Return how many times as long the first proxy takes."""
    one, other = (of(cell, p, "milliseconds") for p in (first, second))
    return digits(one / other)


def in_a_training(proxy: str) -> Answer:
    """Return how many times a proxy could be computed while one network trains."""
    training = median(load_cellbench().need("seconds").tolist())
    return whole(training / (1e-3 * of("middle", proxy, "milliseconds")))


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers: dict[str, Callable[[], Answer]] = {
        "ntk_snip": partial(ratio, "largest", "ntk", "snip"),
        "regions_snip": partial(ratio, "largest", "regions", "snip"),
        "grasp_snip": partial(ratio, "largest", "grasp", "snip"),
        "zen_snip": partial(ratio, "largest", "zen", "snip"),
        "snips_in_a_training": partial(in_a_training, "snip"),
        "kernels_in_a_training": partial(in_a_training, "ntk"),
        "processor": lambda: (0, next(iter(rows().values()))["processor"]),
    }
    for cell, proxy in rows():
        numbers[f"{proxy}_{cell}"] = partial(milliseconds, cell, proxy)
    for proxy in (proxy for cell, proxy in rows() if cell == "largest"):
        for column in ("forward", "backward", "inputs"):
            numbers[f"{proxy}_{column}"] = partial(
                lambda p, c: whole(of("largest", p, c)), proxy, column
            )
    return {f"proxy_speed_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, all_numbers(), SOURCES)
