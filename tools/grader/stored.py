"""What a folder of grades keeps from one run to the next."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from common import write_atomically
from grader.collect import Submission
from grader.one import Result


def accepted(text: str, found: list[Submission], folder: Path) -> dict[str, str]:
    """Return whose text a teacher has looked at, now or earlier, and which text it was.

    Raises:
        SystemExit: If nobody is called so.
    """
    path, paths = folder / "accepted.json", {s.student: s.path for s in found}
    kept: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    names = [text] if text in paths else [n.strip() for n in text.split(",") if n]
    for name in names:
        if name not in paths or not paths[name].is_file():
            raise SystemExit(
                f"ACCEPT={name}: nobody with a notebook is called so; the students: "
                + ", ".join(sorted(paths))
            )
        kept[name] = digest(paths[name])
    if names:
        write_atomically(path, json.dumps(kept, indent=1))
    return kept


def earlier(folder: Path, now: set[str]) -> list[Result]:
    """Return the stored results of students who are not among those graded now."""
    stored = map(read_result, sorted((folder / "results").glob("*.json")))
    return [r for r in stored if r is not None and r.student not in now]


def read_result(path: Path) -> Result | None:
    """Return a stored result, or None where there is none that can be read."""
    try:
        return Result(**json.loads(path.read_text(encoding="utf8")))
    except (OSError, ValueError, TypeError):
        return None


def digest(*files: Path) -> str:
    """Return one digest of the content of files."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
