"""fetch against a server on this machine that cuts, alters, refuses and resumes."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from effdl.data.download import ATTEMPTS, Download, cache_folder, fetch

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
RIGHT = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under several names, each with a vice; notes down requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def address(self, name: str) -> str:
        """Return where a name is served."""
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request; the name that is asked for says how badly."""

    def do_GET(self):
        """Answer."""
        name = self.path.strip("/").replace("%20", " ")
        wanted = self.headers.get("Range")
        self.server.asked.append((name, wanted))
        if name == "slow":
            time.sleep(0.2)
        if name == "missing":
            self.send_error(404)
            return
        content = {
            "altered": CONTENT[:-1] + b"!",
            "long": CONTENT + b"!",
            "short": CONTENT[:-5],
        }.get(name, CONTENT)
        start = 0
        if wanted and name != "restarts":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        shifted = start - 7 if name == "wrong part" else start
        self.send_response(206 if start else 200)
        if start:
            end = len(content) - 1
            self.send_header("Content-Range", f"bytes {shifted}-{end}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - shifted))
        self.end_headers()
        body = content[shifted:]
        if name == "cuts" or (name == "cuts once" and not start):
            body = body[: len(body) // 2]
        if name == "cuts at once":
            body = b""
        self.wfile.write(body)

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EFFDL_ONLINE", raising=False)
    return tmp_path / "cache"


def wanted(server, *names: str) -> Download:
    mirrors = tuple(server.address(name.replace(" ", "%20")) for name in names)
    return Download("folder/data.bin", len(CONTENT), RIGHT, mirrors)


def files_in(cache) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_file_arrives_whole_under_its_name(server, cache):
    path = fetch(wanted(server, "good"), online=True)
    assert path == cache / "folder" / "data.bin"
    assert path.read_bytes() == CONTENT
    assert files_in(cache) == ["data.bin"]


def test_the_second_call_asks_nobody(server):
    fetch(wanted(server, "good"), online=True)
    fetch(wanted(server, "good"), online=False)
    fetch(wanted(server, "good"), online=True)
    assert server.asked == [("good", None)]


def test_two_at_once_download_it_once(server, cache):
    """Each opens the folder for itself, as two processes do."""
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(fetch, wanted(server, "slow"), online=True) for _ in "ab"]
    assert [call.result().read_bytes() for call in calls] == [CONTENT, CONTENT]
    assert server.asked == [("slow", None)]
    assert files_in(cache) == ["data.bin"]


def test_the_environment_allows_the_network(server, monkeypatch):
    monkeypatch.setenv("EFFDL_ONLINE", "1")
    assert fetch(wanted(server, "good")).read_bytes() == CONTENT


@pytest.mark.parametrize("setting", [None, "0", ""])
def test_without_permission_nobody_is_asked(server, monkeypatch, cache, setting):
    if setting is not None:
        monkeypatch.setenv("EFFDL_ONLINE", setting)
    with pytest.raises(FileNotFoundError) as caught:
        fetch(wanted(server, "good"))
    for part in (
        "folder/data.bin",
        "0.1 MB",
        "EFFDL_ONLINE=1",
        "online=True",
        str(cache),
    ):
        assert part in str(caught.value)
    assert server.asked == []
    assert not cache.exists()


def test_an_argument_overrules_the_environment(server, monkeypatch):
    monkeypatch.setenv("EFFDL_ONLINE", "1")
    with pytest.raises(FileNotFoundError):
        fetch(wanted(server, "good"), online=False)


def test_a_cut_connection_is_resumed_where_it_broke(server, cache):
    assert fetch(wanted(server, "cuts once"), online=True).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.asked == [("cuts once", None), ("cuts once", f"bytes={half}-")]
    assert files_in(cache) == ["data.bin"]


def test_an_interrupted_download_goes_on_in_the_next_call(server, cache):
    part = cache / "folder" / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    assert fetch(wanted(server, "good"), online=True).read_bytes() == CONTENT
    assert server.asked == [("good", "bytes=1000-")]


def test_what_one_mirror_gave_the_next_one_completes(server):
    path = fetch(wanted(server, "cuts", "good"), online=True)
    assert path.read_bytes() == CONTENT
    name, resumed = server.asked[-1]
    assert name == "good"
    assert int(resumed.removeprefix("bytes=").removesuffix("-")) > len(CONTENT) // 2


def test_a_server_that_cannot_resume_begins_again(server, cache):
    part = cache / "folder" / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    path = fetch(wanted(server, "restarts"), online=True)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("restarts", "bytes=1000-")]


def test_a_server_that_sends_another_part_is_left_alone(server, cache):
    part = cache / "folder" / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(ConnectionError, match=r"asked for bytes 1000-.*'bytes 993-"):
        fetch(wanted(server, "wrong part"), online=True)
    assert fetch(wanted(server, "wrong part", "good"), online=True).is_file()
    assert server.asked[-1] == ("good", "bytes=1000-")


@pytest.mark.parametrize(
    "first", ["missing", "altered", "long", "short", "cuts at once"]
)
def test_when_the_first_mirror_fails_the_second_is_asked(server, cache, first):
    path = fetch(wanted(server, first, "good"), online=True)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1][0] == "good"
    assert files_in(cache) == ["data.bin"]


@pytest.mark.parametrize("vice", ["altered", "long"])
def test_an_altered_file_never_gets_its_name_and_is_not_kept(server, cache, vice):
    with pytest.raises(ConnectionError, match="SHA-256 is wrong"):
        fetch(wanted(server, vice), online=True)
    assert files_in(cache) == []


def test_a_truncated_file_never_gets_its_name_but_is_kept_to_go_on(server, cache):
    message = f"{len(CONTENT) - 5} of {len(CONTENT)} bytes in the last of 3 attempts"
    with pytest.raises(ConnectionError, match=message):
        fetch(wanted(server, "short"), online=True)
    assert files_in(cache) == ["data.bin.part"]
    assert len(server.asked) == ATTEMPTS


def test_a_partial_file_of_something_else_is_thrown_away(server, cache):
    part = cache / "folder" / "data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 1000)
    assert fetch(wanted(server, "good"), online=True).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == ["bytes=1000-", None]


def test_when_all_mirrors_fail_each_is_named_with_its_reason(server, cache):
    closed = "http://127.0.0.1:1/"  # nobody listens on port 1
    both = Download("data.bin", 5, RIGHT, (server.address("missing"), closed))
    with pytest.raises(ConnectionError) as caught:
        fetch(both, online=True)
    for part in ("data.bin", server.address("missing"), "404", closed, str(cache)):
        assert part in str(caught.value)
    assert files_in(cache) == []


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"!"])
def test_a_damaged_file_in_the_cache_is_named_and_replaced(server, cache, damage):
    path = cache / "folder" / "data.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"data.bin is truncated or altered.*again"):
        fetch(wanted(server, "good"), online=False)
    assert fetch(wanted(server, "good"), online=True).read_bytes() == CONTENT


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("EFFDL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "effdl"
    monkeypatch.setenv("EFFDL_CACHE", "~/elsewhere")
    assert cache_folder() == tmp_path / "elsewhere"
