"""The command line of `make grade`, and an answer to each way of getting it wrong."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from common import ROOT
from grader.cells import COURSE, source_names
from grader.sandbox import Limits

EXAMPLE = "make grade SUBMISSIONS=folder ASSIGNMENT=pruning"


def parsed(arguments: list[str] | None, about: str) -> argparse.Namespace:
    """Return what the command line asks for.

    Raises:
        SystemExit: If something is missing or not understood; the text names it.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("submissions", type=submissions_folder)
    parser.add_argument("assignment")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--course", type=Path, default=COURSE)
    parser.add_argument("--seed", type=whole("SEED", least=0))
    parser.add_argument("--trust", action="store_true")
    parser.add_argument("--accept", default="")
    parser.add_argument("--limits", default=Limits(), type=limits)
    parser.add_argument("--jobs", default=os.cpu_count() or 1, type=whole("JOBS"))
    options = parser.parse_args(arguments)
    options.assignment = assignment_name(options.assignment, options.course)
    return options


def whole(name: str, *, least: int = 1) -> Callable[[str], int]:
    """Return a function that reads a whole number of a variable of `make`."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise SystemExit(f"{name}={text}: write a whole number from {least}")
        return int(text)

    return read


def submissions_folder(text: str) -> Path:
    """Return the folder to grade, which is not the book's own."""
    if not text:
        raise SystemExit(
            f"SUBMISSIONS is missing; name the folder with what came back: {EXAMPLE}"
        )
    if Path(text).resolve() in (ROOT, *ROOT.parents):
        raise SystemExit(
            f"SUBMISSIONS={text} is where this book lies; "
            "put what came back into a folder of its own"
        )
    return Path(text)


def assignment_name(text: str, course: Path) -> str:
    """Return the name of an assignment, which may also be told by its number."""
    names = source_names(course)
    if not text:
        raise SystemExit(f"ASSIGNMENT is missing; one of: {', '.join(names)}")
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    return text.lower() if text.lower() in names else text


def limits(text: str) -> Limits:
    """Return the limits, those that are named changed.

    Example:
        >>> limits('{"cell_seconds": 200}').cell_seconds
        200
    """
    names = [field.name for field in fields(Limits)]
    try:
        given = json.loads(text)
        if not isinstance(given, dict) or not given.keys() <= set(names):
            raise ValueError
        if not all(type(v) in (int, float) and v > 0 for v in given.values()):
            raise ValueError
    except ValueError:
        raise SystemExit(
            f"LIMITS={text} is not understood; write numbers above 0 with their names, "
            f"""such as LIMITS='{{"cell_seconds": 200}}'; names: {", ".join(names)}"""
        ) from None
    return Limits(**asdict(Limits()) | given)
