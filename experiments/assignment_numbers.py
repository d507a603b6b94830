"""The numbers that the pages print about the assignments.

A page prints {{ key }}. `tools/try_assignment.py all --store` and
assignment_class.py run before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.data.files import data_path

SOURCES = ("results/assignment_verdicts.csv", "results/assignment_class.csv")
NAMES = {
    "count-and-build": "count",
    "zero-cost-proxies": "proxies",
    "darts": "darts",
    "pruning": "pruning",
    "quantization": "quantization",
    "distillation": "distillation",
    "capstone": "capstone",
}


def table() -> pd.DataFrame:
    """Return what every notebook got for every task."""
    return pd.read_csv(data_path("results/assignment_verdicts.csv"))


def seconds(name: str) -> Answer:
    """Return how long grading one good submission takes, start included."""
    rows = table()
    mine = rows[(rows.assignment == name) & (rows.notebook == "reference")]
    value = float(mine.seconds.iloc[0])
    return value, f"{value:.0f} s"


def known_mistakes() -> Answer:
    """Return how many wrong answers are kept, each named by its check."""
    rows = table()
    many = int(rows.notebook.str.startswith("wrong").sum())
    return many, f"{many}"


def whole_class(column: str, form: str) -> Answer:
    """Return what grading a class took, per submission or in all, over assignments."""
    rows = pd.read_csv(data_path("results/assignment_class.csv"))
    value = float(rows[column].mean())
    return value, form.format(value)


NUMBERS: dict[str, Callable[[], Answer]] = {
    **{f"assignment_{key}_seconds": partial(seconds, n) for n, key in NAMES.items()},
    "assignment_known_mistakes": known_mistakes,
    "assignment_class_size": partial(whole_class, "students", "{:.0f}"),
    "assignment_class_minutes": partial(whole_class, "minutes", "{:.0f} minutes"),
    "assignment_class_each": partial(whole_class, "seconds_each", "{:.0f} s"),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
