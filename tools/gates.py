"""Plant one failure for each gate, in a copy of the project, and see it caught.

    make gates

A gate that cannot fail guards nothing. Each entry below breaks the copy in one way,
runs the stage of `make test` that should notice, and demands that it fails and says so.
Needs the built book (`make book`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

import nbformat

from common import ROOT, tracked_files
from grader.cells import grade_id, read_source, solution_of

NOTEBOOK = "notebooks/02-manual-networks/ghost-convolution.ipynb"
PAGE = "book/02-manual-networks/2-1-convolutional-networks.md"
HTML = "_build/html/book/02-manual-networks/index.html"
HOST = "pypi" + ".org"
PYTEST = ("pytest", "-q", "-x", "-p", "no:cacheprovider")
NBVAL = "import test_all, sys; sys.exit(test_all.notebooks().status)"
Plant = Callable[[Path], None]


class Gate(NamedTuple):
    """What is planted, the stage that should fail, and a word of its complaint."""

    name: str
    plant: Plant
    command: tuple[str, ...]
    says: str


def append(name: str, text: str) -> Plant:
    """Return a fault: text at the end of a file."""

    def plant(root: Path) -> None:
        with (root / name).open("a", encoding="utf8") as file:
            file.write(text)

    return plant


def replace(name: str, old: str, new: str) -> Plant:
    """Return a fault: the first place where the old text stands is changed."""

    def plant(root: Path) -> None:
        text = (root / name).read_text(encoding="utf8")
        if old not in text:
            raise SystemExit(f"gates: {old!r} is no longer in {name}")
        (root / name).write_text(text.replace(old, new, 1), encoding="utf8")

    return plant


def last_cell(source: str) -> Plant:
    """Return a fault: the last code cell of a notebook, the only one kept, changed."""

    def plant(root: Path) -> None:
        for other in (root / "notebooks").rglob("*.ipynb"):
            if other != root / NOTEBOOK:
                other.unlink()
        notebook = nbformat.read(root / NOTEBOOK, as_version=4)
        notebook.cells = notebook.cells[:3]
        notebook.cells[2].source = source
        nbformat.write(notebook, root / NOTEBOOK)

    return plant


def in_page(html: str) -> Plant:
    """Return a fault: HTML at the end of a built page's article."""
    return replace(HTML, "</article>", html + "</article>")


def leak(root: Path) -> None:
    """Plant a fault: a solution at the end of a built page's article."""
    cells = read_source("pruning", root / "notebooks" / "assignments").cells
    answer = next(cell for cell in cells if grade_id(cell) == "task-1")
    in_page(f"<pre>{escape(solution_of(answer))}</pre>")(root)


