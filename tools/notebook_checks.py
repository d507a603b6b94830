"""What every notebook of the book must be: functions that name each fault."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nbformat

from common import INSTALL_CELL, INSTALL_CELL_ONNX, repository_address
from effdl.data.files import data_path
from effdl.provenance import data_files
from effdl.reach import code_hash

Notebook = Any

NEED_ONNX = ("effdl.quant.onnx_", "effdl.compress.speed")  # begin of a module
LARGEST_KB = 400
MOST_CODE_LINES = 250
MOST_CELL_LINES = 25
MOST_CPU_SECONDS = 60
MOST_MEMORY_MB = 1536


def code_cells(notebook: Notebook) -> list[Any]:
    """Return the code cells that a reader runs, in order."""
    return [c for c in notebook.cells if c.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def is_install(cell: Any) -> bool:
    """Return whether this is the cell that installs the library on Colab."""
    return "install" in tags(cell)


def needs_onnx(notebook: Notebook) -> bool:
    """Return whether a cell imports a module that needs the extra "onnx"."""
    sources = [cell.source for cell in code_cells(notebook)]
    return any(module in source for module in NEED_ONNX for source in sources)


def input_hash(notebook: Notebook) -> str:
    """Return a digest of all that decides the outputs.

    Its code cells (but not the install cell), the code of the library that they reach,
    directly or not, and the data files that these read.
    """
    cells = [c.source for c in code_cells(notebook) if not is_install(c)]
    source = "\n".join(cells)
    digest = hashlib.sha256(json.dumps(cells).encode())
    digest.update(code_hash(source).encode())
    for name in sorted(data_files(source)):
        digest.update(name.encode())
        digest.update(data_path(name).read_bytes())
    return digest.hexdigest()


def faults_of_record(notebook: Notebook) -> list[str]:
    """Return what is wrong with the stored run: stale, out of order, failed, slow."""
    record = notebook.metadata.get("effdl", {})
    cells = code_cells(notebook)
    faults = []
    if record.get("hash") != input_hash(notebook):
        faults.append("stale: its inputs changed since it was run; `make notebooks`")
    if [c.execution_count for c in cells] != list(range(1, len(cells) + 1)):
        faults.append("cells were not run once, in order, in a fresh kernel")
    outputs = [o for c in cells for o in c.outputs]
    if any(o.output_type == "error" for o in outputs):
        faults.append("an output is an error")
    if any(o.get("name") == "stderr" for o in outputs):
        faults.append("an output is a warning or another text on stderr")
    if record.get("cpu_seconds", 0) > MOST_CPU_SECONDS:
        faults.append(f"{record['cpu_seconds']} s of CPU, more than {MOST_CPU_SECONDS}")
    if record.get("peak_memory_mb", 0) > MOST_MEMORY_MB:
        faults.append(f"{record['peak_memory_mb']} MB, more than {MOST_MEMORY_MB}")
    return faults


def faults_of_form(notebook: Notebook) -> list[str]:
    """Return what is wrong with the text: set-up, length, rhythm, closing check."""
    cells, code = notebook.cells, code_cells(notebook)
    shown = [c for c in code if not is_install(c)]
    faults = []
    if not (cells and cells[0].source.startswith("# ")):
        faults.append("the first cell is not a title")
    if sum(c.source.startswith("# ") for c in cells if c.cell_type == "markdown") != 1:
        faults.append("there must be one title, a single '# '")
    wanted = INSTALL_CELL_ONNX if needs_onnx(notebook) else INSTALL_CELL
    wanted = wanted.format(address=repository_address())
    if not (len(cells) > 1 and is_install(cells[1]) and cells[1].source == wanted):
        faults.append("the second cell is not the install cell (tools/common.py)")
    lengths = [len(c.source.splitlines()) for c in shown]
    if sum(lengths) > MOST_CODE_LINES:
        faults.append(f"{sum(lengths)} lines of code, more than {MOST_CODE_LINES}")
    if max(lengths, default=0) > MOST_CELL_LINES:
        faults.append(f"a cell of {max(lengths)} lines, more than {MOST_CELL_LINES}")
    kinds = "".join(c.cell_type[0] for c in cells[3:])
    if "ccc" in kinds:
        faults.append("three code cells in a row")
    if not (shown and "assert" in shown[-1].source):
        faults.append("the last code cell asserts nothing")
    return faults


def faults_of_pictures(notebook: Notebook) -> list[str]:
    """Return the cells that show a picture without a text that says what it shows."""
    faults = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        pictures = sum(_is_picture(o) for o in cell.outputs)
        image = cell.metadata.get("mystnb", {}).get("image", {})
        if pictures and not image.get("alt", "").strip():
            faults.append(f"code cell {number} shows a picture without alt text")
        if pictures > 1:
            faults.append(f"code cell {number} shows {pictures} pictures, one at most")
    return faults


def _is_picture(output: Any) -> bool:
    data = output.get("data", {})
    drawn = any(tag in data.get("text/html", "") for tag in ("<svg", "<img"))
    return drawn or any(kind.startswith("image/") for kind in data)


def faults_of_file(path: Path) -> list[str]:
    """Return every fault of the notebook at ``path``."""
    size = path.stat().st_size / 1000
    large = [f"{size:.0f} kB, more than {LARGEST_KB}"] if size > LARGEST_KB else []
    notebook = nbformat.read(path, as_version=4)
    return [
        *large,
        *faults_of_record(notebook),
        *faults_of_form(notebook),
        *faults_of_pictures(notebook),
    ]
