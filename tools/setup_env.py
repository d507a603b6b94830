"""Make the environment that builds and tests the book, or repair it.

    python3 tools/setup_env.py .venv

Safe to interrupt: what a broken run left half-written is found and installed again.
Does nothing when the environment already matches requirements.txt. This file must
parse on Python 3.6 and later, so that an old one gets a sentence, no SyntaxError.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_GB = 8.0
STAMP = "effdl-stamp"
OWN = {"bin", "include", "lib", "lib64", ".gitignore", STAMP}  # what venv makes first
PIP_WORKS = "import pip._internal.cli.main, pip._internal.commands.install"

# Run inside the environment: prints "name==version" of every distribution whose
# files are not all there, as an interrupted pip leaves them.
BROKEN = """
import csv, importlib.metadata, os
for d in importlib.metadata.distributions():
    name = d.metadata["Name"] if d.metadata else None
    if not name or name.lower() == "effdl":
        continue
    record = d.read_text("RECORD")  # not d.files, which leaves out what is missing
    rows = [r for r in csv.reader((record or "").splitlines()) if len(r) == 3 and r[2]]
    paths = [(str(d.locate_file(r[0])), int(r[2])) for r in rows]
    whole = record is not None and all(
        os.path.exists(p) and os.path.getsize(p) == size for p, size in paths)
    if not whole:
        print(name + "==" + d.version)
"""


class SetupError(Exception):
    """Something the person at the keyboard can do something about."""


def main() -> int:
    """Set up the environment named on the command line; return the exit status."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")
    venv = target if target.is_absolute() else ROOT / target
    try:
        check_python(sys.version_info[:2])
        venv.parent.mkdir(parents=True, exist_ok=True)
        with lock_for(venv).open("w") as lock:  # two makes at once take turns
            fcntl.flock(lock, fcntl.LOCK_EX)
            set_up(venv)
    except SetupError as error:
        print("\nset-up: {}".format(error), file=sys.stderr)  # noqa: UP032
        return 1
    except OSError as error:
        if error.errno != 28:
            raise
        print("\nset-up: " + disk_full(venv), file=sys.stderr)
        return 1
    return 0


def check_python(version: tuple) -> None:
    """Refuse a Python for which the pins do not resolve."""
    if not OLDEST <= tuple(version) <= NEWEST:
        raise SetupError(
            "Python {}.{} is not supported, the book needs 3.11, 3.12 or 3.13; "
            "name one with `make PYTHON=python3.12 ...`".format(*version)
        )


