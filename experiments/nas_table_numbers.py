"""The numbers of the page on benchmarks: closed forms, Tables 1 and 2, public tables.

A page prints {{ key }}. What was read off published files and off surrogates comes from
nas_table_counts.py and surrogate_error.py, which have to run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import comb, prod
from statistics import mean, median

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.cell_classes import representatives
from effdl.nas.cell_space import Cell
from effdl.nas.fbnet_table import LAYERS, OPERATIONS
from effdl.nas.graph_count import count_cells
from effdl.nas.graph_space import OPERATIONS as GRAPH_OPERATIONS
from effdl.nas.graph_space import SHAPES
from effdl.nas.public_files import CELL_LATENCIES, FBNET_LATENCIES
from effdl.nas.public_tables import DATASETS, network_counts
from effdl.tables import Benchmark, load_benchmarks, load_search_methods

COUNTS, SURROGATES = "results/nas_table_counts.csv", "results/surrogate_error.csv"
SOURCES = (COUNTS, SURROGATES, "survey/table1.csv", "survey/table2.csv")

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
LAPTOP_BYTES, NUMBER_BYTES = 8e9, 4  # memory, and of one result for each architecture

# From the papers: architectures, and how many of them were trained.
TRAINED_NLP, SPACE_NLP = 14_322, 1e53
TOPOLOGIES_PUBLISHED = 6_466  # unique in NAS-Bench-201, by its own rule
WIDTH_CHOICES, WIDTH_PLACES = 8, 5  # NATS-Bench, size space
PROTEINS = 2_021  # architectures in the table of NAS-Bench-Graph for the proteins
ONE_SHOT = (6_240, 29_160, 363_648)  # as published
PARENTS = ((1, 2, 2, 2, 2), (1, 1, 2, 2, 3), (1, 1, 1, 2, 2, 2))  # of node 1, 2, ...


def digits(value: float) -> Answer:
    """Return 48393 as 48,393."""
    return value, f"{value:,.0f}"


def decimal(value: float, places: int = 2) -> Answer:
    """Return 0.7324 as 0.73."""
    return value, f"{value:,.{places}f}"


def share(value: float, places: int = 1) -> Answer:
    """Return 0.7326 as 73.3 %."""
    return value, f"{100 * value:.{places}f} %"


def points(value: float) -> Answer:
    """Return a difference of accuracies, 0.005, as 0.5."""
    return 100 * value, f"{100 * value:.1f}"


def milliseconds(value: float) -> Answer:
    """Return 0.0591 seconds as 59.1 ms."""
    return value, f"{1000 * value:.1f} ms".replace("-0.0", "0.0")


def power(value: float, places: int = 2) -> Answer:
    """Return 9.85e20 as 9.85 x 10²⁰."""
    mantissa, exponent = f"{value:.{places}e}".split("e")
    return value, f"{mantissa} x 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


# Closed forms.


def one_shot(space: int) -> int:
    """Return the choices of NAS-Bench-1Shot1: parents of each node, operations."""
    parents = PARENTS[space]
    wired = prod(comb(node, count) for node, count in enumerate(parents, start=1))
    return wired * 3 ** (len(parents) - 1)


def darts_space() -> int:
    """Return the size of the DARTS space: two cells of four nodes with two inputs."""
    wired = prod(comb(node, 2) for node in range(2, 6))
    return (wired * 7 ** (4 * 2)) ** 2


def nats(topologies: int) -> int:
    """Return the topologies of NATS-Bench and its choices of widths together."""
    return topologies + WIDTH_CHOICES**WIDTH_PLACES


def head(dataset: str) -> int:
    """Return the parameters of a network whose cell has none."""
    return network_counts(Cell(("none",) * 6), classes=DATASETS[dataset][0])[0]


CLOSED: dict[str, Callable[[], Answer]] = {
    "bench_cells": lambda: digits(5**6),
    "bench_classes": lambda: digits(len(representatives()) - 1),
    "bench_unique_published": lambda: digits(TOPOLOGIES_PUBLISHED),
    "bench_nats_widths": lambda: digits(WIDTH_CHOICES**WIDTH_PLACES),
    "bench_nats": lambda: digits(nats(5**6)),
    "bench_nats_unique": lambda: digits(nats(TOPOLOGIES_PUBLISHED)),
    "bench_nats_off": lambda: share(1 - 39_300 / nats(5**6), 0),
    "bench_darts": lambda: power(darts_space()),
    "bench_fbnet": lambda: power(float(len(OPERATIONS) ** LAYERS)),
    "bench_fbnet_unknowns": lambda: digits(1 + LAYERS * (len(OPERATIONS) - 1)),
    "bench_nlp_trained": lambda: digits(TRAINED_NLP),
    "bench_nlp": lambda: power(SPACE_NLP, 0),
    "bench_nlp_share": lambda: power(TRAINED_NLP / SPACE_NLP, 1),
    "bench_101": lambda: digits(sum(count_cells(v) for v in range(2, 8))),
    "bench_101_small": lambda: digits(sum(count_cells(v) for v in range(2, 6))),
    "bench_101_seven": lambda: share(
        count_cells(7) / sum(count_cells(v) for v in range(2, 8)), 0
    ),
    "bench_one_shot": lambda: digits(sum(ONE_SHOT)),
    "bench_graph_written": lambda: digits(len(SHAPES) * len(GRAPH_OPERATIONS) ** 4),
    "bench_proteins": lambda: digits(PROTEINS),
    "bench_head_cifar10": lambda: digits(head("cifar10")),
    "bench_head_imagenet": lambda: digits(head("ImageNet16-120")),
    "bench_head_more": lambda: digits(head("ImageNet16-120") - head("cifar10")),
}
for place, published in enumerate(ONE_SHOT):
    CLOSED[f"bench_one_shot_{place + 1}"] = partial(digits, published)
    CLOSED[f"bench_one_shot_choices_{place + 1}"] = lambda place=place: digits(
        one_shot(place)
    )
for vertices in range(2, 8):
    CLOSED[f"bench_101_{vertices}"] = lambda v=vertices: digits(count_cells(v))

# The survey's Tables 1 and 2.


def fits(row: Benchmark) -> bool:
    """Return whether a laptop holds one result for each architecture."""
    return (row.exact_size or float("inf")) * NUMBER_BYTES <= LAPTOP_BYTES


def fitting() -> list[Benchmark]:
    """Return the benchmarks whose space fits a laptop."""
    return [row for row in load_benchmarks() if fits(row)]


def hours(strategy: str) -> list[float]:
    """Return the search costs in Table 1 that are given for a strategy."""
    methods = load_search_methods()
    return [m.hours for m in methods if m.strategy == strategy and m.hours]


def marked(notes: list[str]) -> int:
    """Return how many rows have a note that names an erratum."""
    return sum("erratum" in note for note in notes)


TABLES: dict[str, Callable[[], Answer]] = {
    "bench_rows": lambda: digits(len(load_benchmarks())),
    "bench_marked": lambda: digits(marked([row.note for row in load_benchmarks()])),
    "bench_fitting": lambda: digits(len(fitting())),
    "bench_fitting_largest": lambda: digits(
        max(row.exact_size or 0 for row in fitting())
    ),
    "bench_fitting_megabytes": lambda: decimal(
        max(row.exact_size or 0 for row in fitting()) * NUMBER_BYTES / 1e6, 1
    ),
    "bench_too_large": lambda: digits(
        sum(row.exact_size is not None and not fits(row) for row in load_benchmarks())
    ),
    "bench_unsized": lambda: digits(
        sum(row.exact_size is None for row in load_benchmarks())
    ),
    "bench_image": lambda: digits(
        sum("Image Classification" in row.tasks for row in load_benchmarks())
    ),
    "search_rows": lambda: digits(len(load_search_methods())),
    "search_marked": lambda: digits(marked([m.note for m in load_search_methods()])),
    "search_hours": lambda: digits(
        sum(m.hours is not None for m in load_search_methods())
    ),
    "search_gradient": lambda: digits(median(hours("Gradient"))),
    "search_gradient_rows": lambda: digits(len(hours("Gradient"))),
    "search_evolution_rows": lambda: digits(len(hours("Evolution"))),
    "search_devices": lambda: digits(
        len({m.device for m in load_search_methods() if m.hours and m.device})
    ),
    "search_no_device": lambda: digits(
        sum(bool(m.hours) and not m.device for m in load_search_methods())
    ),
}

# What was read off the public tables.


@cache
def counts() -> dict[str, float]:
    """Return the numbers of nas_table_counts.py."""
    rows = read_table(data_path("results/nas_table_counts.csv"))
    return {row["key"]: float(row["value"]) for row in rows}


FORMS: dict[str, Callable[[float], Answer]] = {
    **dict.fromkeys(("cells", "cells_guess", "cells_both_fronts"), digits),
    **{f"cells_best_{n.split('-')[0].lower()}": share for n in DATASETS},
    **dict.fromkeys(("cells_two_sets", "cells_parameters"), decimal),
    "cells_two_devices": decimal,
    **dict.fromkeys(("fbnet_architectures", "graphs", "graphs_front"), digits),
    **dict.fromkeys(("graphs_linear", "graphs_rank", "graphs_parameters"), decimal),
    "graphs_rank_half": decimal,
    "graphs_failing": partial(share, places=0),
    "graphs_best": share,
    "graphs_regret": points,
}
for device in CELL_LATENCIES:
    FORMS[f"cells_macs_{device}"] = decimal
    FORMS[f"cells_front_{device}"] = digits
    FORMS[f"cells_best_{device}"] = milliseconds
    FORMS[f"cells_cheaper_{device}"] = partial(share, places=0)
for device in FBNET_LATENCIES:
    FORMS[f"fbnet_base_{device}"] = milliseconds
    FORMS[f"fbnet_slowest_{device}"] = milliseconds
    FORMS[f"fbnet_rows_{device}"] = digits
PUBLIC: dict[str, Callable[[], Answer]] = {
    key: lambda key=key, form=form: form(counts()[key]) for key, form in FORMS.items()
}
PUBLIC["fbnet_error"] = lambda: power(
    max(counts()[f"fbnet_error_{device}"] for device in FBNET_LATENCIES), 0
)

# What surrogates do.


def surrogates(table: str, seen: str) -> list[Row]:
    """Return the rows of one table and number of seen cells, a seed each."""
    rows = read_table(data_path("results/surrogate_error.csv"))
    return [row for row in rows if (row["table"], row["seen"]) == (table, seen)]


def of(table: str, seen: str, column: str) -> float:
    """Return the mean of a column over the seeds."""
    return mean(float(row[column]) for row in surrogates(table, seen))


def lost(table: str, seen: str) -> float:
    """Return by how much a climb on the surrogate ends below one on the table."""
    return of(table, seen, "climb_table") - of(table, seen, "climb_surrogate")


MODELS: dict[str, Callable[[], Answer]] = {
    "surrogate_seeds": lambda: digits(len(surrogates("own", "500"))),
    "surrogate_all": lambda: power(of("own", "all", "largest"), 0),
}
for name, short in (("own", "own"), ("NAS-Bench-201", "public")):
    for seen in ("100", "500", "2500"):
        case = f"surrogate_{short}_{seen}"
        ask = partial(of, name, seen)
        MODELS[f"{case}_off"] = lambda ask=ask: points(ask("mean_absolute"))
        MODELS[f"{case}_rank"] = lambda ask=ask: decimal(ask("rank_correlation"))
        MODELS[f"{case}_regret"] = lambda ask=ask: points(ask("regret"))
        MODELS[f"{case}_lost"] = lambda n=name, s=seen: points(lost(n, s))

NUMBERS = CLOSED | TABLES | PUBLIC | MODELS


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
