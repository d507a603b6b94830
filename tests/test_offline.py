"""The guard that takes the network away from the notebooks lets none through."""

import os
import subprocess
import sys

import nbformat
import pytest

from common import ROOT, one_thread

GUARD = str(ROOT / "tools" / "offline")
LOCAL = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b"hello")).start()
print(socket.create_connection(server.getsockname()).recv(5).decode())
"""


def guarded(code: str) -> subprocess.CompletedProcess:
    env = one_thread(PYTHONPATH=GUARD)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "code",
    [
        "import requests; requests.get('https://example.org', timeout=2)",
        "import urllib.request as u; u.urlopen('http://192.0.2.1', timeout=2)",
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)",
        "import socket; socket.socket().connect_ex(('192.0.2.1', 80))",
        "import socket; socket.getaddrinfo('example.org', 443)",
        "import socket as s; s.socket(type=s.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 9))",
    ],
)
def test_a_connection_that_leaves_the_machine_is_refused(code):
    run = guarded(code)
    assert run.returncode == 1
    assert "the network is off in this run" in run.stderr


def test_this_machine_can_still_be_reached():
    assert guarded(LOCAL).stdout.strip() == "hello"


def test_a_notebook_that_downloads_fails_under_nbval(tmp_path):
    cell = "import requests\n\nrequests.get('https://example.org', timeout=2)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path = tmp_path / "planted.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", str(path)]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    env = one_thread(PYTHONPATH=GUARD)
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "the network is off in this run" in run.stdout
