"""A kernel for code that nobody trusts: no network, no files but its own, and limits.

bubblewrap starts the kernel in namespaces of its own. It sees the system's programs,
Python and the library, all read-only; a scratch folder that is thrown away; no other
submission, no solution, no gradebook. A watcher ends it when it uses too much memory,
too many processes or too much disk. The grader talks to it through sockets in the
scratch folder.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from common import ROOT

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache",
          "/etc/fonts", "/etc/localtime")  # fmt: skip
GONE = suppress(OSError, psutil.Error)  # a process or a file may be gone already


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes:
        cell_seconds: Wall time of one cell.
        total_seconds: Wall time of the whole notebook.
        memory_mb: Resident memory of all its processes together.
        processes: How many processes it may have at once.
        disk_mb: What it may write.
        output_kb: What one cell may print.
    """

    cell_seconds: float = 90.0
    total_seconds: float = 240.0
    memory_mb: float = 2500.0
    processes: int = 16
    disk_mb: float = 100.0
    output_kb: float = 500.0


def works() -> bool:
    """Return whether bubblewrap is here and allowed to make its namespaces."""
    if not shutil.which("bwrap"):
        return False
    probe = [*walls(Path("/nowhere"), scratch=False), "/bin/true"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


def walls(scratch_folder: Path, *, scratch: bool = True) -> list[str]:
    """Return the command that puts what follows it behind walls."""
    command = ["bwrap", "--unshare-all", "--unshare-user"]
    command += ["--uid", "1000", "--gid", "1000"]
    command += ["--disable-userns", "--die-with-parent", "--new-session"]
    command += ["--cap-drop", "ALL", "--hostname", "grader", "--proc", "/proc"]
    command += ["--dev", "/dev", "--size", str(2**26), "--tmpfs", "/dev/shm"]
    command += ["--size", str(2**26), "--tmpfs", "/tmp"]
    for path in dict.fromkeys((*SYSTEM, sys.base_prefix, sys.prefix)):
        command += ["--ro-bind-try", path, path]
    for path in (ROOT / "lib", ROOT / "data"):
        command += ["--ro-bind-try", str(path), str(path)]
    if scratch:
        command += ["--bind", str(scratch_folder), str(scratch_folder)]
        command += ["--chdir", str(scratch_folder)]
    return command


def environment(scratch: Path) -> dict[str, str]:
    """Return the variables that the kernel sees: nothing of the teacher's own."""
    one = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "USER": "student",
        "LANG": "C.UTF-8",
        "MPLCONFIGDIR": str(scratch),
        "IPYTHONDIR": str(scratch / "ipython"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT / "lib"),  # the library beside this grader
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        **dict.fromkeys(one, "1"),
    }


class Kernel:
    """A kernel that runs, and the thread that watches it.

    Attributes:
        ended: Why it was ended, or empty while it lives.
    """

    def __init__(
        self, connection: Path, limits: Limits, *, trusted: bool = False
    ) -> None:
        self.limits, self.scratch, self.ended = limits, connection.parent, ""
        copy_fonts(self.scratch)
        command = [] if trusted else walls(self.scratch)
        command += [sys.executable, "-m", "ipykernel_launcher", "-f", str(connection)]
        command += ["--HistoryManager.enabled=False", "--log-level=50"]
        self.process = subprocess.Popen(
            command, env=environment(self.scratch), cwd=self.scratch,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: restrict(limits),
        )  # fmt: skip
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def end(self, reason: str) -> None:
        """Kill the kernel and all that it started."""
        self.ended = self.ended or reason
        for process in family(self.process.pid):
            with GONE:
                process.kill()
        with GONE:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _watch(self) -> None:
        started = time.monotonic()
        while not self.ended:
            if self.process.poll() is not None:
                self.ended = "its process ended"
                return
            reason = self._too_much(time.monotonic() - started)
            if reason:
                self.end(reason)
                return
            time.sleep(0.1)

    def _too_much(self, seconds: float) -> str:
        """Return the limit that is passed, or nothing."""
        limits, members = self.limits, family(self.process.pid)
        memory = 0
        for member in members:
            with GONE:
                memory += member.memory_info().rss
        if memory > 1e6 * limits.memory_mb:
            return f"it used more than {limits.memory_mb:.0f} MB of memory"
        if len(members) > limits.processes:
            return f"it started more than {limits.processes} processes"
        if seconds > limits.total_seconds:
            return f"it ran longer than {limits.total_seconds:.0f} s in all"
        if folder_bytes(self.scratch) > 1e6 * limits.disk_mb:
            return f"it wrote more than {limits.disk_mb:.0f} MB"
        return ""


def restrict(limits: Limits) -> None:
    """Set the limits that the system itself enforces, in the child."""
    disk, memory = int(1e6 * limits.disk_mb), int(2e6 * limits.memory_mb)
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    seconds = int(limits.total_seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


def family(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def folder_bytes(folder: Path) -> int:
    """Return how much lies in a folder that somebody else is changing."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with GONE:
                total += Path(root, name).lstat().st_size
    return total


def copy_fonts(scratch: Path) -> None:
    """Put matplotlib's list of fonts there, which costs seconds to make."""
    import matplotlib as mpl

    for path in Path(mpl.get_cachedir()).glob("fontlist-*.json"):
        shutil.copy(path, scratch)
