"""The numbers that the pages print about the capacity gap, assistants and pairs.

Accuracies are means over seeds on test images; whatever is chosen is chosen by the mean
validation accuracy. A difference comes with its 95 percent interval (t, over
paired seeds). capacity_gap.py and teacher_student_pairs.py run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from _numbers import Answer, fill_numbers
from _paired import paired, signed
from _results import Row, read_table, seeds_from_command_line
from capacity_gap import LARGE, METHODS, TEACHERS
from effdl.compress.pairs import (
    Agreement,
    best_teachers,
    interaction,
    own_against_one,
    pair_agreement,
)
from effdl.data.files import data_path
from teacher_student_pairs import NONE, STUDENTS
from teacher_student_pairs import TEACHERS as PAIR_TEACHERS

SOURCES = ("results/capacity_gap.csv", "results/teacher_student_pairs.csv")
Floats = NDArray[np.float64]
WIDEST = f"KD {LARGE}"


def column(rows: list[Row], name: str) -> Floats:
    """Return one column, in the order of the seeds."""
    ordered = sorted(rows, key=lambda row: int(row["seed"]))
    return np.array([float(row[name]) for row in ordered])


@cache
def gap(student: int, method: str, name: str = "test") -> Floats:
    """Return a column of the capacity gap's table, (seeds,)."""
    rows = read_table(data_path(SOURCES[0]))
    return column(
        [r for r in rows if (r["student"], r["method"]) == (str(student), method)], name
    )


@cache
def pairs(name: str, *, alone: bool = False) -> Floats:
    """Return a column of the table of pairs, (teachers, students, seeds)."""
    rows = read_table(data_path(SOURCES[1]))
    return np.array([
        [
            column([r for r in rows if (r["teacher"], r["student"]) == (t, s)], name)
            for s in STUDENTS
        ]
        for t in ([NONE] if alone else PAIR_TEACHERS)
    ])


def best_width(student: int) -> int:
    """Return the width of the teacher whose students validate best."""
    return max(TEACHERS, key=lambda w: gap(student, f"KD {w}", "validation").mean())


def percent(values: Floats) -> Answer:
    """Return a mean accuracy as the pages print it."""
    mean = float(values.mean())
    return mean, f"{100 * mean:.1f} %"


def difference(one: Floats, other: Floats) -> Answer:
    """Return a mean paired difference as the pages print it, in points."""
    return paired(one, other)


def slope(student: int) -> Answer:
    """Return the points of the student for a point of its teacher, over the widths."""
    x, y = (
        np.array([gap(student, f"KD {width}", name) for width in TEACHERS])
        for name in ("teacher_test", "test")
    )
    found = np.array([np.polyfit(*seed, 1)[0] for seed in zip(x.T, y.T, strict=True)])
    half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
    mean = float(found.mean())
    return mean, f"{mean:+.2f} ± {half:.2f}".replace("-", "\N{MINUS SIGN}")


def against(student: int, method: str, base: str) -> Answer:
    """Return by how much a method is better than another."""
    return difference(gap(student, method), gap(student, base))


def whole(number: int) -> Answer:
    """Return a count as the pages print it."""
    return number, f"{number:,}"


def price(method: str) -> Answer:
    """Return the multiply-adds of all trainings, in units of the student alone."""
    factor = float(gap(2, method, "macs")[0] / gap(2, "alone", "macs")[0])
    return factor, f"{factor:.0f}"


def apart() -> Answer:
    """Return how far students differ in the order of teachers, in points."""
    found = interaction(pairs("test")).points
    return found, f"{100 * found:.1f} points"


def chance() -> Answer:
    """Return the p value of the interaction."""
    found = interaction(pairs("test")).p
    return found, "below 0.001" if found < 0.001 else f"{found:.3f}"


def own_gain() -> Answer:
    """Return what an own teacher gains over one for all."""
    found = own_against_one(pairs("validation").mean(2), pairs("test").mean(2))
    return found, f"{signed(100 * found)} points"


def favourite(student: int) -> Answer:
    """Return the teacher of a student that validates best."""
    which = int(best_teachers(pairs("validation").mean(2))[student])
    return which, [*PAIR_TEACHERS][which]


