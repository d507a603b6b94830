"""Build the HTML book from the executed notebooks; every warning is an error.

A build that was interrupted or failed leaves a mark, and the next one starts from
nothing. What Sphinx does not watch (the theme's files, the local extensions, the
library behind the API pages, the data behind the tables) is watched here: a change
rebuilds all pages.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import PLACEHOLDER, ROOT, SITE, repository_address
from setup_env import lock_for

BUILD = ROOT / "_build"
UNFINISHED = BUILD / "unfinished"
WATCHED = BUILD / "watched.sha256"
WATCH = ("_config.yml", "_toc.yml", "requirements.txt", "book/_ext", "book/_static",
         "book/_extra", "book/references.bib", "lib/effdl", "data",
         "notebooks/assignments/release")  # fmt: skip
STEP = re.compile(
    r"^(reading sources|writing output|copying images)\.\.\. \[ *(\d+)%\]"
)


def main() -> int:
    """Build, and say where the first page is and how long it took."""
    started = time.time()
    try:
        with lock_for(BUILD).open("w") as lock:  # two makes at once take turns
            fcntl.flock(lock, fcntl.LOCK_EX)
            status = build()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(ROOT).free / 1e6
        print(f"book: the disk is full ({free:.0f} MB free); make room and run again")
        return 1
    if status:
        print("book: the build failed; the warnings above are its errors")
        return status
    if PLACEHOLDER in repository_address():
        print("book: the address is not set yet: make address URL=https://...")
    print(f"book: {SITE / 'index.html'} in {time.time() - started:.1f} s")
    return 0


def build() -> int:
    """Run Jupyter Book, from nothing where the last build did not end."""
    if UNFINISHED.exists():
        print("book: the last build did not end well, starting from nothing")
        clear()
    BUILD.mkdir(exist_ok=True)
    UNFINISHED.touch()
    now = watched()
    old = WATCHED.read_text() if WATCHED.exists() else ""
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build"]
    command += ["--warningiserror", "--nitpick", "--keep-going"]
    command += ["--all"] if old and old != now else []
    status = run([*command, str(ROOT)])
    if status == 0:
        WATCHED.write_text(now)
        UNFINISHED.unlink()
    return status


def clear() -> None:
    """Remove what was built but the mark, which stays until a build has ended."""
    for path in BUILD.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != UNFINISHED:
            path.unlink()


def run(command: list[str]) -> int:
    """Run the builder; show warnings at once and progress on one line a step."""
    shown, tail = "", []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf8",
        errors="replace",
    ) as process:
        for raw in process.stdout or ():
            line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", raw).rstrip().split("\r")[-1]
            tail = [*tail[-30:], line]
            step = STEP.match(line)
            if step and (step[1] != shown or step[2] == "100"):
                shown = step[1]
                print(f"book: {shown} {step[2]} %", flush=True)
            elif re.search(r"WARNING|ERROR|CRITICAL|Traceback|Error:", line):
                print(f"  {line}", flush=True)
    if process.returncode:
        print("\n".join(f"  {line}" for line in tail))
        if any("No space left on device" in line for line in tail):
            raise OSError(errno.ENOSPC, "the builder found the disk full")
    return process.returncode


def watched() -> str:
    """Return a digest of the inputs that Sphinx does not look at."""
    digest = hashlib.sha256()
    for name in WATCH:
        path = ROOT / name
        files = (
            sorted(p for p in path.rglob("*") if p.is_file())
            if path.is_dir()
            else [path]
        )
        for file in files:
            if "__pycache__" not in file.parts and file.exists():
                digest.update(str(file.relative_to(ROOT)).encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
