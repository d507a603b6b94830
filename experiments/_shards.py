"""Shards of the cell benchmark: a few hundred trainings each, whole or not there.

A shard is an .npz file with one line per training. ``pack`` moves the shards into the
table ``trainings.npz``, which ``effdl.nas.cellbench`` reads. All numbers are small
whole ones there, so that the table is compact and the same on every machine:

    losses   10,000 times the mean training loss of each epoch    (classes, seeds, 10)
    curves   images of the validation part that were right        (classes, seeds, 10)
    test     images of the test part that were right              (classes, seeds)
    seconds  hundredths of a second that the training took        (classes, seeds)
    origin   the line of provenance.csv that says how             (classes, seeds)
    cells    numbers of the cells that stand for the classes      (classes,)
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from effdl.data.files import PARTIAL, write_text_whole
from effdl.nas.cellbench import (
    LOSS_UNIT,
    MISSING,
    SECONDS_UNIT,
    TEST_IMAGES,
    VALIDATION_IMAGES,
)

Arrays = dict[str, NDArray[np.int64]]
Origin = dict[str, str]

COLUMNS = ("losses", "curves", "test", "seconds")
SEEDS = 5  # at most, in the table


def write_shard(path: Path, numbers: Arrays, origin: Origin) -> None:
    """Write trainings under a temporary name, then rename.

    Args:
        path: In a folder that exists.
        numbers: ``cell`` and ``seed`` of every training, and the four ``COLUMNS``.
        origin: How they were made.
    """
    texts = {f"origin_{name}": np.array(text) for name, text in origin.items()}
    _save(path, {name: a.astype(np.uint16) for name, a in numbers.items()} | texts)


def read_shard(path: Path) -> tuple[Arrays, Origin]:
    """Return the trainings of a shard and their origin.

    Raises:
        ValueError: If the file is cut short or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        length = len(arrays["cell"])
        if any(len(arrays[name]) != length for name in ("seed", *COLUMNS)):
            raise ValueError("columns of different lengths")
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"shard {path.name} is damaged ({error}); delete it and run "
            "experiments/build_cellbench.py again: only its trainings are repeated"
        ) from None
    mark = "origin_"
    origin = {n[len(mark) :]: str(a) for n, a in arrays.items() if n.startswith(mark)}
    return {n: a.astype(np.int64) for n, a in arrays.items() if mark not in n}, origin


def pack(folder: Path, cells: Sequence[int]) -> int:
    """Move all shards of a folder into its table; return the trainings in the table.

    The shards are deleted only when the table that holds them is in its place.

    Args:
        folder: Holds ``shards/``, and the table if there is one.
        cells: Numbers of the cells that stand for the classes, in the table's order.
    """
    paths = sorted((folder / "shards").glob("*.npz"))
    shards = [read_shard(path) for path in paths]
    table = read_table(folder, cells)
    origins = _read_origins(folder / "provenance.csv")
    row = {cell: place for place, cell in enumerate(cells)}
    for numbers, origin in shards:
        if origin not in origins:
            origins.append(origin)
        rows, seeds = [row[cell] for cell in numbers["cell"]], numbers["seed"]
        for name in COLUMNS:
            table[name][rows, seeds] = numbers[name]
        table["origin"][rows, seeds] = origins.index(origin)
    if shards:
        _save(folder / "trainings.npz", table | {"cells": np.array(cells, np.uint16)})
        _write_origins(folder / "provenance.csv", origins, table)
    for path in paths:
        path.unlink()
    return int((table["test"] != MISSING).sum())


def read_table(folder: Path, cells: Sequence[int]) -> dict[str, NDArray[np.uint16]]:
    """Return the table's arrays, all ``MISSING`` if there is no table.

    Raises:
        ValueError: If the table is of other cells.
    """
    path = folder / "trainings.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            table = {name: file[name] for name in file.files}
        if table.pop("cells").tolist() != list(cells):
            raise ValueError(f"{path} is of other cells; move it away")
        return table
    shape = (len(cells), SEEDS)
    table = {n: np.full(shape, MISSING, np.uint16) for n in (*COLUMNS, "origin")}
    for name in ("losses", "curves"):
        table[name] = np.full((*shape, 10), MISSING, np.uint16)
    return table


def as_numbers(
    losses: NDArray[np.float32], curves: NDArray[np.float32], test: NDArray[np.float32]
) -> Arrays:
    """Return losses and shares of right answers as the whole numbers of a shard."""
    rounded = np.minimum(np.rint(losses / LOSS_UNIT), MISSING - 1)
    return {
        "losses": np.nan_to_num(rounded, nan=MISSING - 1).astype(np.int64),
        "curves": np.rint(curves * VALIDATION_IMAGES).astype(np.int64),
        "test": np.rint(test * TEST_IMAGES).astype(np.int64),
    }


def _read_origins(path: Path) -> list[Origin]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in TOTALS} for row in rows]


TOTALS = ("trainings", "seconds")


def _write_origins(
    path: Path, origins: list[Origin], table: dict[str, NDArray[np.uint16]]
) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*TOTALS, *origins[0]], lineterminator="\n")
    writer.writeheader()
    for number, origin in enumerate(origins):
        made = table["origin"] == number
        seconds = table["seconds"][made].sum(dtype=np.int64) * SECONDS_UNIT
        totals = {"trainings": int(made.sum()), "seconds": f"{seconds:.0f}"}
        writer.writerow(totals | origin)
    write_text_whole(path, text.getvalue())


def _save(path: Path, arrays: dict[str, NDArray[np.uint16]]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(content.getvalue())
    partial.replace(path)
