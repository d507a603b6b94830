"""The numbers that the pages print about quantization-aware training.

A page prints {{ key }}. Accuracies are means over the seeds of qat_bits.py, on test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from statistics import mean, stdev

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/qat_bits.csv",)
METHODS = ("tensor", "channel", "min-max", "LSQ", "PACT")
BITS = (8, 4, 3, 2)
SKIPPED = {("LSQ", 8), ("PACT", 8)}


@cache
def tests(method: str, bits: int) -> tuple[float, ...]:
    """Return the test accuracies of all seeds."""
    return tuple(
        float(row["test"])
        for row in read_table(data_path(SOURCES[0]))
        if (row["method"], int(row["bits"])) == (method, bits)
    )


def accuracy_of(method: str, bits: int) -> Answer:
    """Return mean and deviation, or that training ran away."""
    values = tests(method, bits)
    lost = sum(math.isnan(value) for value in values)
    if lost:
        return -1, f"ran away in {lost} of {len(values)}"
    centre = mean(values)
    return centre, f"{100 * centre:.1f} ± {100 * stdev(values):.1f} %"


def gap(better: str, worse: str, bits: int) -> Answer:
    """Return by how many points one method is better."""
    value = mean(tests(better, bits)) - mean(tests(worse, bits))
    return value, f"{100 * value:.1f} points"


def seeds() -> Answer:
    """Return how many seeds the table has."""
    count = len(tests("float", 32))
    return count, str(count)


NUMBERS: dict[str, Callable[[], Answer]] = {
    "qat_seeds": seeds,
    "qat_float": lambda: accuracy_of("float", 32),
    **{
        f"qat_{method.replace('-', '_').lower()}_{bits}": partial(
            accuracy_of, method, bits
        )
        for method in METHODS
        for bits in BITS
        if (method, bits) not in SKIPPED
    },
    "qat_gap_8": lambda: gap("min-max", "channel", 8),
    "qat_gap_4": lambda: gap("min-max", "channel", 4),
    "qat_gap_3": lambda: gap("LSQ", "channel", 3),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
