"""Published tables in the tests: the real ones if they are cached, or small copies."""

import dataclasses
import hashlib
import io
from pathlib import Path

import pytest
import torch

from effdl.data.download import Download, cache_folder
from effdl.nas.hardware.pixel1_table import INDENTED, PUBLISHED


def skip_unless_cached(*downloads: Download) -> None:
    """Skip the test that calls this if one of the files is not in the cache."""
    for download in downloads:
        if not (cache_folder() / download.name).is_file():
            pytest.skip(f"no {download.name} in the folder EFFDL_CACHE")


def skip_unless_pixel1() -> None:
    """Skip the test that calls this if neither copy of the table is in the cache."""
    copies = (cache_folder() / copy.name for copy in (PUBLISHED, INDENTED))
    if not any(copy.is_file() for copy in copies):
        pytest.skip(f"no {PUBLISHED.name} in the folder EFFDL_CACHE")


def put(cache: Path, download: Download, content: bytes) -> Download:
    """Put a file into the cache; return a download of which it is the right file."""
    path = cache / download.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(download, size=len(content), sha256=digest)


def as_pt(content: object) -> bytes:
    """Return what a .pt file with this content holds."""
    memory = io.BytesIO()
    torch.save(content, memory)
    return memory.getvalue()
