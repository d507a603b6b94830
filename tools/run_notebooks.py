"""Execute notebooks whose inputs changed, each in a fresh kernel, and store the result.

    make notebooks            those that are stale
    make notebooks ALL=1      all of them
    tools/run_notebooks.py notebooks/01-introduction/computational-gap.ipynb

Notebooks run side by side, one thread each. One that has a cell tagged `timing` waits
until the others are done and runs alone, so that nothing disturbs the clock. A file
is replaced only when its whole run succeeded.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.util import run_sync

from common import ROOT, book_notebooks, one_thread, write_atomically
from notebook_checks import code_cells, input_hash, tags

CELL_SECONDS = 300
USAGE = "vars(__import__('effdl.notebook', fromlist=['usage']).usage())"


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="these, stale or not")
    parser.add_argument("--all", action="store_true", help="all notebooks")
    options = parser.parse_args()
    chosen = [p.resolve() for p in options.paths] or book_notebooks()
    forced = options.all or bool(options.paths)
    todo = [path for path in chosen if forced or is_stale(path)]
    if not todo:
        print(f"notebooks: all {len(chosen)} are up to date")
        return 0
    print(f"notebooks: {len(todo)} of {len(chosen)} to run", flush=True)
    started = time.time()
    together = [path for path in todo if not is_timed(path)]
    alone = [path for path in todo if is_timed(path)]
    failed = run_many(together, workers=min(2, os.cpu_count() or 1))
    failed += run_many(alone, workers=1)
    print(f"notebooks: {len(todo) - failed} done in {time.time() - started:.0f} s")
    if failed:
        print(f"notebooks: {failed} failed and were left as they were")
    return 1 if failed else 0


def is_stale(path: Path) -> bool:
    """Return whether the notebook's inputs are not those of its stored outputs."""
    notebook = nbformat.read(path, as_version=4)
    return notebook.metadata.get("effdl", {}).get("hash") != input_hash(notebook)


def is_timed(path: Path) -> bool:
    """Return whether a cell of the notebook measures time."""
    notebook = nbformat.read(path, as_version=4)
    return any("timing" in tags(cell) for cell in code_cells(notebook))


def run_many(paths: list[Path], *, workers: int) -> int:
    """Execute the notebooks, report each as it ends, return how many failed."""
    if not paths:
        return 0
    failed = 0
    os.environ.update(one_thread())
    with ProcessPoolExecutor(workers) as pool:
        jobs: dict[Future[str], Path] = {pool.submit(run_one, p): p for p in paths}
        for job in as_completed(jobs):
            name = os.path.relpath(jobs[job], ROOT)
            error = job.exception()
            failed += error is not None
            text = f"FAILED {name}\n{error}" if error else f"{name}: {job.result()}"
            print(f"  {text}", flush=True)
    return failed


def run_one(path: Path) -> str:
    """Execute one notebook, store it with its record, return a line about it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    digest = input_hash(notebook)  # now: what is edited while it runs makes it stale
    started = time.time()
    try:
        used = execute(notebook, path.parent)
    except CellExecutionError as error:
        raise RuntimeError(str(error)) from None  # the original cannot be pickled
    record = {
        "hash": digest,
        "seconds": round(time.time() - started, 1),
        "cpu_seconds": round(used["cpu_seconds"], 1),
        "peak_memory_mb": round(used["peak_memory_mb"]),
        "device": f"{used['device']}, no GPU",
        "python": used["python"],
        "torch": used["torch"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    normalise(notebook, record)
    write_atomically(path, nbformat.writes(notebook) + "\n")
    return (
        f"{record['seconds']:.0f} s, {record['cpu_seconds']:.0f} s of CPU, "
        f"{record['peak_memory_mb']} MB"
    )


def execute(notebook: Any, folder: Path) -> dict[str, Any]:
    """Run all cells in place; return what `effdl.notebook.usage` tells at the end."""
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        reply = run_sync(client.kc.execute_interactive)(
            "", silent=True, store_history=False, user_expressions={"usage": USAGE}
        )
    answer = reply["content"]["user_expressions"]["usage"]["data"]["text/plain"]
    return ast.literal_eval(answer)


def normalise(notebook: Any, record: dict[str, Any]) -> None:
    """Leave in the file what a reader needs, so that a rerun changes nothing else."""
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
        "effdl": record,
    })
    for cell in code_cells(notebook):
        lift_alt_text(cell)
        texts = [o.get("data", {}).get("text/plain", "") for o in cell.outputs]
        if any(" at 0x" in text for text in texts):
            raise RuntimeError(f"an output holds an address in memory: {texts}")


def lift_alt_text(cell: Any) -> None:
    """Copy the alt text that `effdl` stored with a picture to where it is checked."""
    cell.metadata.pop("mystnb", None)
    for output in cell.outputs:
        for kind, about in output.get("metadata", {}).items():
            if kind.startswith(("image/", "text/html")) and about.get("alt"):
                image = {"alt": about["alt"], "classes": "dark-light"}
                cell.metadata["mystnb"] = {"image": image}


if __name__ == "__main__":
    sys.exit(main())