def gain(student: int) -> Answer:
    """Return what the best teacher of a student, by validation, gains over none."""
    best = int(favourite(student)[0])
    return difference(
        pairs("test")[best, student], pairs("test", alone=True)[0, student]
    )


def weakest(student: int) -> Answer:
    """Return what the weakest teacher gains over none."""
    worst = int(pairs("teacher_test")[:, 0].mean(axis=1).argmin())
    alone = pairs("test", alone=True)[0, student]
    return difference(pairs("test")[worst, student], alone)


def different() -> Answer:
    """Return how many different teachers are somebody's best."""
    return whole(len(set(best_teachers(pairs("validation").mean(2)).tolist())))


def tau(name: str, part: str) -> Answer:
    """Return the agreement of a proxy with the measured accuracies."""
    truth, scores = pairs("test").mean(2), pairs(name).mean(2)
    found: Agreement = pair_agreement(scores, truth)
    value = float(getattr(found, part))
    text = "none" if np.isnan(value) else f"{value:+.2f}"
    return (0.0 if np.isnan(value) else value), text.replace("-", "\N{MINUS SIGN}")


def redrawn() -> Answer:
    """Return the mean tau of DisWOT's scores between two draws of the weights."""
    scores = pairs("diswot")
    seeds = range(scores.shape[2])
    found = float(
        np.mean([
            pair_agreement(scores[..., i], scores[..., j]).teachers
            for i in seeds
            for j in seeds
            if i < j
        ])
    )
    return found, f"{found:+.2f}".replace("-", "\N{MINUS SIGN}")


def slug(name: str) -> str:
    """Return a name as a part of a key."""
    return "".join(c if c.isalnum() else "_" for c in name.lower().replace(" > ", "_"))


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers: dict[str, Callable[[], Answer]] = {}
    for student, methods in METHODS.items():
        for method in methods:
            key = f"gap_{slug(method)}_s{student}"
            numbers[key] = lambda s=student, m=method: percent(gap(s, m))
            numbers[f"{key}_gain"] = partial(against, student, method, "alone")
            numbers[f"{key}_widest"] = partial(against, student, method, WIDEST)
        numbers[f"gap_slope_s{student}"] = partial(slope, student)
        numbers[f"gap_best_width_s{student}"] = lambda s=student: whole(best_width(s))
        numbers[f"gap_widest_best_s{student}"] = lambda s=student: against(
            s, WIDEST, f"KD {best_width(s)}"
        )
    for method in METHODS[2][1:]:
        key = f"gap_{slug(method)}"
        numbers[f"{key}_teacher"] = lambda m=method: percent(gap(2, m, "teacher_test"))
        numbers[f"{key}_price"] = partial(price, method)
    return numbers | pair_numbers()


def pair_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute the numbers about pairs."""
    numbers: dict[str, Callable[[], Answer]] = {
        "gap_pairs_apart": apart,
        "gap_pairs_p": chance,
        "gap_pairs_own": own_gain,
        "gap_pairs_different": different,
        "gap_diswot_redrawn": redrawn,
    }
    for j, student in enumerate(STUDENTS):
        end = slug(student)
        numbers[f"gap_pair_none_{end}"] = lambda j=j: percent(
            pairs("test", alone=True)[0, j]
        )
        numbers[f"gap_pair_best_{end}"] = partial(favourite, j)
        numbers[f"gap_pair_gain_{end}"] = partial(gain, j)
        numbers[f"gap_pair_weakest_{end}"] = partial(weakest, j)
        for i, teacher in enumerate(PAIR_TEACHERS):
            numbers[f"gap_pair_{slug(teacher)}_{end}"] = lambda i=i, j=j: percent(
                pairs("test")[i, j]
            )
    for i, teacher in enumerate(PAIR_TEACHERS):
        numbers[f"gap_pair_{slug(teacher)}"] = lambda i=i: percent(
            pairs("teacher_test")[i, 0]
        )
    for name in ("diswot", "samples", "classes", "teacher_test", "parameters"):
        for part in Agreement._fields:
            numbers[f"gap_tau_{name}_{part}"] = partial(tau, name, part)
    return numbers


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, all_numbers(), SOURCES)
