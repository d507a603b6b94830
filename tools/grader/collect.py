"""Find what each student handed in, however the course system packed it.

submissions/ann.ipynb                      a plain folder
submissions/ann/anything.ipynb             a folder for each student
submissions/ann/darts/darts.ipynb          nbgrader's own layout
submissions/Ann Li_10001_assignsubmission_file_/darts.ipynb          Moodle
submissions/liann_LATE_12345_67890_darts.ipynb                       Canvas
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from grader.cells import Notebook, read_source, source_names, title

LARGEST_MB = 20.0
MOODLE = re.compile(r"(.+?)_\d+_assignsubmission_(file|onlinetext)_?")
CANVAS = re.compile(r"([^_]+)_(?:LATE_)?\d+_\d+_.+")


class Submission(NamedTuple):
    """What lies there under a student's name.

    Attributes:
        student: The name of the file or of the folder.
        path: The notebook, or what is there instead of one.
        trouble: Why there is nothing to run, or empty.
    """

    student: str
    path: Path
    trouble: str


def submissions(folder: Path, assignment: str) -> list[Submission]:
    """Return one entry for every student, sorted by name.

    Raises:
        SystemExit: If the folder is not there or holds nothing.
    """
    if not folder.is_dir():
        raise SystemExit(
            f"SUBMISSIONS={folder} is not a folder; name the one with a notebook, "
            "or a folder, for each student"
        )
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    texts = {p for p in entries if "_assignsubmission_onlinetext" in p.name}
    files = {student_name(p) for p in entries if p not in texts}
    found = [
        of_folder(p, assignment) if p.is_dir() else Submission(student_name(p), p, "")
        for p in entries
        if p not in texts or student_name(p) not in files
    ]
    if not found:
        raise SystemExit(f"SUBMISSIONS={folder} is empty; put the notebooks there")
    double = {
        s.student for s in found if [x.student for x in found].count(s.student) > 1
    }
    return [
        s._replace(student=entry_of(s.path, folder)) if s.student in double else s
        for s in found
    ]


def student_name(path: Path) -> str:
    """Return whose a file or a folder is, by its name.

    Example:
        >>> student_name(Path("Ann Li_10001_assignsubmission_file_"))
        'Ann Li'
        >>> student_name(Path("liann_LATE_12345_67890_darts-1.ipynb"))
        'liann'
    """
    name = path.stem if path.suffix in (".ipynb", ".pdf", ".zip") else path.name
    match = MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
    return match[1] if match else name


def entry_of(path: Path, folder: Path) -> str:
    """Return the name of what lies in the folder and is, or holds, a file."""
    return path.relative_to(folder).parts[0]


def of_folder(folder: Path, assignment: str) -> Submission:
    """Return the one notebook below a student's folder, or what is wrong there."""
    student = student_name(folder)
    every = [p for p in sorted(folder.rglob("*")) if p.is_file() and hidden(p, folder)]
    notebooks = [p for p in every if p.suffix == ".ipynb"]
    named = [p for p in notebooks if p.stem == assignment]
    chosen = named if len(named) == 1 else notebooks or every
    if not chosen:
        return Submission(student, folder, "nothing was handed in: the folder is empty")
    if len(chosen) > 1:
        names = ", ".join(p.name for p in chosen[:4])
        trouble = (
            f"there are {len(chosen)} files and none is {assignment}.ipynb: {names}"
        )
        return Submission(student, folder, trouble)
    return Submission(student, chosen[0], "")


def hidden(path: Path, folder: Path) -> bool:
    """Return whether a path is no hidden file and in no hidden folder."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def opened(submission: Submission, assignment: str) -> Notebook:
    """Return a student's notebook.

    Raises:
        ValueError: If there is none to run; the text says why.
    """
    if submission.trouble:
        raise ValueError(submission.trouble)
    path = submission.path
    megabytes = path.stat().st_size / 1e6
    if megabytes > LARGEST_MB:
        raise ValueError(
            f"{path.name} has {megabytes:.0f} MB, more than {LARGEST_MB:.0f}; "
            "clear its outputs and hand it in again"
        )
    if path.suffix != ".ipynb":
        raise ValueError(
            f"{path.name} is not a notebook: its name does not end in .ipynb"
        )
    try:
        notebook = read_notebook(path)
    except ValueError as error:
        raise ValueError(f"{path.name} {error}") from error
    other = assignment_of(notebook)
    if other not in ("", assignment):
        raise ValueError(f"{path.name} is the assignment {other}, not {assignment}")
    return notebook


def read_notebook(path: Path) -> Notebook:
    """Return a notebook of any version.

    Raises:
        ValueError: If it is none, or has nothing in it.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        texts = [cell.source.strip() for cell in notebook.cells]
    except Exception as error:
        what = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(
            f"is not a notebook ({type(error).__name__}: {what})"
        ) from error
    if not any(texts):
        raise ValueError("is empty: no cell has a text")
    return notebook


def assignment_of(notebook: Notebook) -> str:
    """Return the assignment that a notebook belongs to, or nothing."""
    record = notebook.metadata.get("effdl", {})
    if isinstance(record, dict) and record.get("assignment"):
        return str(record["assignment"])
    titles = {title(read_source(name)): name for name in source_names()}
    return titles.get(title(notebook), "")


def kernel_remark(notebook: Notebook) -> list[str]:
    """Return a sentence if the notebook asks for another kernel than Python's."""
    name = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    language = notebook.metadata.get("language_info", {}).get("name", "python")
    if name.startswith("python") and language == "python":
        return []
    return [f"made for the kernel {name!r}, run with Python"]


def file_name(student: str) -> str:
    """Return a file name for a student that no other student has.

    Example:
        >>> file_name("ann")
        'ann'
    """
    plain = re.sub(r"[^\w.-]", "_", student).strip(".")[:60]
    if plain == student:
        return plain
    return f"{plain}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"
