"""The numbers that the pages print about bits for every layer.

A page prints {{ key }}. bit_table.py and bit_search.py run before. Accuracies and
regrets are means over the networks of all seeds, unless the key says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from statistics import mean

import numpy as np

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.ranking import spearman
from effdl.quant.bit_choices import CANDIDATES
from effdl.quant.bit_table import BitTable, bit_tables

SOURCES = ("results/bit_table.csv", "results/bit_search.csv")
POINTS_LOST = 0.05  # at most so much below 4 bits everywhere
TIGHT, FOURS, AMPLE = 27_000, 36_128, 54_000  # the budgets of bit_search.py
DIFFERENTIABLE = ("edmips", "dnas")


@cache
def rows() -> list[Row]:
    """Return what the searches found."""
    return read_table(data_path("results/bit_search.csv"))


@cache
def tables() -> list[BitTable]:
    """Return the truth about every network."""
    return list(bit_tables(read_table(data_path("results/bit_table.csv"))).values())


def percent(value: float) -> Answer:
    """Return a share as the pages print it."""
    return value, f"{100 * value:.1f} %"


def points(value: float) -> Answer:
    """Return a difference of shares as the pages print it."""
    return value, f"{100 * value:.1f} points"


def span(values: list[float], form: str) -> Answer:
    """Return the mean, and how the pages print the least and the largest."""
    low, high = (form.format(v) for v in (min(values), max(values)))
    return mean(values), low if low == high else f"{low} to {high}"


def uniform(bits: int) -> Answer:
    """Return the test accuracy with the same bits everywhere."""
    place = CANDIDATES.index(bits)
    return percent(mean(float(t.test[t.uniform()[place]]) for t in tables()))


def gain(bits: int) -> Answer:
    """Return the validation points of the best member at the cost of a uniform one."""
    rows = ((t, t.uniform()[CANDIDATES.index(bits)]) for t in tables())
    regrets = [100 * t.regret(t.members[row]) for t, row in rows]
    return span(regrets, "{:.1f}")


def test_gain(bits: int) -> Answer:
    """Return the same of that member's test accuracy, which chose nothing."""
    place, gains = CANDIDATES.index(bits), []
    for t in tables():
        row = t.uniform()[place]
        best = t.best(float(t.costs[row]))
        gains.append(100 * float(t.test[best] - t.test[row]))
    return span(gains, "{:.1f}")


def cheapest_share() -> Answer:
    """Return the share of the bits of 4 everywhere that lose at most POINTS_LOST."""
    shares = []
    for t in tables():
        fours = t.uniform()[1]
        enough = t.validation >= t.validation[fours] - POINTS_LOST
        shares.append(100 * float(t.costs[enough].min() / t.costs[fours]))
    return span(shares, "{:.0f}")


def share_above_eight() -> Answer:
    """Return the share of the bits of 8 everywhere that are at least as good."""
    shares = []
    for t in tables():
        eights = t.uniform()[2]
        enough = t.validation >= t.validation[eights]
        shares.append(100 * float(t.costs[enough].min() / t.costs[eights]))
    return span(shares, "{:.0f}")


def useless() -> Answer:
    """Return the share of members that a cheaper or equally dear one beats."""
    beaten = [float(np.mean([t.regret(m) > 0 for m in t.members])) for t in tables()]
    return percent(mean(beaten))


def of(method: str, budget: float | None = None) -> list[Row]:
    """Return the rows of a method, at one budget or at all."""
    return [
        row
        for row in rows()
        if row["method"] == method
        and (budget is None or float(row["budget"]) == budget)
    ]


def regret(method: str, budget: float | None = None) -> Answer:
    """Return the mean regret of a method in points."""
    value = mean(float(row["regret"]) for row in of(method, budget))
    return value, f"{value:.1f}"


def column(name: str, method: str, budget: float | None = None) -> Answer:
    """Return the mean of a share over the rows of a method."""
    return percent(mean(float(row[name]) for row in of(method, budget)))


def trained_gap(method: str) -> Answer:
    """Return by how many test points training again helps the answers of a method."""
    gains = [float(r["trained"]) - float(r["test"]) for r in of(method)]
    return points(mean(gains))


def seeds_agree() -> Answer:
    """Return the least correlation of the validation accuracies of two networks."""
    found = [
        spearman(a.validation, b.validation)
        for i, a in enumerate(tables())
        for b in tables()[:i]
    ]
    return min(found), f"{min(found):.2f}"


def same_as_error() -> Answer:
    """Return at how many budgets of all the Hessian changes what is chosen."""
    pairs = list(zip(of("hawq"), of("error"), strict=True))
    differ = sum(a["bits"] != b["bits"] for a, b in pairs)
    return differ, f"{differ} of {len(pairs)}"


NUMBERS: dict[str, Callable[[], Answer]] = {
    **{f"mixed_uniform_{b}": partial(uniform, b) for b in CANDIDATES},
    **{f"mixed_gain_{b}": partial(gain, b) for b in CANDIDATES},
    **{f"mixed_test_gain_{b}": partial(test_gain, b) for b in CANDIDATES},
    "mixed_cheapest_share": cheapest_share,
    "mixed_share_of_eight": share_above_eight,
    "mixed_useless": useless,
    "mixed_seeds_agree": seeds_agree,
    "mixed_hessian_differs": same_as_error,
    **{
        f"mixed_{method}_{name}": partial(regret, method, budget)
        for method in ("random", "evolution", "haq", "wall", "hawq", "error")
        for name, budget in (("tight", TIGHT), ("fours", FOURS), ("ample", AMPLE))
    },
    **{f"mixed_{m}_regret": partial(regret, m) for m in DIFFERENTIABLE},
    **{f"mixed_{m}_test": partial(column, "test", m) for m in DIFFERENTIABLE},
    **{f"mixed_{m}_trained": partial(column, "trained", m) for m in DIFFERENTIABLE},
    **{f"mixed_{m}_helps": partial(trained_gap, m) for m in (*DIFFERENTIABLE, "hawq")},
    "mixed_best_tight_trained": partial(column, "trained", "best", TIGHT),
    "mixed_hawq_tight_trained": partial(column, "trained", "hawq", TIGHT),
    "mixed_best_tight_test": partial(column, "test", "best", TIGHT),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
