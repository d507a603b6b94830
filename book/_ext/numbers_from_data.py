"""Make every measured number available to the pages as ``{{ key }}``.

The numbers stand in ``data/results``, in the files with "numbers" in their names,
each row with a ``key`` and the ``text`` to print. A page that uses an unknown key
does not build, and a changed number rebuilds the pages.
"""

from __future__ import annotations

import csv
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError


def read_numbers(folder: Path) -> dict[str, str]:
    """Return text by key from every ``*numbers*.csv`` of the folder.

    Raises:
        ConfigError: If a key is no name, is there twice, or has no text.
    """
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*numbers*.csv")):
        for key, text in _rows(path):
            if not key.isidentifier():  # {{ a-b }} would be a difference
                raise ConfigError(f"{path.name}: key {key!r} is not a name")
            if key in texts:
                raise ConfigError(f"{path.name}: key {key!r} is there twice")
            if not text:
                raise ConfigError(f"{path.name}: key {key!r} has no text")
            texts[key] = text
    return texts


def _rows(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf8") as lines:
        rows = csv.DictReader(lines)
        if not {"key", "text"} <= set(rows.fieldnames or ()):
            raise ConfigError(f"{path.name} needs the columns key and text")
        return [(row["key"], row["text"]) for row in rows]


def load(app: Sphinx, config: Config) -> None:
    """Add the numbers to the substitutions of the configuration."""
    numbers = read_numbers(Path(app.srcdir, "data", "results"))
    config["myst_substitutions"] = {**config["myst_substitutions"], **numbers}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the loader with Sphinx."""
    app.connect("config-inited", load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
