"""What the programs in tools/ share: where things are, and how to find notebooks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SITE = ROOT / "_build" / "html"
PLACEHOLDER = "OWNER/REPO"

INSTALL_CELL = """\
# On Colab, or wherever the library is missing: install it. Moves nothing else.
import importlib.util
import os

if importlib.util.find_spec("effdl") is None:
    address = os.environ.get("EFFDL_ADDRESS", "git+{address}")
    %pip install -q "effdl @ {{address}}"\
"""

# Of notebooks that need the extra "onnx".
INSTALL_CELL_ONNX = """\
# On Colab, or wherever something is missing: install it. Moves nothing else.
import importlib.util
import os

if None in map(importlib.util.find_spec, ("effdl", "onnxruntime", "onnxscript")):
    address = os.environ.get("EFFDL_ADDRESS", "git+{address}")
    %pip install -q "effdl[onnx] @ {{address}}"\
"""


def book_notebooks() -> list[Path]:
    """Return the notebooks of the book, without the sources of assignments."""
    found = NOTEBOOKS.rglob("*.ipynb")
    hidden = {"assignments", ".ipynb_checkpoints"}
    return sorted(p for p in found if not hidden & set(p.relative_to(ROOT).parts))


def repository_address() -> str:
    """Return the repository's address, which stands once, in _config.yml."""
    for line in (ROOT / "_config.yml").read_text(encoding="utf8").splitlines():
        key, _, value = line.strip().partition(":")
        if key == "url" and "//" in value:
            return value.split("#")[0].strip()
    raise SystemExit("_config.yml has no repository url")


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary name beside ``path``, then rename: all or nothing."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf8")
    partial.replace(path)


def tracked_files() -> list[Path]:
    """Return the files under version control, or all sources where git is absent."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # there is no git
        listed = None
    if listed is None or listed.returncode:
        hidden = {".git", ".venv", "_build", "dist", "__pycache__"}
        hidden |= {".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
        every = (p for p in ROOT.rglob("*") if p.is_file())
        return sorted(p for p in every if not hidden & set(p.relative_to(ROOT).parts))
    return sorted(
        ROOT / n for n in listed.stdout.split("\0") if n and (ROOT / n).is_file()
    )


def one_thread(**extra: str) -> dict[str, str]:
    """Return the environment with numerical libraries held to one thread."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1"), **extra}
