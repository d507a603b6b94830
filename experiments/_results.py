"""Tables of results: filled row by row, never half a row, each with its origin.

A script names its cases and how one of them is measured:

    fill_table(__file__, cases, measure)    ->    data/results/<script>.csv

Rows that the code of today has made already are kept, so a script that was interrupted
goes on where it was, and a second run does nothing. Dropped when the script runs are
rows that other code made, and rows whose case, seed aside, the script no longer has.
Every row says where it comes from:

    command, python, torch, numpy, processor    how and where it was made
    seconds      processor time of the case (which is the work, not the waiting)
    code_hash    of the script, of what it imports from its folder (but for the filling
                 of tables), and of the effdl code that these reach

Run by itself, this file notes down the sums of all data in data/SHA256SUMS.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import io
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from effdl.data.files import write_sums, write_text_whole
from effdl.notebook import usage
from effdl.reach import code_hash

DATA = Path(__file__).resolve().parents[1] / "data"
FILLING = {"_results", "_numbers", "_shards"}  # they decide on no value
ORIGIN = ("seconds", "command", "python", "torch", "numpy", "processor", "code_hash")

Value = str | int | float
Row = dict[str, str]
Case = Mapping[str, Value]


def fill_table(
    script: str,
    cases: Sequence[Case],
    measure: Callable[..., Case],
    *,
    data: Path = DATA,
) -> Path:
    """Measure the cases that are missing from the script's table; return its path.

    Args:
        script: The script's ``__file__``; its name is the table's.
        cases: What identifies a row, ``seed`` among it; the same keys in all of them.
        measure: Gets a case as keyword arguments and returns the other columns.
        data: The folder to write below.

    Raises:
        ValueError: If a case has no seed, or a column is named twice.
    """
    path = data / "results" / f"{Path(script).stem}.csv"
    made_by = origin(Path(script))
    rows = _rows_to_keep(read_table(path), cases, made_by["code_hash"])
    torch.set_num_threads(1)
    for number, case in enumerate(cases, start=1):
        key = _texts(case)
        if any(key.items() <= row.items() for row in rows):
            continue
        start = time.process_time()
        results = measure(**case)
        seconds = time.process_time() - start
        doubled = set(results) & {*case, *ORIGIN}
        if doubled:
            raise ValueError(f"measure returned {sorted(doubled)}, which are taken")
        measured = _texts(results)
        rows.append(key | measured | {"seconds": f"{seconds:.2f}"} | made_by)
        write_table(path, rows)
        _note_down(path, data)
        told = ", ".join(f"{name} {text}" for name, text in (key | measured).items())
        print(f"{number} of {len(cases)}: {told}, {seconds:.1f} s", flush=True)
    if path.is_file():  # an earlier run may have been stopped between table and sum
        _note_down(path, data)
    return path


def read_table(path: Path) -> list[Row]:
    """Return the rows of a table, none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write all of the rows or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(path, text.getvalue())


def seeds_from_command_line(description: str | None) -> list[int]:
    """Return the seeds that the command line asks for, 0, 1 and 2 by default."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args().seeds


def _note_down(path: Path, data: Path) -> None:
    """Write the sum of a table into SHA256SUMS."""
    write_sums(data, [path.relative_to(data).as_posix()])


def origin(script: Path) -> Row:
    """Return how a row that a script makes now comes about."""
    return {
        "command": f"python experiments/{script.name}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": usage().device,
        "code_hash": hash_of_script(script),
    }


def hash_of_script(script: Path) -> str:
    """Return 16 hexadecimal digits that change with the code behind a table."""
    texts = _sources(script, set())
    hashes = [code_hash(text) for text in texts]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def _sources(script: Path, seen: set[Path]) -> list[str]:
    """Return the text of a script and of the modules beside it that it needs."""
    seen.add(script)
    texts = [script.read_text(encoding="utf-8")]
    imports = (
        n for n in ast.walk(ast.parse(texts[0])) if isinstance(n, ast.ImportFrom)
    )
    for name in sorted({node.module or "" for node in imports} - FILLING):
        beside = script.with_name(f"{name}.py")
        if beside.is_file() and beside not in seen:
            texts += _sources(beside, seen)
    return texts


def _rows_to_keep(rows: list[Row], cases: Sequence[Case], code: str) -> list[Row]:
    """Return the rows of this code whose case is among the cases, for any seed."""
    settings = []
    for case in cases:
        if "seed" not in case:
            raise ValueError(f"every case needs a seed, got {dict(case)}")
        setting = _texts({name: case[name] for name in case if name != "seed"})
        if setting not in settings:
            settings.append(setting)
    return [
        row
        for row in rows
        if row["code_hash"] == code and any(s.items() <= row.items() for s in settings)
    ]


def _texts(case: Case) -> Row:
    """Return the values as they stand in a table."""
    return {
        name: f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in case.items()
    }


if __name__ == "__main__":
    write_sums(DATA)
    sys.exit(0)
