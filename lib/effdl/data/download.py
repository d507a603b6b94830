"""Fetch a file once, and never half of it, never another one.

A file grows under a temporary name, goes on growing where a cut connection left it,
and gets its own name only when its SHA-256 is right. So what is in the cache is whole,
and is read from there ever after, without a network. Of several processes that want
one, the first downloads and the others wait (not on Windows).

    cache        the folder EFFDL_CACHE, by default ~/.cache/effdl
    network      off unless EFFDL_ONLINE=1, or the caller says online=True
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.request import Request, urlopen

BLOCK = 1 << 20  # bytes read at a time
PATIENCE = 30.0  # seconds without a byte
ATTEMPTS = 3  # connections to one mirror


@dataclass(frozen=True)
class Download:
    """A file that exists on the internet.

    Attributes:
        name: Its name in the cache.
        size: In bytes.
        sha256: In 64 hexadecimal digits.
        mirrors: Addresses, tried in this order.
    """

    name: str
    size: int
    sha256: str
    mirrors: tuple[str, ...]


def fetch(download: Download, *, online: bool | None = None) -> Path:
    """Return the path of the file in the cache, after downloading it if need be.

    Args:
        download: What to fetch. ``ConnectionError`` if no mirror gives it whole.
        online: Whether the network may be used; None asks EFFDL_ONLINE.

    Raises:
        FileNotFoundError: If the cache does not have the file, and the network is off.
        ValueError: If the cached file is damaged, and the network is off.

    Example:
        >>> fetch(Download("a.gz", 9, "0" * 64, ()), online=False)
        Traceback (most recent call last):
        FileNotFoundError: a.gz (0.0 MB) is not in ...
    """
    path = cache_folder() / download.name
    if _is_right(path, download):
        return path
    allowed = os.environ.get("EFFDL_ONLINE") == "1" if online is None else online
    way_out = "set EFFDL_ONLINE=1 or pass online=True to download it"
    if not allowed and path.is_file():
        raise ValueError(f"{path} is truncated or altered; {way_out} again")
    if not allowed:
        raise FileNotFoundError(
            f"{download.name} ({download.size / 1e6:.1f} MB) is not in {path.parent}, "
            f"and the network is off; {way_out}, or put the file there"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        if not _is_right(path, download):  # nobody was faster
            _download(path, download)
    return path


def cache_folder() -> Path:
    """Return the folder of downloaded files. It need not exist.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    folder = os.environ.get("EFFDL_CACHE") or Path.home() / ".cache" / "effdl"
    return Path(folder).expanduser().absolute()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread is in such a block for this folder."""
    if sys.platform == "win32":
        yield
        return
    import fcntl  # not on Windows

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # and so the lock ends, as it does when the process ends


def _download(path: Path, download: Download) -> None:
    """Ask one mirror after the other.

    Raises:
        ConnectionError: If no mirror gave the whole and right file.
    """
    partial = path.with_name(f"{path.name}.part")
    failures = []
    for mirror in download.mirrors:
        try:
            _complete(partial, mirror, download)
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"  {mirror}: {error}")
        else:
            partial.replace(path)
            return
    raise ConnectionError(
        f"{download.name} could not be downloaded:\n" + "\n".join(failures) + "\n"
        f"try again later (what arrived is kept), or put the file into {path.parent}"
    )


def _complete(partial: Path, mirror: str, download: Download) -> None:
    """Let the partial file grow until it is whole, and check it.

    Raises:
        ConnectionError: If the connection is cut again and again.
        ValueError: If the mirror has another file; what it gave is deleted then.
    """
    for _ in range(ATTEMPTS):
        had = partial.stat().st_size if partial.is_file() else 0
        if had < download.size:
            had = _continue(partial, mirror, had, download.size)
        has = partial.stat().st_size
        if has >= download.size:
            if _is_right(partial, download):
                return
            partial.unlink()
            if not had:
                raise ValueError("another file than expected: its SHA-256 is wrong")
            # Else the beginning, from an earlier call or mirror, may be what is wrong.
    raise ConnectionError(
        f"{has} of {download.size} bytes in the last of {ATTEMPTS} attempts"
    )


def _continue(partial: Path, mirror: str, had: int, size: int) -> int:
    """Append what one connection gives, or begin again with it.

    Returns:
        How many of the bytes that were there are still there.

    Raises:
        ConnectionError: If the server sends another part than it was asked for.
    """
    headers = {"User-Agent": "effdl", "Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    with urlopen(Request(mirror, headers=headers), timeout=PATIENCE) as answer:
        part = answer.headers.get("Content-Range", "")
        if answer.status != 206:
            had = 0  # this server knows no parts and starts from the beginning
        elif not part.startswith(f"bytes {had}-"):
            raise ConnectionError(f"asked for bytes {had}-, the server sent {part!r}")
        with partial.open("ab" if had else "wb") as file:
            _copy(answer, file, size + 1 - had)  # one byte too many gives it away
    return had


def _copy(source: HTTPResponse, target: BinaryIO, most: int) -> None:
    while most > 0:
        block = source.read(min(BLOCK, most))
        if not block:
            return
        target.write(block)
        most -= len(block)


def _is_right(path: Path, download: Download) -> bool:
    if not path.is_file() or path.stat().st_size != download.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == download.sha256