SITE = ("pytest", "-q", "-p", "no:cacheprovider", "-m", "site")
SITE += ("-k", "02-manual-networks/index", "tests/site")  # all faults of one page
SITE_SECRETS = (*SITE[:-3], "-k", "solution", "tests/site/test_pages.py")
FORM = "tests/assignments/test_form.py"
KNOWN = ("-k", "pruning-0", "tests/assignments/test_known_answers.py")
RELEASE = "notebooks/assignments/release/pruning/pruning.ipynb"
WRONG = "tests/assignments/pruning.toml"
GATES = (
    Gate("format", append("lib/effdl/checks.py", "x  =  1\n"),
         ("ruff", "format", "--check", "."), "checks.py"),
    Gate("lint", append("lib/effdl/checks.py", "import os\n"),
         ("ruff", "check", "."), "checks.py"),
    Gate("types", append("lib/effdl/checks.py", "\n\nX: int = 'x'\n"),
         ("mypy", "lib/effdl"), "Incompatible types"),
    Gate("unit test", replace("lib/effdl/checks.py", "value < 1", "value < 0"),
         (*PYTEST, "tests/test_checks.py"), "DID NOT RAISE"),
    Gate("doctest", replace("lib/effdl/conv/ghost.py", "1.992", "1.993"),
         (*PYTEST, "lib/effdl/conv/ghost.py"), "1.993"),
    Gate("nbval", last_cell("1 / 0"), ("-c", NBVAL), "ZeroDivisionError"),
    Gate("network", last_cell("import requests\nrequests.get('https://example.org')"),
         ("-c", NBVAL), "network is off"),
    Gate("stale outputs", replace(NOTEBOOK, "with seeded(0):", "with seeded(1):"),
         (*PYTEST, "tests/test_notebooks.py"), "stale"),
    Gate("strict build", append(PAGE, "\nSee {ref}`nowhere-at-all`.\n"),
         ("tools/build_book.py",), "nowhere-at-all"),
    Gate("console", in_page("<script>nobody.home()</script>"), SITE, "nobody"),
    Gate("foreign request", in_page('<img alt="x" src="https://example.org/x.png">'),
         SITE, "example.org"),
    Gate("axe", in_page('<button type="button"></button>'), SITE, "button-name"),
    Gate("links", in_page('<a href="nowhere.html">there</a>'), SITE, "nowhere.html"),
    Gate("alt text", in_page('<img src="../../_static/favicon.svg">'), SITE, "alt"),
    Gate("title", in_page("<h1>Another title</h1>"), SITE, "h1"),
    Gate("phone width", in_page('<p style="width:900px">wide</p>'), SITE, "wide"),
    Gate("hosts", append("README.md", f"\nhttps://{HOST}/simple\n"),
         (*PYTEST, "tests/test_prose.py"), HOST),
    Gate("typed number", replace(PAGE, "We find\n: ", "We find\n: It is 7. "),
         (*PYTEST, "tests/test_prose.py"), "7"),
    Gate("exercise", replace(PAGE, "assert ", "assert not "),
         (*PYTEST, "tests/test_exercises.py"), "Assert"),
    Gate("index", replace("data/survey/index.csv", "#conv-ghost", "#conv-gost"),
         (*PYTEST, "tests/test_index.py"), "no such label"),
    Gate("student version", replace(RELEASE, "YOUR CODE HERE", "return 0"),
         (*PYTEST, FORM), "make assignments"),
    Gate("wrong answer", replace(WRONG, 'remark = "', 'remark = "not '),
         (*PYTEST, *KNOWN), "not "),
    Gate("solution on the site", leak, SITE_SECRETS, "pruning task-1"),
    Gate("check sums", append("data/results/width.csv", "\n"),
         (*PYTEST, "tests/data"), "width.csv"),
)  # fmt: skip


def main() -> int:
    """Try every gate, or those named on the command line."""
    wanted = sys.argv[1:]
    unknown = set(wanted) - {gate.name for gate in GATES}
    if unknown:
        print(f"gates: no gate is called {', '.join(sorted(unknown))}")
        return 1
    gates = [gate for gate in GATES if not wanted or gate.name in wanted]
    missed = 0
    for gate in gates:
        started = time.time()
        verdict = attempt(gate)
        missed += verdict != "caught"
        print(f"  {verdict:9} {gate.name} ({time.time() - started:.0f} s)", flush=True)
    print(f"gates: {len(gates) - missed} of {len(gates)} caught their planted failure")
    return missed


def attempt(gate: Gate) -> str:
    """Plant the failure in a copy and run the stage there."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_project(root)
        gate.plant(root)
        path = os.pathsep.join([str(root / "lib"), str(root / "tools")])
        env = {**os.environ, "PYTHONPATH": path, "GIT_DIR": str(ROOT / ".git")}
        program = gate.command[0]
        module = [] if program.startswith(("-", "tools/")) else ["-m"]
        command = [sys.executable, *module, *gate.command]
        run = subprocess.run(
            command, cwd=root, env=env, capture_output=True, text=True, check=False
        )
    if run.returncode == 0:
        return "MISSED"
    if gate.says.lower() not in (run.stdout + run.stderr).lower():
        print(run.stdout[-3000:] + run.stderr[-1000:])
        return "UNCLEAR"
    return "caught"


def copy_project(root: Path) -> None:
    """Copy the sources and the built site; the environment is shared."""
    for file in tracked_files():
        target = root / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    if (ROOT / "_build" / "html").exists():
        shutil.copytree(ROOT / "_build" / "html", root / "_build" / "html")


if __name__ == "__main__":
    sys.exit(main())
