"""The numbers of page 3.1 on cells: sizes of spaces, classes of cells, counts.

Each row is one number with the text that a page prints for {{ key }}. Nothing here is
random and nothing is timed. The sizes are closed forms, the classes are found by going
through all 15,625 cells, and the networks are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from functools import cache

import timm
import torch

from _results import Case, fill_table, seeds_from_command_line
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nas.cell_classes import functional_form, scale_blind_form
from effdl.nas.cell_space import EDGES, SPACE_SIZE, Cell, all_cells
from effdl.nas.darts_net import DartsNet, small_darts_net
from effdl.nas.darts_sampling import darts_neighbours
from effdl.nas.darts_space import DARTS_V2, INPUTS
from effdl.nas.nas_bench_201 import nas_bench_201_net
from effdl.nas.space_size import (
    darts_cells,
    darts_edges,
    elastic_networks,
    granularities,
    independent_choices,
    nasnet_cells,
)

Answer = tuple[float, str]
CONV = "nor_conv_3x3"


def digits(value: int) -> Answer:
    """Return 15625 as 15,625."""
    return value, f"{value:,}"


def power(value: int) -> Answer:
    """Return 1076746980 as 1.08e9, as the pages print sizes of spaces."""
    mantissa, exponent = f"{float(value):.2e}".split("e")
    return float(value), f"{mantissa}e{int(exponent)}"


def million(value: int, places: int) -> Answer:
    """Return 88753150 as 88.8 million."""
    return value, f"{value / 1e6:.{places}f} million"


def string_of_nas_bench_201(cell: Cell) -> str:
    """Return what NAS-Bench-201 compares: an expression of the output.

    Skip passes on what the source has, none is '#' and so is what follows from it, and
    the terms of a sum are sorted.
    """
    named, nodes = dict(zip(EDGES, cell.operations, strict=True)), ["0"]
    for target in (1, 2, 3):
        terms = []
        for source, held in enumerate(nodes):
            name = named[source, target]
            if name == "none" or held == "#":
                terms.append("#")
            else:
                terms.append(held if name == "skip_connect" else f"({held})@{name}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


@cache
def forms() -> dict[Cell, Hashable]:
    """Return the form of every cell."""
    return {cell: functional_form(cell) for cell in all_cells()}


@cache
def strings() -> dict[Cell, Hashable]:
    """Return the string of every cell."""
    return {cell: string_of_nas_bench_201(cell) for cell in all_cells()}


def shared(first: dict[Cell, Hashable], second: dict[Cell, Hashable]) -> int:
    """Return how many classes of the first description hold several of the second."""
    classes: dict[Hashable, set[Hashable]] = defaultdict(set)
    for cell in first:
        classes[first[cell]].add(second[cell])
    return sum(len(several) > 1 for several in classes.values())


def disconnected() -> int:
    """Return how many cells have no path from input to output."""
    return sum(form is None for form in forms().values())


def unpooled() -> int:
    """Return how many connected functions need no pooling."""
    plain = [c for c in forms() if "avg_pool_3x3" not in c.operations]
    return len({forms()[cell] for cell in plain} - {None})


def blind() -> int:
    """Return how many connected forms are left if common factors are not seen."""
    return len({scale_blind_form(cell) for cell in all_cells()} - {None})


@cache
def macs(name: str) -> int:
    """Return the multiply-adds of one image of a network."""
    if name == "nasnet":
        net, image = timm.create_model("nasnetalarge"), torch.zeros(1, 3, 331, 331)
    elif name == "darts":
        net, image = DartsNet(DARTS_V2), torch.zeros(1, 3, 32, 32)
    else:
        net = nas_bench_201_net(Cell((CONV,) * len(EDGES)))
        image = torch.zeros(1, 3, 32, 32)
    return count_macs(net.eval(), image).total


def strides() -> int:
    """Return how many operations of the published reduction cell read an input."""
    return sum(source < INPUTS for source, _ in DARTS_V2.reduce.graph())


SIZES = granularities(5, layers=18, blocks=3, edges=len(EDGES))
MNASNET = granularities(432, layers=15, blocks=5, edges=1)
NUMBERS: dict[str, Callable[[], Answer]] = {
    "per_layer": lambda: power(SIZES.per_layer),
    "per_block": lambda: digits(SIZES.per_block),
    "per_cell": lambda: digits(SIZES.per_cell),
    "nb201": lambda: digits(SPACE_SIZE),
    "nb201_strings": lambda: digits(len(set(strings().values()))),
    "nb201_forms": lambda: digits(len(set(forms().values()))),
    "nb201_functions": lambda: digits(len(set(forms().values()) - {None})),
    "nb201_disconnected": lambda: digits(disconnected()),
    "nb201_unpooled": lambda: digits(unpooled()),
    "nb201_blind": lambda: digits(blind()),
    "nb201_mixed_strings": lambda: digits(shared(strings(), forms())),
    "nb201_split_functions": lambda: digits(shared(forms(), strings())),
    "nb201_largest_params": lambda: digits(
        parameter_count(nas_bench_201_net(Cell((CONV,) * len(EDGES))))
    ),
    "nb201_largest_macs": lambda: million(macs("nb201"), 1),
    "darts_cell": lambda: digits(darts_cells()),
    "darts": lambda: power(darts_cells() ** 2),
    "darts_edges": lambda: digits(darts_edges()),
    "darts_alphas": lambda: digits(2 * darts_edges() * 8),
    "darts_all_7": lambda: power(7 ** (2 * darts_edges())),
    "darts_all_8": lambda: power(8 ** (2 * darts_edges())),
    "survey_power": lambda: power(2**99),
    "darts_neighbours": lambda: digits(
        sum(len(darts_neighbours(cell)) for cell in DARTS_V2)
    ),
    "darts_params": lambda: digits(parameter_count(DartsNet(DARTS_V2))),
    "darts_macs": lambda: million(macs("darts"), 0),
    "darts_small_params": lambda: digits(parameter_count(small_darts_net(DARTS_V2))),
    "darts_strides": lambda: digits(strides()),
    "darts_kept": lambda: digits(len(DARTS_V2.reduce.graph())),
    "darts_shared_edges": lambda: digits(
        len(set(DARTS_V2.normal.graph().items()) & set(DARTS_V2.reduce.graph().items()))
    ),
    "nasnet_cell": lambda: power(nasnet_cells()),
    "nasnet": lambda: power(nasnet_cells() ** 2),
    "nasnet_params": lambda: digits(parameter_count(timm.create_model("nasnetalarge"))),
    "nasnet_macs": lambda: (
        macs("nasnet"),
        f"{macs('nasnet') / 1e9:.2f} billion",
    ),
    "mnasnet_blocks": lambda: power(MNASNET.per_block),
    "mnasnet_layers": lambda: power(MNASNET.per_layer),
    "fbnet": lambda: power(independent_choices([9] * 22)),
    "ofa": lambda: power(elastic_networks()),
    "nats": lambda: digits(independent_choices([5] * 6) + independent_choices([8] * 5)),
}


def measure(key: str, seed: int) -> Case:  # noqa: ARG001  (every table has a seed)
    """Return one number and its text."""
    value, text = NUMBERS[key.removeprefix("space_")]()
    return {"value": value, "text": text}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    cases = [{"key": f"space_{name}", "seed": 0} for name in NUMBERS]
    fill_table(__file__, cases, measure)
