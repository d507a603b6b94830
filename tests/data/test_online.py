"""The loaders on small files of the published formats, made here by hand."""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import re
import struct
import tarfile
import warnings

import numpy as np
import pytest
import torch

from effdl.data import online
from effdl.data.download import Download
from effdl.data.online import CIFAR10, FASHION, cifar10, fashion_mnist

ROWS = 4  # images in each of the five training batches, and to test


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    monkeypatch.delenv("EFFDL_ONLINE", raising=False)
    return tmp_path


def as_python_2_wrote_it(pixels: np.ndarray, labels: list[int]) -> bytes:
    """Return the pickle {"data": pixels, "labels": labels}, opcode by opcode.

    The archive was pickled with Python 2 and an old NumPy: byte strings, the array
    function at its old address, and 0 and 1 where NumPy now asks for False and True.
    """

    def text(content: bytes) -> bytes:
        return b"U" + bytes([len(content)]) + content

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    empty += b"(" + number(0) + b"t" + text(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    content = pixels.tobytes()
    shape = b"(" + b"".join(map(number, pixels.shape)) + b"t"
    state = b"(" + number(1) + shape + kind + b"\x89"
    state += b"T" + struct.pack("<i", len(content)) + content + b"tb"
    classes = b"](" + b"".join(map(number, labels)) + b"e"
    return (
        b"\x80\x02}("
        + text(b"data")
        + empty
        + state
        + text(b"labels")
        + classes
        + b"u."
    )


def put(cache, download: Download, content: bytes) -> Download:
    """Put a file into the cache; return a download of which it is the right file."""
    path = cache / download.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(download, size=len(content), sha256=digest)


def archive_of(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return memory.getvalue()


@pytest.fixture
def small_cifar(cache, monkeypatch):
    """Six batches of ROWS images; returns their pixels and labels."""
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (6, ROWS, 3072)).astype(np.uint8)
    labels = random.randint(0, 10, (6, ROWS))
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    batches = {
        f"cifar-10-batches-py/{name}": as_python_2_wrote_it(p, y.tolist())
        for name, p, y in zip(names, pixels, labels, strict=True)
    }
    monkeypatch.setattr(online, "CIFAR10", put(cache, CIFAR10, archive_of(batches)))
    return pixels, labels


def test_cifar10_is_read_in_order_red_green_blue(small_cifar):
    pixels, labels = small_cifar
    parts = cifar10(n_validation=3, online=False)
    assert [len(part) for part in parts] == [5 * ROWS - 3, 3, ROWS]
    targets = torch.cat([part.targets for part in parts])
    assert targets.dtype == torch.int64
    assert targets.tolist() == labels.ravel().tolist()
    images = torch.cat([part.inputs for part in parts])
    assert images.dtype == torch.float32
    mean, deviation = np.array([125.3, 123.0, 113.9]), np.array([63.0, 62.1, 66.7])
    planes = pixels.reshape(-1, 3, 32, 32)  # a row holds 1024 red, green, blue values
    expected = (planes - mean[:, None, None]) / deviation[:, None, None]
    np.testing.assert_allclose(images.numpy(), expected, atol=2e-3)


def test_the_hand_made_pickle_is_one_that_python_reads(small_cifar):
    """The writer above, checked with the ordinary reader (which warns of its age)."""
    data = as_python_2_wrote_it(small_cifar[0][0], [1, 2])
    with warnings.catch_warnings(action="ignore"):
        batch = pickle.loads(data, encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], small_cifar[0][0])
    assert batch[b"labels"] == [1, 2]


class Harmful:
    """What a pickle can do."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_with_anything_but_arrays_is_refused(cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = [f"cifar-10-batches-py/data_batch_{n}" for n in range(1, 6)]
    archive = archive_of(dict.fromkeys(names, pickle.dumps({b"data": Harmful()})))
    monkeypatch.setattr(online, "CIFAR10", put(cache, CIFAR10, archive))
    with pytest.raises(pickle.UnpicklingError, match="mkdir has no place in a pickle"):
        cifar10(online=False)
    assert not (tmp_path / "harm").exists()


def test_nothing_is_unpacked_to_disk(small_cifar, cache):
    before = sorted(cache.rglob("*"))
    cifar10(n_validation=3, online=False)
    assert sorted(cache.rglob("*")) == before


def idx(array: np.ndarray) -> bytes:
    """Return a gzipped IDX file: 0, 0, type 8 (bytes), dimensions, sides, content."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.tobytes())


def test_fashion_mnist_is_read_in_order(cache, monkeypatch):
    random = np.random.RandomState(0)
    arrays = [random.randint(0, 256, (12, 28, 28)), random.randint(0, 10, 12)]
    arrays += [random.randint(0, 256, (5, 28, 28)), random.randint(0, 10, 5)]
    arrays = [array.astype(np.uint8) for array in arrays]
    files = [put(cache, d, idx(a)) for d, a in zip(FASHION, arrays, strict=True)]
    monkeypatch.setattr(online, "FASHION", tuple(files))
    parts = fashion_mnist(n_validation=2, online=False)
    assert [tuple(part.inputs.shape) for part in parts] == [
        (10, 1, 28, 28),
        (2, 1, 28, 28),
        (5, 1, 28, 28),
    ]
    x, y, x_test, y_test = arrays
    np.testing.assert_allclose(
        parts.test.inputs[:, 0].numpy(), (x_test / 255 - 0.2860) / 0.3530, atol=1e-5
    )
    np.testing.assert_allclose(
        parts.validation.inputs[:, 0].numpy(),
        (x[10:] / 255 - 0.2860) / 0.3530,
        atol=1e-5,
    )
    assert parts.train.targets.tolist() == y[:10].tolist()
    assert parts.test.targets.tolist() == y_test.tolist()
    assert parts.test.targets.dtype == torch.int64


@pytest.mark.parametrize("download", [CIFAR10, *FASHION], ids=lambda d: d.name)
def test_sources_are_complete(download):
    """What can be said without a network; the sums stand in several public places."""
    assert re.fullmatch("[0-9a-f]{64}", download.sha256)
    assert len(download.mirrors) >= 2
    name = download.name.split("/")[-1]
    assert all(re.match("https?://", mirror) for mirror in download.mirrors)
    assert all(mirror.endswith("/" + name) for mirror in download.mirrors)
    assert len(set(download.mirrors)) == len(download.mirrors)


def test_files_go_by_the_order_images_labels_train_test():
    names = [download.name for download in FASHION]
    assert [("train" in n, "images" in n) for n in names] == [
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (cifar10, "cifar-10-python.tar.gz"),
        (fashion_mnist, "train-images-idx3-ubyte.gz"),
    ],
)
def test_offline_the_file_and_the_switch_are_named(load, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}.*EFFDL_ONLINE=1"):
        load()


@pytest.mark.parametrize("load", [cifar10, fashion_mnist])
@pytest.mark.parametrize("count", [0, -1, 60_000])
def test_a_part_without_images_is_refused_before_any_download(load, count):
    with pytest.raises(
        ValueError, match=rf"n_validation must be in 1..\d+, got {count}"
    ):
        load(n_validation=count)