def set_up(venv: Path) -> None:
    """Bring ``venv`` to what requirements.txt says."""
    mention_another_python(venv)
    stamp = venv / STAMP
    wanted = fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted and imports(venv):
        return
    started = time.time()
    stamp.unlink(missing_ok=True)
    check_disk(venv)
    if not (python_of(venv).exists() and runs(venv, PIP_WORKS)):
        check_may_be_cleared(venv)
        print(f"set-up: making {venv} with Python {sys.version.split()[0]}")
        clear = ["--clear"] if venv.exists() else []
        run([sys.executable, "-m", "venv", *clear, str(venv)], venv)
    print("set-up: installing the pinned packages (some minutes, about 6.5 GB)")
    pip(venv, "install", "-r", str(ROOT / "requirements.txt"))
    for requirement in filter(ours, broken_in(venv)):
        print(f"set-up: {requirement} was half-written, installing it again")
        pip(venv, "install", "--ignore-installed", "--no-deps", requirement)
    pip(venv, "install", "-q", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    if not imports(venv):
        raise SetupError(
            "the installed packages cannot be imported; "
            f"remove {venv} and run the same command again"
        )
    partial = stamp.with_suffix(".part")
    partial.write_text(wanted)
    partial.replace(stamp)
    print(f"set-up: done in {time.time() - started:.0f} s")


def lock_for(venv: Path) -> Path:
    """Return the file that a set-up of this environment holds while it runs."""
    name = hashlib.sha256(str(venv.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), "effdl-set-up-" + name + ".lock")


def fingerprint() -> str:
    """Return a digest of everything that is installed."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    digest.update(str(ROOT).encode())
    return digest.hexdigest()


def ours(requirement: str) -> bool:
    """Return whether a distribution is pinned, or comes along with torch."""
    name = requirement.partition("==")[0].lower()
    lines = (ROOT / "requirements.txt").read_text().lower().splitlines()
    pinned = {line.partition("==")[0] for line in lines}
    return name in pinned or name.startswith(("nvidia-", "cuda-", "triton"))


def python_of(venv: Path) -> Path:
    """Return the interpreter of the environment."""
    return venv / "bin" / "python"


def runs(venv: Path, code: str) -> bool:
    """Return whether ``code`` runs in the environment without an error."""
    command = [str(python_of(venv)), "-c", code]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, check=False, **silent).returncode == 0


def imports(venv: Path) -> bool:
    """Return whether the environment holds this checkout's library."""
    where = "import effdl, pathlib; p = pathlib.Path(effdl.__file__).resolve(); "
    return runs(venv, where + "assert p.is_relative_to({!r})".format(str(ROOT / "lib")))


def broken_in(venv: Path) -> list:
    """Return the distributions that an interrupted run left incomplete."""
    command = [str(python_of(venv)), "-c", BROKEN]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return found.stdout.split()


def pip(venv: Path, *arguments: str) -> None:
    """Run the environment's pip and show its progress."""
    run([str(python_of(venv)), "-m", "pip", *arguments], venv)


def run(command: list, venv: Path) -> None:
    """Run a command, show what it prints, and explain the failures we know."""
    env = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUNBUFFERED="1")
    tail = []
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            if not line.startswith(("Requirement already", "Looking in")):
                print("  " + shorten(line.rstrip()), flush=True)
            tail = [*tail[-40:], line]
    if process.returncode != 0:
        raise SetupError(explain("".join(tail), venv))


def shorten(line: str) -> str:
    """Keep one line of pip's progress on one line of the screen."""
    return line if len(line) <= 110 else line[:107] + "..."


def explain(output: str, venv: Path) -> str:
    """Return one sentence for the end of a failed installation."""
    if "No space left" in output or "Errno 28" in output:
        return disk_full(venv)
    offline = (
        "NewConnectionError",
        "Failed to establish",
        "Name or service",
        "Temporary failure",
        "getaddrinfo",
        "ConnectTimeout",
        "Connection refused",
        "Network is unreachable",
        "Cannot connect to proxy",
    )
    if any(sign in output for sign in offline):
        return (
            "the package index cannot be reached; connect to the network, or name an "
            "environment that has the packages: make VENV=path ..."
        )
    return "installing failed, see the lines above; the same command goes on from here"


def mention_another_python(venv: Path) -> None:
    """Say that an environment keeps the Python that it was made with."""
    made = [path.name for path in (venv / "lib").glob("python3.*")]
    asked = "python{}.{}".format(*sys.version_info)
    if made and asked not in made:
        print(f"set-up: {venv} keeps its {made[0]}; for {asked}, take another VENV")


def check_may_be_cleared(venv: Path) -> None:
    """Refuse to empty a folder that is no environment: it may hold anything."""
    if not venv.exists():
        return
    found = {path.name for path in venv.iterdir()} if venv.is_dir() else {venv.name}
    if "pyvenv.cfg" not in found and not found <= OWN:
        raise SetupError(
            f"{venv} is there and is no Python environment; "
            "name another place: make VENV=path ..."
        )


def check_disk(venv: Path) -> None:
    """Refuse to begin what cannot end."""
    if (venv / "bin").exists():
        return
    if shutil.disk_usage(str(venv.parent)).free / 1e9 < NEEDED_GB:
        raise SetupError(disk_full(venv))


def disk_full(venv: Path) -> str:
    """Return the sentence for a disk without room."""
    free = shutil.disk_usage(str(venv.parent)).free / 1e9
    return (
        f"the disk of {venv} has {free:.1f} GB free and the environment needs "
        f"{NEEDED_GB:.0f} GB; make room, or put it elsewhere: make VENV=path ..."
    )


if __name__ == "__main__":
    sys.exit(main())
