"""Write the student versions of all assignments, and a bundle for the teacher.

    make assignments              notebooks/assignments/release, dist/assignments.zip
    make assignments SEED=2027    another variant: dist/assignments-2027/, and its zip

The sources in notebooks/assignments/source hold the solutions. The release holds none,
no hidden test and no output. The bundle holds both, and is a course folder of nbgrader.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

from common import PLACEHOLDER, ROOT, repository_address, write_atomically
from grader.cells import COURSE, Notebook, read_source, source_names
from grader.options import whole
from grader.release import as_text, student_version

DIST = ROOT / "dist"
VERDICTS = ROOT / "data" / "results" / "assignment_verdicts.csv"
README = """\
Assignments of "Efficient deep learning for embedded systems", course seed {seed}

  source/    with solutions, model answers in words and hidden tests: teachers only
  release/   what students get
  known-mistakes.csv   what wrong answers got in the variant of the book (seed 2026)
  nbgrader_config.py   this folder is a course folder of nbgrader

Grade in a checkout of the book (the page "Teach with this book" says how):

  make grade SUBMISSIONS=folder ASSIGNMENT=darts SEED={seed}
"""


def main() -> int:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--seed", type=whole("SEED", least=0), help="of the course; draws a variant"
    )
    seed = parser.parse_args().seed
    folder = COURSE if seed is None else DIST / f"assignments-{seed}"
    sources = {name: read_source(name, seed=seed) for name in source_names()}
    for name, source in sources.items():
        text = as_text(student_version(source, name))
        write(folder / "release" / name / f"{name}.ipynb", text)
        if seed is not None:
            write(folder / "source" / name / f"{name}.ipynb", as_text(source))
        print(f"assignments: {name}", flush=True)
    archive = DIST / ("assignments.zip" if seed is None else f"assignments-{seed}.zip")
    pack(archive, sources, seed)
    print(f"assignments: {len(sources)} in {folder / 'release'}")
    print(f"assignments: {archive} is for the teacher, with all solutions")
    if PLACEHOLDER in repository_address():
        print(
            "assignments: on Colab the second cell cannot install the library yet; "
            "say where your copy lies (make address URL=...), then run this again"
        )
    return 0


def write(path: Path, text: str) -> None:
    """Write a notebook, unless it says this already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf8") != text:
        write_atomically(path, text)


def pack(archive: Path, sources: dict[str, Notebook], seed: int | None) -> None:
    """Write the teacher's bundle, whole or not at all."""
    archive.parent.mkdir(exist_ok=True)
    partial = archive.with_suffix(".part")
    shown = "of the sources" if seed is None else str(seed)
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as bundle:
        top = archive.stem
        bundle.writestr(f"{top}/README.txt", README.format(seed=shown))
        bundle.write(COURSE / "nbgrader_config.py", f"{top}/nbgrader_config.py")
        bundle.write(VERDICTS, f"{top}/known-mistakes.csv")
        for name, source in sources.items():
            file = f"{name}/{name}.ipynb"
            bundle.writestr(f"{top}/source/{file}", as_text(source))
            released = as_text(student_version(source, name))
            bundle.writestr(f"{top}/release/{file}", released)
    partial.replace(archive)


if __name__ == "__main__":
    sys.exit(main())
