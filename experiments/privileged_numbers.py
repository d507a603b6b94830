"""The numbers that the pages print about privileged information and invented data.

Read from privileged_tasks.py, privileged_students.py and invented_data.py. A difference
is the mean of paired differences over seeds, with its 95 percent interval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from _numbers import Answer, fill_numbers
from _paired import paired
from _results import Row, read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.distill.munge import Floats

TASKS = "results/privileged_tasks.csv"
STUDENTS = "results/privileged_students.csv"
INVENTED = "results/invented_data.csv"
SOURCES = (TASKS, STUDENTS, INVENTED)
SHORT = {
    "clean labels": "labels",
    "clean inputs": "inputs",
    "relevant features": "relevant",
    "by set": "set",
    "by sample, as written": "written",
    "by sample": "sample",
}
CLICKS = {"few, short": "few", "few, long": "long", "many, short": "many"}


@cache
def table(name: str) -> list[Row]:
    """Return a table's rows."""
    return read_table(data_path(name))


def column(name: str, value: str, **wanted: object) -> Floats:
    """Return a column over the seeds, in their order."""
    found = {
        int(row["seed"]): float(row[value])
        for row in table(name)
        if all(row[key] == str(w) for key, w in wanted.items())
    }
    return np.array([found[seed] for seed in sorted(found)])


def percent(values: Floats) -> Answer:
    """Return a mean as the pages print it."""
    return float(values.mean()), f"{100 * values.mean():.1f} %"


def area(values: Floats) -> Answer:
    """Return a mean area as the pages print it."""
    return float(values.mean()), f"{values.mean():.3f}"


def apart(one: Floats, other: Floats, digits: int = 1) -> Answer:
    """Return a mean paired difference as the pages print it, in points."""
    return paired(one, other, digits)


def whole(number: int) -> Answer:
    """Return a count as the pages print it."""
    return number, f"{number:,}"


def task(who: str, name: str) -> Answer:
    """Return a mean accuracy on one of the tasks."""
    return percent(column(TASKS, who, task=name))


def task_gain(name: str) -> Answer:
    """Return what the teacher gained the student."""
    taught, plain = (column(TASKS, w, task=name) for w in ("distilled", "plain"))
    return apart(taught, plain)


def students(data: str, setting: str, method: str) -> Floats:
    """Return the scores of one method."""
    return column(STUDENTS, "score", data=data, setting=setting, method=method)


def clicks_area(who: str) -> Answer:
    """Return a mean area for few clicks and few passes."""
    return area(students("clicks", "few, short", who))


def frames_right(who: str) -> Answer:
    """Return a mean share of frames, learned from labels that are off."""
    return percent(students("frames", "off", who))


def share(value: str, kind: str, count: int) -> Answer:
    """Return a mean agreement or accuracy."""
    return percent(rows(value, kind, count))


def gain(data: str, setting: str, method: str, base: str = "plain") -> Answer:
    """Return by how much a student is better than another."""
    one, other = (students(data, setting, m) for m in (method, base))
    return apart(one, other, digits=2 if data == "frames" else 1)


def rows(value: str, kind: str, count: int) -> Floats:
    """Return a column of the invented data."""
    return column(INVENTED, value, rows=kind, count=count)


def distance(value: str, kind: str) -> Answer:
    """Return the mean energy distance of 1,000 rows."""
    count = 300 if kind == "data" else 10_000
    found = float(rows(value, kind, count).mean())
    return found, f"{found:.3f}"


def growth() -> Answer:
    """Return how much more often the student agrees with more rows of MUNGE."""
    more, fewer = (rows("agreement", "munge", n) for n in (10_000, 300))
    return apart(more, fewer)


def against(kind: str, value: str) -> Answer:
    """Return MUNGE with most rows against something else."""
    count = 300 if kind in ("labels", "data") else 10_000
    return apart(rows(value, "munge", 10_000), rows(value, kind, count))


def ps() -> Answer:
    """Return p and s of MUNGE."""
    (p,), (s,) = ({*rows(key, "munge", 300)} for key in ("p", "s"))
    return float(p), f"p = {p:g}, s = {s:g}"


NUMBERS: dict[str, Callable[[], Answer]] = {
    "privileged_planes": lambda: whole(
        len(column(TASKS, "plain", task="clean labels"))
    ),
    "privileged_seeds": lambda: whole(len(students("frames", "off", "plain"))),
    "privileged_invented_seeds": lambda: whole(len(rows("accuracy", "data", 300))),
    "privileged_munge_settings": ps,
    "privileged_munge_growth": growth,
    "privileged_ensemble": lambda: percent(rows("ensemble", "data", 300)),
}
for name, short in SHORT.items():
    shown = {"set": ("teacher", "plain", "distilled"), "written": ("teacher",)}
    for who in shown.get(short, ("teacher", "plain", "distilled")):
        NUMBERS[f"privileged_{short}_{who}"] = partial(task, who, name)
    if short not in shown:
        NUMBERS[f"privileged_{short}_gain"] = partial(task_gain, name)
for who in ("teacher", "plain", "distilled"):
    NUMBERS[f"privileged_clicks_few_{who}"] = partial(clicks_area, who)
for name, short in CLICKS.items():
    NUMBERS[f"privileged_clicks_{short}_gain"] = partial(
        gain, "clicks", name, "distilled"
    )
NUMBERS["privileged_clicks_few_steps"] = partial(
    gain, "clicks", "few, short", "distilled", "larger steps"
)
for who in ("teacher", "plain"):
    NUMBERS[f"privileged_frames_off_{who}"] = partial(frames_right, who)
for name in ("exact", "off"):
    NUMBERS[f"privileged_frames_{name}_one"] = partial(
        gain, "frames", name, "one teacher"
    )
    NUMBERS[f"privileged_frames_{name}_turn"] = partial(gain, "frames", name, "in turn")
NUMBERS["privileged_frames_off_turns"] = partial(
    gain, "frames", "off", "in turn", "one teacher"
)
for kind in ("munge", "independent", "uniform"):
    for count in (300, 10_000):
        key = f"privileged_{kind}_{count}_agreement"
        NUMBERS[key] = partial(share, "agreement", kind, count)
    key = f"privileged_{kind}_10000_accuracy"
    NUMBERS[key] = partial(share, "accuracy", kind, 10_000)
for kind in ("data", "munge", "independent", "uniform"):
    NUMBERS[f"privileged_{kind}_distance"] = partial(distance, "distance", kind)
    NUMBERS[f"privileged_{kind}_single"] = partial(distance, "single_distance", kind)
NUMBERS |= {
    "privileged_data_300_agreement": partial(share, "agreement", "data", 300),
    "privileged_data_300_accuracy": partial(share, "accuracy", "data", 300),
    "privileged_labels_300_accuracy": partial(share, "accuracy", "labels", 300),
    "privileged_munge_over_data": partial(against, "data", "agreement"),
    "privileged_munge_over_independent": partial(against, "independent", "agreement"),
    "privileged_munge_right_labels": partial(against, "labels", "accuracy"),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
