"""The numbers that the pages print about one-bit networks.

Accuracies are means over the seeds of binary_training.py, which runs before, on the
test scenes. The product of packed signs is timed here, beside the float product, with
one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.measure.latency import latency
from effdl.quant.binarize import sign
from effdl.quant.packed_signs import multiply_signs, pack_signs
from effdl.seed import seeded

SOURCES = ("results/binary_training.csv",)
ROWS, LENGTH, COLUMNS = 100, 4096, 1024


@cache
def mean(method: str, column: str = "test") -> float:
    """Return the mean of a column over the seeds."""
    rows = read_table(data_path("results/binary_training.csv"))
    return float(np.mean([float(r[column]) for r in rows if r["method"] == method]))


@cache
def milliseconds() -> dict[str, float]:
    """Return the median time of a float product and of one of packed signs."""
    with seeded(0):
        a, b = sign(torch.randn(ROWS, LENGTH)), sign(torch.randn(COLUMNS, LENGTH))
    packed = pack_signs(a), pack_signs(b)
    found = latency(
        {
            "float": lambda x: x @ b.T,
            "packed": lambda _: multiply_signs(*packed),
            "with packing": lambda x: multiply_signs(pack_signs(x), packed[1]),
        },
        a,
        repeats=40,
    )
    return {name: 1000 * taken.median for name, taken in found.items()}


def percent(method: str, column: str = "test") -> Callable[[], Answer]:
    """Return a function that gives an accuracy as the pages print it."""
    return lambda: (mean(method, column), f"{100 * mean(method, column):.1f} %")


def points(more: tuple[str, str], less: tuple[str, str]) -> Callable[[], Answer]:
    """Return a function that gives a difference of accuracies in points."""

    def answer() -> Answer:
        difference = mean(*more) - mean(*less)
        return difference, f"{100 * difference:.1f} points"

    return answer


def times(name: str) -> Callable[[], Answer]:
    """Return a function that gives milliseconds as the pages print them."""
    return lambda: (milliseconds()[name], f"{milliseconds()[name]:.1f} ms")


def faster(name: str) -> Callable[[], Answer]:
    """Return a function that gives how many times faster than floats it is."""

    def answer() -> Answer:
        ratio = milliseconds()["float"] / milliseconds()[name]
        return ratio, f"{ratio:.1f}x"

    return answer


NUMBERS: dict[str, Callable[[], Answer]] = {
    "binary_floats": percent("floats"),
    "binary_signs_real": percent("signs", "real"),
    "binary_signs_real_before": percent("signs", "real_before"),
    "binary_signs_sign": percent("signs", "sign"),
    "binary_signs_coin": percent("signs", "coin"),
    "binary_coins_real": percent("coins", "real"),
    "binary_coins_sign": percent("coins", "sign"),
    "binary_coins_coin": percent("coins", "coin"),
    "binary_signs_gain": points(("signs", "sign"), ("coins", "sign")),
    "binary_net": percent("binary net"),
    "binary_conv": percent("conv"),
    "binary_bwn": percent("bwn"),
    "binary_xnor": percent("xnor"),
    "binary_xnor_no_k": percent("xnor no K"),
    "binary_float_ms": times("float"),
    "binary_packed_ms": times("packed"),
    "binary_packed_faster": faster("packed"),
    "binary_packing_faster": faster("with packing"),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; no accuracy here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
