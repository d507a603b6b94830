"""Tables of numbers for the pages, each with the text that {{ key }} prints.

A number that was read from another table is made again when that table changes: the
column "data" holds the sums of the files it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from _results import DATA, Case, fill_table, read_table, write_table
from effdl.data.files import read_sums

Answer = tuple[int | float, str]  # a number, and how the pages print it


def fill_numbers(
    script: str,
    numbers: Mapping[str, Callable[[], Answer]],
    sources: Sequence[str],
    *,
    data: Path = DATA,
) -> Path:
    """Compute the numbers that are missing or outdated; return the table's path.

    Args:
        script: The script's ``__file__``; its name is the table's.
        numbers: How to compute each number, by its key.
        sources: The files that they are read from, by their names below ``data``.
        data: The folder to write below.
    """
    sums = read_sums(data)
    used = "+".join(sums[name][:8] for name in sources)
    table = data / "results" / f"{Path(script).stem}.csv"
    fresh = [row for row in read_table(table) if row["data"] == used]
    if fresh:
        write_table(table, fresh)
    else:
        table.unlink(missing_ok=True)

    def measure(key: str, data: str, seed: int) -> Case:
        del data, seed  # nothing here is random
        value, text = numbers[key]()
        return {"value": value, "text": text}

    cases = [{"key": key, "data": used, "seed": 0} for key in numbers]
    return fill_table(script, cases, measure, data=data)
