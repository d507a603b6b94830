"""The numbers of the page on block spaces: sizes, counts, quotients of measured times.

A page prints {{ key }}. Sizes are closed forms of the spaces themselves; times and
traffic come from cells_or_chains.py, devices from device_preferences.py, which have to
run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.measure.count import parameter_count
from effdl.measure.macs import torch_flops
from effdl.nas import mbconv_space, shuffle_space
from effdl.nas.block_space import BlockSpace
from effdl.nas.fbnet_table import LAYERS, OPERATIONS
from effdl.nas.supernet import SuperNet

SOURCES = ("results/cells_or_chains.csv", "results/device_preferences.csv")

GROUPS = ("dense", "separable")
FORMS = {"cell": "cell", "same": "same layers", "wide": "wide chain"}


def power(value: float) -> Answer:
    """Return 984770902183611232881 as 9.8e20."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return value, f"{mantissa}e{int(exponent)}"


def digits(value: float) -> Answer:
    """Return 86436 as 86,436."""
    return value, f"{value:,.0f}"


def decimal(value: float, places: int = 1) -> Answer:
    """Return 1.6908 as 1.7."""
    return value, f"{value:.{places}f}"


def millions(value: float) -> Answer:
    """Return 86704128 as 86.7 million."""
    return value, f"{value / 1e6:.1f} million"


def share(value: float) -> Answer:
    """Return 0.416 as 41.6 %."""
    return value, f"{100 * value:.1f} %"


# Spaces.


@cache
def proxyless() -> SuperNet:
    """Return ProxylessNAS's supernet without its numbers."""
    with torch.device("meta"):
        return mbconv_space.proxyless_supernet().eval()


@cache
def extreme(*, first: bool) -> int:
    """Return the multiply-adds of its smallest, or else its largest path."""
    net = proxyless()
    smallest = tuple(size - 1 if size == 7 else 0 for size in net.space.sizes)
    path = net.path(smallest if first else (5,) * len(smallest))
    return torch_flops(path, torch.zeros(1, 3, 224, 224, device="meta")) // 2


def fbnet() -> int:
    """Return the size of FBNet's space."""
    return BlockSpace((dict.fromkeys(OPERATIONS, torch.nn.Identity),) * LAYERS).size


def hsconas() -> BlockSpace:
    """Return HSCoNAS's space with widths."""
    return shuffle_space.shuffle_space(
        16, shuffle_space.STAGES, widths=shuffle_space.WIDTHS
    )


CODES = (5 * 10) ** 20  # units and widths in each of HSCoNAS's layers
SPACES: dict[str, Callable[[], Answer]] = {
    "fbnet_size": lambda: power(fbnet()),
    "proxyless_size": lambda: power(proxyless().space.size),
    "proxyless_layers": lambda: digits(len(proxyless().space.layers)),
    "proxyless_candidates": lambda: digits(proxyless().space.candidates),
    "proxyless_params": lambda: millions(parameter_count(proxyless())),
    "proxyless_least_macs": lambda: millions(extreme(first=True)),
    "proxyless_most_macs": lambda: millions(extreme(first=False)),
    "hsconas_codes": lambda: power(CODES),
    "hsconas_size": lambda: power(hsconas().size),
    "hsconas_ratio": lambda: digits(CODES / hsconas().size),
    "small_size": lambda: digits(mbconv_space.small_mbconv_supernet().space.size),
    "small_candidates": lambda: digits(
        mbconv_space.small_mbconv_supernet().space.candidates
    ),
}


# Cells and chains.


@cache
def forms() -> dict[tuple[str, str], Row]:
    """Return the rows of the table of times."""
    rows = read_table(data_path("results/cells_or_chains.csv"))
    return {(row["group"], row["form"]): row for row in rows}


def of(group: str, form: str, column: str) -> float:
    """Return one number of one form."""
    return float(forms()[group, FORMS[form]][column])


def moved(group: str, form: str) -> float:
    """Return the bytes of all layers and of what joins them."""
    return of(group, form, "layer_bytes") + of(group, form, "join_bytes")


def slower(group: str, form: str) -> Answer:
    """Return how many times as long the cell takes, with its interval."""
    ratio, low, high = (
        of(group, form, f"cell_ratio{end}") for end in ("", "_low", "_high")
    )
    return ratio, f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def of_group(group: str) -> dict[str, Callable[[], Answer]]:
    """Return the numbers of one group of forms."""
    found: dict[str, Callable[[], Answer]] = {
        "macs": lambda: millions(of(group, "cell", "macs")),
        "join_share": lambda: share(
            of(group, "cell", "join_bytes") / moved(group, "cell")
        ),
    }
    for form in FORMS:
        found[f"{form}_layers"] = partial(
            lambda f: digits(of(group, f, "layers")), form
        )
        found[f"{form}_intensity"] = partial(
            lambda f: decimal(of(group, f, "intensity")), form
        )
        found[f"{form}_mb"] = partial(lambda f: decimal(moved(group, f) / 1e6, 2), form)
        found[f"{form}_ms"] = partial(
            lambda f: decimal(of(group, f, "milliseconds")), form
        )
    for form in ("same", "wide"):
        found[f"{form}_slower"] = partial(slower, group, form)
        found[f"{form}_traffic"] = partial(
            lambda f: decimal(moved(group, "cell") / moved(group, f)), form
        )
    return found


# Devices.


@cache
def devices() -> dict[str, float]:
    """Return the rows of the table of devices."""
    rows = read_table(data_path("results/device_preferences.csv"))
    return {row["key"]: float(row["value"]) for row in rows}


def saving(operation: str) -> Answer:
    """Return what share of its time a uniform network could save."""
    uniform = devices()[f"pixel1.{operation}_ms"]
    return share(1 - devices()[f"pixel1.{operation}_enough_ms"] / uniform)


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers = dict(SPACES)
    for group in GROUPS:
        numbers |= {f"{group}_{key}": get for key, get in of_group(group).items()}
    for key in devices():
        places = 1 if key.endswith("_ms") else 0
        numbers[key.replace(".", "_")] = partial(
            lambda k, p: decimal(devices()[k], p), key, places
        )
        if key.endswith("_enough_ms"):
            operation = key.removeprefix("pixel1.").removesuffix("_enough_ms")
            numbers[f"pixel1_{operation}_saving"] = partial(saving, operation)
    numbers["processor"] = lambda: (0, next(iter(forms().values()))["processor"])
    return {f"block_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, all_numbers(), SOURCES)
