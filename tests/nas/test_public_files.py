"""The list of published files: complete, and read without running what they hold."""

import os
import pickle
import re

import pytest

from effdl.data.download import Download, fetch
from effdl.nas.public_files import (
    CELL_ACCURACIES,
    CELL_LATENCIES,
    CELL_NUMBERS,
    FBNET_ARCHITECTURES,
    FBNET_LATENCIES,
    GRAPH_NETWORKS,
    MILLISECOND,
    github_file,
    read_pt,
)
from public_data import as_pt, put, skip_unless_cached

FILES = [
    *(CELL_ACCURACIES, CELL_NUMBERS, *CELL_LATENCIES.values()),
    *(FBNET_ARCHITECTURES, *FBNET_LATENCIES.values(), GRAPH_NETWORKS),
]
KNOWN = {  # noted down when the files were looked at: bytes, and how the sums begin
    "nasbench201/nb201_zen.zip": (1_661_280, "6c9aec8c"),
    "nasbench201/str_arch2idx.pt": (1_536_943, "e1d7b7cc"),
    "nasbench201/latency/raspi4.pt": (141_039, "2fae425c"),
    "nasbench201/latency/pixel3.pt": (141_039, "cf1387da"),
    "nasbench201/latency/eyeriss.pt": (141_039, "6f1dd2f8"),
    "fbnet/arch.pt": (259_631, "ba5e1e45"),
    "fbnet/latency/raspi4.pt": (45_423, "51a9da87"),
    "fbnet/latency/pixel3.pt": (45_423, "ccd89872"),
    "fbnet/latency/eyeriss.pt": (45_423, "eaf78708"),
    "fbnet/latency/fpga.pt": (45_423, "f1f05425"),
    "nasbench-graph/cora.bench": (2_036_857, "5e69b2f9"),
}
NAMES = [download.name for download in FILES]


def test_an_address_names_repository_commit_and_path():
    """Written out for one file."""
    file = github_file("here", 7, "0" * 64, ("a/b", "c0ffee"), "data/d.pt")
    assert file == Download(
        "here",
        7,
        "0" * 64,
        (
            "https://raw.githubusercontent.com/a/b/c0ffee/data/d.pt",
            "https://github.com/a/b/raw/c0ffee/data/d.pt",
        ),
    )


@pytest.mark.parametrize("download", FILES, ids=NAMES)
def test_size_and_sum_are_those_of_the_file_that_was_looked_at(download):
    size, begin = KNOWN[download.name]
    assert download.size == size
    assert download.sha256.startswith(begin)
    assert re.fullmatch("[0-9a-f]{64}", download.sha256)


def test_no_file_is_named_twice_and_each_lies_at_one_commit():
    assert len(set(NAMES)) == len(FILES) == len(KNOWN)
    assert len({download.sha256 for download in FILES}) == len(FILES)
    for download in FILES:
        assert all(re.search(r"/[0-9a-f]{40}/", host) for host in download.mirrors)
        end = download.name.rsplit("/", 1)[1]
        assert all(host.endswith(f"/{end}") for host in download.mirrors)


@pytest.mark.parametrize(
    ("download", "repository"),
    [
        (CELL_ACCURACIES, "automl/NASLib"),
        (CELL_NUMBERS, "HayeonLee/HELP"),
        (FBNET_LATENCIES["fpga"], "HayeonLee/HELP"),
        (GRAPH_NETWORKS, "THUMNLab/NAS-Bench-Graph"),
    ],
)
def test_a_file_comes_from_who_published_it(download, repository):
    assert all(repository in host for host in download.mirrors)


@pytest.mark.parametrize("device", CELL_LATENCIES)
def test_the_latencies_of_a_device_are_in_its_files(device):
    for table in (CELL_LATENCIES, FBNET_LATENCIES):
        assert table[device].name.endswith(f"/{device}.pt")
        assert table[device].mirrors[0].endswith(f"/{device}.pt")


@pytest.mark.parametrize("download", FILES, ids=NAMES)
def test_the_cached_file_is_the_right_one(download):
    skip_unless_cached(download)
    assert fetch(download, online=False).stat().st_size == download.size


def test_a_thousand_milliseconds_are_a_second():
    second = 1000 * MILLISECOND
    assert second == pytest.approx(1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    monkeypatch.delenv("EFFDL_ONLINE", raising=False)
    return tmp_path


def test_plain_numbers_are_read(cache):
    content = {"|none~0|": 3, "values": [0.5, 1.5]}
    assert read_pt(put(cache, CELL_NUMBERS, as_pt(content))) == content


class Harmful:
    """What a pickle can do."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_file_that_would_run_code_is_refused(cache, monkeypatch):
    monkeypatch.chdir(cache)
    with pytest.raises(pickle.UnpicklingError):
        read_pt(put(cache, CELL_NUMBERS, as_pt([Harmful()])))
    assert not (cache / "harm").exists()


def test_a_file_with_another_sum_is_named_and_not_read(cache):
    put(cache, CELL_NUMBERS, as_pt([1]))
    with pytest.raises(ValueError, match=r"str_arch2idx\.pt is truncated or altered"):
        read_pt(CELL_NUMBERS)


def test_a_missing_file_is_named_with_the_way_to_get_it(cache):
    with pytest.raises(FileNotFoundError, match=r"str_arch2idx\.pt .*EFFDL_ONLINE=1"):
        read_pt(CELL_NUMBERS)
