"""Run the notebooks as Colab does: plain packages, no checkout, their own install cell.

    make colab-check COLAB_PYTHON=python3.13

Makes a fresh environment, puts the packages there that Colab ships, builds the wheel,
and runs each notebook from an empty folder with EFFDL_ADDRESS naming the wheel. The
install cell must move nothing that was there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bundle import build_wheel
from common import book_notebooks

# What Colab shipped in August 2026; its list: github.com/googlecolab/backend-info.
SHIPPED = (
    "torch==2.11.0",
    "torchvision==0.26.0",
    "timm==1.0.28",
    "numpy==2.1.3",
    "pandas==2.2.3",
    "matplotlib==3.10.0",
    "scikit-learn==1.6.1",
    "scipy==1.16.3",
    "pillow==11.3.0",
    "psutil",
    "ipython==7.34.0",
    "ipykernel==6.17.1",
    "ipywidgets==7.7.1",
    "nbclient",
)
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
"""


def main() -> int:
    """Run every notebook; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="Colab has 3.13")
    parser.add_argument("--venv", type=Path, help="reuse this plain environment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv = options.venv or place / "venv"
        python = str(venv / "bin" / "python")
        if not venv.exists():
            subprocess.run([options.python, "-m", "venv", str(venv)], check=True)
            print("colab-check: installing what Colab ships", flush=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *SHIPPED], check=True)
        wheel = build_wheel(place / "wheels")
        return check(python, wheel, place)


def check(python: str, wheel: Path, place: Path) -> int:
    """Run the notebooks in ``place`` and compare the packages before and after."""
    before = packages(python)
    failed = 0
    for notebook in book_notebooks():
        work = place / notebook.stem
        work.mkdir()
        shutil.copy(notebook, work)
        env = {**os.environ, "EFFDL_ADDRESS": wheel.as_uri(), "MPLBACKEND": "Agg"}
        env.pop("PYTHONPATH", None)
        command = [python, "-c", EXECUTE, notebook.name]
        run = subprocess.run(command, cwd=work, env=env, check=False)
        failed += run.returncode != 0
        print(f"  {'FAILED' if run.returncode else 'ok':7}{notebook.stem}", flush=True)
    after = packages(python)
    moved = {name for name in before if before[name] != after.get(name)}
    added = sorted(set(after) - set(before))
    print(
        f"colab-check: {failed} failed; added {', '.join(added)}; moved {sorted(moved)}"
    )
    return failed + len(moved)


def packages(python: str) -> dict[str, str]:
    """Return the installed packages with their versions."""
    command = [python, "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pairs = (line.partition("==") for line in listed.split())
    return {name: version for name, _, version in pairs}


if __name__ == "__main__":
    sys.exit(main())
