"""The numbers that the pages print about compressions combined, and joint search.

A page prints {{ key }}. They come from compression_orders.py, compression_latency.py
and joint_space.py. Accuracies are means over seeds on test images; a search in the
joint space chooses by the mean validation accuracy.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import permutations

import numpy as np
import pandas as pd

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import DATA, seeds_from_command_line
from effdl.compress.joint_space import JointTable
from effdl.compress.sequential import best_plan, drawn, evolved, sequential

SOURCES = (
    "results/compression_orders.csv",
    "results/compression_latency.csv",
    "results/joint_space.csv",
)
ORDERS = ["".join(order) for order in permutations("PDQ")]
BUDGETS = (300, 450, 600, 900, 1200, 1800, 2400, 3600, 4800, 7200)  # bytes
RUNS = 100


@cache
def table(name: str) -> pd.DataFrame:
    """Return a table of results."""
    return pd.read_csv(DATA / "results" / f"{name}.csv")


def percent(value: float) -> Answer:
    """Return a share as the pages print it."""
    return value, f"{100 * value:.1f} %"


def points(value: float) -> Answer:
    """Return a difference of shares as the pages print it."""
    return value, f"{100 * value:.1f} points"


def whole(value: float) -> Answer:
    """Return a count as the pages print it."""
    return value, f"{value:,.0f}"


def column(steps: str, bits: int, name: str = "test") -> pd.Series[float]:
    """Return a column of one state of the network, by seed."""
    rows = table("compression_orders")
    rounds = bits if {"Q", "A"} & {*steps} else 32
    found = rows[(rows["steps"] == (steps or "-")) & (rows["bits"] == rounds)]
    return found.set_index("seed")[name]


def test_of(steps: str, bits: int = 32) -> Answer:
    """Return the mean test accuracy after some steps."""
    return percent(float(column(steps, bits).mean()))


def cost_of(steps: str, bits: int, name: str) -> Answer:
    """Return multiply-adds or bytes after some steps."""
    return whole(float(column(steps, bits, name).iloc[0]))


def ranked(bits: int, name: str = "validation") -> list[str]:
    """Return the orders from the best to the worst, by their mean."""
    return sorted(ORDERS, key=lambda order: -column(order, bits, name).mean())


def order_at(bits: int, place: int) -> Answer:
    """Return an order by its place on validation, as words."""
    words = {"P": "prune", "D": "distil", "Q": "quantize"}
    order = ranked(bits)[place]
    return ORDERS.index(order), ", ".join(words[step] for step in order)


def difference(first: str, second: str, bits: int) -> Answer:
    """Return the mean paired difference on test in points, with its 95 % interval."""
    return paired(column(first, bits), column(second, bits))


def best_against_worst(bits: int) -> Answer:
    """Return how far apart the best and the worst order are, chosen on validation."""
    found = ranked(bits)
    return difference(found[0], found[-1], bits)


def prune_last(bits: int) -> Answer:
    """Return for how many seeds the two orders that prune last are the two worst."""
    tests = {order: column(order, bits) for order in ORDERS}
    seeds = [*tests[ORDERS[0]].index]
    last = [tests[order] for order in ORDERS if order.endswith("P")]
    rest = [tests[order] for order in ORDERS if not order.endswith("P")]
    worst = [max(t[s] for t in last) < min(t[s] for t in rest) for s in seeds]
    return sum(worst), f"{sum(worst)} of {len(seeds)}"


def seed_spread(bits: int) -> Answer:
    """Return the standard deviation over seeds, its mean over orders, in points."""
    return points(float(np.mean([column(o, bits).std() for o in ORDERS])))


def time_of(name: str, width: int, batch: int) -> Answer:
    """Return the median time in microseconds, over all seeds."""
    rows = table("compression_latency")
    rows = rows[(rows["width"] == width) & (rows["batch"] == batch)]
    value = 1000 * float(rows[f"{name}_median_ms"].median())
    return value, f"{value:,.0f}"


@cache
def joint() -> JointTable:
    """Return the joint space with mean accuracies over the seeds."""
    rows = table("joint_space")
    axes = {name: sorted(rows[name].unique()) for name in ("width", "keep", "bits")}
    keys = list(axes)
    means = rows.groupby(keys)[["validation", "test"]].mean()
    shape = [len(values) for values in axes.values()]
    validation, test = (means[n].to_numpy().reshape(shape) for n in means)
    names = [tuple(values.tolist()) for values in map(np.array, axes.values())]
    return JointTable(*names, validation, test)


def fresh() -> JointTable:
    """Return the same space, of which nothing was asked yet."""
    old = joint()
    return JointTable(old.widths, old.keeps, old.bits, old.validation, old.test)


def sequence(budget: float, *, planned: bool) -> tuple[int, int, int]:
    """Return what the pipeline comes to, greedily or with the best plan."""
    if planned:
        width, keep, bits = best_plan(fresh(), budget)[0]
    else:
        width, keep, bits = sequential(fresh(), budget)
    return width, keep, bits


def validation_gap(budget: int) -> Answer:
    """Return what the greedy sequence loses on validation to the joint optimum."""
    scores, found = joint().validation, sequence(budget, planned=False)
    return points(float(scores[joint().best(budget)] - scores[found]))


@cache
def all_gaps(*, planned: bool) -> list[float]:
    """Return what the sequence loses on validation at the cost of every member."""
    truth = joint()
    costs = sorted({truth.cost(member) for member in truth.members})
    found = [(sequence(cost, planned=planned), truth.best(cost)) for cost in costs]
    scores = truth.validation
    return [float(scores[best] - scores[each]) for each, best in found]


def optimal(*, planned: bool) -> Answer:
    """Return at how many of these budgets the sequence finds the joint optimum."""
    gaps = all_gaps(planned=planned)
    right = sum(gap == 0 for gap in gaps)
    return right, f"{right} of {len(gaps)}"


def test_gap(budget: int) -> Answer:
    """Return what the greedy sequence loses on test; below 0 it is better there."""
    scores, found = joint().test, sequence(budget, planned=False)
    return points(float(scores[joint().best(budget)] - scores[found]))


def member(choices: tuple[int, ...], budget: int) -> Answer:
    """Return a member as the pages print it."""
    width, keep, bits = choices
    found = joint()
    text = (
        f"width {found.widths[width]}, {100 * found.keeps[keep]:.0f} % of the channels"
    )
    return budget, f"{text}, {found.bits[bits]} bits"


def searched(budget: int, *, evolution: bool) -> Answer:
    """Return the mean validation points that a joint search misses.

    It may ask for as many members as the greedy pipeline does.
    """
    search, best = evolved if evolution else drawn, joint().best(budget)
    queries = int(asked(budget)[0])
    found = [
        search(fresh(), budget, queries, np.random.default_rng(run))
        for run in range(RUNS)
    ]
    scores = joint().validation
    return points(float(np.mean([scores[best] - scores[each] for each in found])))


def asked(budget: int) -> Answer:
    """Return how many members the greedy pipeline asks for."""
    used = fresh()
    sequential(used, budget)
    return whole(len(used.asked))


NUMBERS = {
    "together_before": partial(test_of, ""),
    "together_longer": partial(test_of, "TTT"),
    "together_macs_before": partial(cost_of, "", 32, "macs"),
    "together_macs_after": partial(cost_of, "PDQ", 4, "macs"),
    "together_bytes_before": partial(cost_of, "", 32, "bytes"),
    "together_members": lambda: whole(joint().space.size),
    "together_greedy_worst": lambda: points(max(all_gaps(planned=False))),
    "together_greedy_right": partial(optimal, planned=False),
    "together_planned_right": partial(optimal, planned=True),
}
for bits in (4, 2):
    NUMBERS |= {
        f"together_bytes_{bits}": partial(cost_of, "PDQ", bits, "bytes"),
        f"together_best_{bits}": partial(order_at, bits, 0),
        f"together_worst_{bits}": partial(order_at, bits, -1),
        f"together_spread_{bits}": partial(best_against_worst, bits),
        f"together_once_{bits}": partial(test_of, "A", bits),
        f"together_prune_last_{bits}": partial(prune_last, bits),
        f"together_seed_spread_{bits}": partial(seed_spread, bits),
    }
    for order in ORDERS:
        NUMBERS |= {
            f"together_{order[:n].lower()}_{bits}": partial(test_of, order[:n], bits)
            for n in (1, 2, 3)
        }
for name in ("float", "pruned", "quantized", "both"):
    for width, batch in ((8, 1), (32, 64)):
        key = f"together_us_{name}_{width}_{batch}"
        NUMBERS[key] = partial(time_of, name, width, batch)
for budget in BUDGETS:
    NUMBERS |= {
        f"together_best_{budget}_bytes": lambda b=budget: member(joint().best(b), b),
        f"together_sequence_{budget}_bytes": lambda b=budget: member(
            sequence(b, planned=False), b
        ),
        f"together_gap_{budget}": partial(validation_gap, budget),
        f"together_test_gap_{budget}": partial(test_gap, budget),
        f"together_drawn_{budget}": partial(searched, budget, evolution=False),
        f"together_evolved_{budget}": partial(searched, budget, evolution=True),
        f"together_asked_{budget}": partial(asked, budget),
    }


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
