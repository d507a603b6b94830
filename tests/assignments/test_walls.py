"""Every limit by itself: the others are far away, so the remark can be only one."""

import socket
import sys
from pathlib import Path

import pytest

import tiny_assignment as tiny
from grader.sandbox import Limits, works

pytestmark = pytest.mark.skipif(not works(), reason="bubblewrap does not work here")
FAR = {"cell_seconds": 30, "total_seconds": 90, "processes": 200, "disk_mb": 1000}


def remark(code: str, folder: Path, **limits: float) -> str:
    notebook = tiny.with_answers(task_2=code)
    result, _ = tiny.grade(notebook, folder, limits=Limits(**FAR | limits))
    assert result.points == {"task-1": 3, "task-2": 0}
    return "; ".join(result.remarks["task-2"])


def test_processes(tmp_path: Path) -> None:
    code = """
    import subprocess, time
    kept = [subprocess.Popen(["sleep", "20"]) for _ in range(20)]
    time.sleep(10)
    """
    assert "it started more than 16 processes" in remark(code, tmp_path, processes=16)


def test_memory_of_all_processes_together(tmp_path: Path) -> None:
    code = """
    import os, time
    pids = [os.fork() for _ in range(2)]
    kept = bytearray(b"1") * (300 * 10**6)
    time.sleep(10)
    """
    assert "it used more than 800 MB" in remark(code, tmp_path, memory_mb=800)


def test_many_small_files(tmp_path: Path) -> None:
    code = """
    import time
    for name in range(30):
        open(f"{name}.bin", "wb").write(bytes(10**6))
    time.sleep(10)
    """
    assert "it wrote more than 20 MB" in remark(code, tmp_path, disk_mb=20)


def test_what_a_cell_prints(tmp_path: Path) -> None:
    code = """
    import time
    for _ in range(200):
        print("x" * 10_000, flush=True)
        time.sleep(0.02)
    """
    assert "it printed more than fits" in remark(code, tmp_path)


def test_the_network_of_this_machine(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
        import socket
        socket.create_connection({server.getsockname()!r}, timeout=5)
        """
        assert "ConnectionRefusedError" in remark(code, tmp_path)


def test_the_system_and_python_are_read_only(tmp_path: Path) -> None:
    target = Path(sys.prefix, "written-by-a-student")
    try:
        said = remark(f"open({str(target)!r}, 'w').close()", tmp_path)
        assert "Read-only file system" in said
        assert not target.exists()
    finally:
        target.unlink(missing_ok=True)
