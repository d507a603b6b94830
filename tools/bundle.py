"""Pack the site, the notebooks, the data and the wheel for a class without internet."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from common import NOTEBOOKS, ROOT, SITE, book_notebooks

DIST = ROOT / "dist"
NAME = "efficient-deep-learning"
TEXTS = ("requirements.txt", "LICENSE", "LICENSE-TEXT.md", "THIRD-PARTY.md")
README = """\
Efficient deep learning, executable: everything for a class without internet

  site/index.html   the book; open it in a browser, no server needed
  notebooks/        the notebooks, with their stored outputs, and the assignments
  data/             the tables behind the book (also inside the wheel)
  wheels/           the library: python -m pip install --no-index --no-deps wheels/*.whl

The notebooks need Python 3.11 to 3.13 with torch, torchvision, timm, fvcore, numpy,
pandas, scikit-learn, matplotlib, psutil and Jupyter. Carry their wheels on the same
stick, from a machine of the same kind:

  python -m pip download -d wheels -r requirements.txt
"""


def main() -> int:
    """Write dist/efficient-deep-learning.zip and say how large it is."""
    DIST.mkdir(exist_ok=True)
    wheel = build_wheel(DIST / "wheels")
    archive = DIST / f"{NAME}.zip"
    partial = archive.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(f"{NAME}/README.txt", README)
        add(bundle, wheel, f"wheels/{wheel.name}")
        for name in TEXTS:
            add(bundle, ROOT / name, name)
        released = sorted((NOTEBOOKS / "assignments" / "release").rglob("*.ipynb"))
        for notebook in (*book_notebooks(), *released):
            add(bundle, notebook, str(notebook.relative_to(ROOT)))
        for folder, place in ((SITE, "site"), (ROOT / "data", "data")):
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                add(bundle, file, f"{place}/{file.relative_to(folder)}")
    partial.replace(archive)
    print(f"bundle: {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    return 0


def add(bundle: zipfile.ZipFile, file: Path, place: str) -> None:
    """Add a file under the bundle's own folder."""
    bundle.write(file, f"{NAME}/{place}")


def build_wheel(folder: Path) -> Path:
    """Return the wheel of the package, built without the network."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("effdl-*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    command += ["--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("effdl-*.whl"))


if __name__ == "__main__":
    sys.exit(main())
