"""CSV files as lists of typed dataclasses: one reader for every table of the book.

The columns are the fields of a dataclass, and its annotations say how to read them:

    str                     the cell as it is
    int, float              a number
    bool                    yes or no
    int | None              the same, where an empty cell is None
    float | None
    tuple[str, ...]         the items between the separators; an empty cell has none

A cell that does not fit is an error that names the file, the line and the column,
because a table read wrongly is a wrong number in the book.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

Row = TypeVar("Row")


def read_rows(path: Path, row: type[Row], *, separator: str = ", ") -> list[Row]:
    """Return the lines of a CSV file as instances of a dataclass.

    Args:
        path: UTF-8 text with a header. Columns that ``row`` has no field for are
            left out.
        row: Dataclass with the field types listed at the top of this file.
        separator: What stands between the items of a tuple.

    Raises:
        ValueError: If a column is missing, or a cell does not fit its field.

    Example:
        >>> from effdl.data.files import data_path
        >>> from effdl.tables import Board
        >>> read_rows(data_path("survey/table4.csv"), Board)[1].board
        'Nvidia Jetson Nano'
    """
    types = get_type_hints(row)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in types if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path.name} lacks the columns {', '.join(missing)}")
        lines = [(reader.line_num, cells) for cells in reader]

    def parse(line: int, name: str, cell: str | None) -> object:
        try:
            return _parsers(separator)[types[name]](cell or "")
        except (KeyError, ValueError):
            raise ValueError(
                f"{path.name}, line {line}: {name} must be {types[name]}, got {cell!r}"
            ) from None

    return [
        row(**{name: parse(line, name, cells[name]) for name in types})
        for line, cells in lines
    ]


def _parsers(separator: str) -> dict[Any, Callable[[str], Any]]:
    return {
        str: str,
        int: int,
        float: float,
        bool: {"yes": True, "no": False}.__getitem__,
        int | None: lambda text: int(text) if text else None,
        float | None: lambda text: float(text) if text else None,
        tuple[str, ...]: lambda text: tuple(filter(None, text.split(separator))),
    }
