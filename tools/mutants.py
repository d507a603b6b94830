"""Break the library and the grader, one error at a time: the named tests must fail.

    make mutants                               all of tests/mutants/*.toml
    tools/mutants.py tests/mutants/effdl.conv.ghost.toml

A mutant that survives is a missing test. The table goes to data/results/mutants.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common import ROOT, one_thread, write_atomically

SECONDS = 120
VERDICTS = {0: "survived", 1: "killed", -signal.SIGALRM: "killed"}  # exit status
MUTANTS = ROOT / "tests" / "mutants"
TABLE = ROOT / "data" / "results" / "mutants.csv"
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
PYTEST += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # HEAVY is loaded
HEAVY = ("torch", "torchvision", "timm", "fvcore.nn", "sklearn.datasets", "pandas",
         "matplotlib.pyplot", "pytest")  # fmt: skip


class Mutant(NamedTuple):
    """One deliberate error."""

    module: str
    name: str
    old: str
    new: str
    tests: tuple[str, ...]


def main() -> int:
    """Try the mutants; return 1 if one survives or cannot be planted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    files = options.files or sorted(MUTANTS.glob("*.toml"))
    mutants = [mutant for file in files for mutant in read(file)]
    os.environ.update(one_thread())
    for module in HEAVY:  # children are forked, so this is paid once
        __import__(module)
    verdicts = {}
    for mutant, verdict in attempts(mutants, side_by_side=min(2, os.cpu_count() or 1)):
        verdicts[mutant.module, mutant.name] = verdict
        print(f"  {verdict:9} {mutant.module}: {mutant.name}", flush=True)
    if all(file.resolve().parent == MUTANTS for file in files):
        store(verdicts)
    killed = list(verdicts.values()).count("killed")
    print(f"mutants: {killed} of {len(mutants)} killed")
    return int(killed < len(mutants))


def read(file: Path) -> Iterator[Mutant]:
    """Yield the mutants of one file."""
    content = tomllib.loads(file.read_text(encoding="utf8"))
    for entry in content["mutant"]:
        tests = tuple(entry.get("tests", content["tests"]))
        module = entry.get("module", content["module"])
        yield Mutant(module, entry["name"], entry["old"], entry["new"], tests)


def source_of(module: str) -> Path:
    """Return the file of a module of the library or of tools, below the root."""
    base = "" if module.startswith("tools.") else "lib"
    stem = Path(base, *module.split("."))
    return stem / "__init__.py" if (ROOT / stem).is_dir() else stem.with_suffix(".py")


def attempts(
    mutants: list[Mutant], *, side_by_side: int
) -> Iterator[tuple[Mutant, str]]:
    """Yield each mutant with its verdict, as soon as it is known.

    The forks come from this thread only; one made beside other threads may hang.
    """
    waiting = mutants[::-1]
    running: dict[int, tuple[Mutant, tempfile.TemporaryDirectory[str]]] = {}
    while waiting or running:
        if waiting and len(running) < side_by_side:
            mutant = waiting.pop()
            planted = plant(mutant)
            if isinstance(planted, str):
                yield mutant, planted
                continue
            child = os.fork()
            if child == 0:
                run_tests(Path(planted.name), mutant)
            running[child] = (mutant, planted)
            continue
        child, status = os.wait()
        mutant, planted = running.pop(child)
        planted.cleanup()
        yield mutant, VERDICTS.get(os.waitstatus_to_exitcode(status), "broken")


def plant(mutant: Mutant) -> tempfile.TemporaryDirectory[str] | str:
    """Return a folder with a broken copy of the code, or why the mutant is none."""
    name = source_of(mutant.module)
    source = (ROOT / name).read_text(encoding="utf8")
    if source.count(mutant.old) != 1:
        return "not found" if mutant.old not in source else "ambiguous"
    broken = source.replace(mutant.old, mutant.new)
    try:
        compile(broken, mutant.module, "exec")
    except SyntaxError:
        return "no Python"
    folder = tempfile.TemporaryDirectory()
    copy, ignored = Path(folder.name), shutil.ignore_patterns("__pycache__")
    for part in ("lib", "tools", "tests") if name.parts[0] == "tools" else ("lib",):
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    for part in ("_config.yml", "data", "notebooks"):
        (copy / part).symlink_to(ROOT / part)
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / name).write_text(broken, encoding="utf8")
    return folder


def run_tests(copy: Path, mutant: Mutant) -> None:
    """Run the tests on another copy of the code; never returns.

    Tests of tools are copied as well, because they start programs beside themselves.
    """
    status, lib = 3, copy / "lib"
    tools = (copy / "tools").is_dir()
    try:
        import pytest

        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.chdir(copy if tools else ROOT)
        sys.path.insert(0, str(lib))
        if tools:
            sys.path.remove(str(ROOT / "tools"))
            del sys.modules["common"]
        signal.alarm(SECONDS)  # a mutant may loop for ever
        status = int(pytest.main([*PYTEST, *mutant.tests]))
        import effdl

        if not str(effdl.__file__).startswith(str(lib)):
            status = 3
    finally:
        os._exit(status)


def stored() -> dict[tuple[str, str], str]:
    """Return the verdict on every mutant of the table, by module and name."""
    if not TABLE.is_file():
        return {}
    rows = csv.DictReader(TABLE.read_text(encoding="utf8").splitlines())
    return {(row["module"], row["mutant"]): row["verdict"] for row in rows}


def store(new: dict[tuple[str, str], str]) -> None:
    """Write the table of all mutants: new verdicts, and the old ones of the others."""
    verdicts = stored() | new
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["module", "mutant", "verdict"])
    for file in sorted(MUTANTS.glob("*.toml")):
        for mutant in read(file):
            key = (mutant.module, mutant.name)
            writer.writerow([*key, verdicts.get(key, "not tried")])
    write_atomically(TABLE, text.getvalue())
    from effdl.data.files import write_sums  # not before the forks: they have their own

    write_sums(ROOT / "data", [TABLE.relative_to(ROOT / "data").as_posix()])


if __name__ == "__main__":
    sys.exit(main())
