"""CIFAR-10 and Fashion-MNIST, for readers with a network; the book never needs them.

Sources: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html; Xiao, Rasul and Vollgraf, "Fashion-MNIST: a
Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017,
https://arxiv.org/abs/1708.07747 (MIT licence).

Nothing is unpacked to disk. The Python version of CIFAR-10 consists of pickles, which
could run any code: they are opened only after the archive's SHA-256 was found right,
and only with what an array of numbers takes.
"""

import gzip
import pickle
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from effdl.data.digits import Split
from effdl.data.download import Download, fetch

CIFAR10 = Download(
    name="cifar-10-python.tar.gz",
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    mirrors=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
        "cifar-10-python.tar.gz",
    ),
)
CIFAR10_TRAIN = tuple(f"cifar-10-batches-py/data_batch_{n}" for n in range(1, 6))
CIFAR10_TEST = ("cifar-10-batches-py/test_batch",)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)  # of the training images, red, green, blue
CIFAR10_DEVIATION = (0.2470, 0.2435, 0.2616)

FASHION_HOSTS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
FASHION_FILES = (
    (
        "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
FASHION = tuple(
    Download(
        f"fashion-mnist/{name}", size, sha256, tuple(h + name for h in FASHION_HOSTS)
    )
    for name, size, sha256 in FASHION_FILES
)
FASHION_MEAN, FASHION_DEVIATION = (0.2860,), (0.3530,)

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Pictures(NamedTuple):
    """Three parts of a data set; validation is the end of its training images."""

    train: Split
    validation: Split
    test: Split


def cifar10(*, n_validation: int = 5000, online: bool | None = None) -> Pictures:
    """Return 50,000 and 10,000 colour photographs of ten things, (3, 32, 32).

    Downloads 170 MB the first time; takes 740 MB of memory.

    Args:
        n_validation: Training images that are kept to choose on, 1 to 49,999; another
            number is a ValueError.
        online: Whether the network may be used; None asks EFFDL_ONLINE. The errors
            are those of :func:`effdl.data.download.fetch`.

    Example:
        >>> cifar10(n_validation=50_000, online=False)
        Traceback (most recent call last):
        ValueError: n_validation must be in 1..49999, got 50000
    """
    _check_part(n_validation, 50_000)
    archive = fetch(CIFAR10, online=online)
    parts = [_read_batches(archive, names) for names in (CIFAR10_TRAIN, CIFAR10_TEST)]
    return _split(parts, n_validation, CIFAR10_MEAN, CIFAR10_DEVIATION)


def fashion_mnist(*, n_validation: int = 5000, online: bool | None = None) -> Pictures:
    """Return 60,000 and 10,000 grey pictures of ten kinds of clothes, (1, 28, 28).

    Downloads 31 MB the first time; takes 220 MB of memory.

    Takes the arguments of :func:`cifar10` and raises its errors.

    Example:
        >>> fashion_mnist(n_validation=0, online=False)
        Traceback (most recent call last):
        ValueError: n_validation must be in 1..59999, got 0
    """
    _check_part(n_validation, 60_000)
    x, y, x_test, y_test = (_read_idx(fetch(one, online=online)) for one in FASHION)
    parts = [
        (x[:, None], y.astype(np.int64)),
        (x_test[:, None], y_test.astype(np.int64)),
    ]
    return _split(parts, n_validation, FASHION_MEAN, FASHION_DEVIATION)


def _check_part(n_validation: int, count: int) -> None:
    if not 1 <= n_validation < count:
        raise ValueError(f"n_validation must be in 1..{count - 1}, got {n_validation}")


def _split(
    parts: list[tuple[Pixels, Labels]],
    n_validation: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Pictures:
    """Return the parts as float32 with mean 0 and deviation 1 for each channel."""
    scale = torch.tensor(deviation)[:, None, None] * 255
    shift = torch.tensor(mean)[:, None, None] * 255
    (x, y), (x_test, y_test) = (
        (torch.tensor(x).float().sub_(shift).div_(scale), torch.from_numpy(y))
        for x, y in parts
    )
    train = len(y) - n_validation
    first, last = Split(x[:train], y[:train]), Split(x[train:], y[train:])
    return Pictures(first, last, Split(x_test, y_test))


def _read_batches(archive: Path, names: tuple[str, ...]) -> tuple[Pixels, Labels]:
    """Return images (N, 3, 32, 32) and labels (N,) of pickles in a tar archive.

    Raises:
        ValueError: If a name is that of a folder.
    """
    images, labels = [], []
    with tarfile.open(archive) as tar:
        for name in names:
            file = tar.extractfile(name)
            if file is None:
                raise ValueError(f"{name} in {archive} is not a file")
            batch = _ArraysOnly(file, encoding="bytes").load()
            images.append(batch[b"data"].reshape(-1, 3, 32, 32))
            labels.append(np.array(batch[b"labels"], dtype=np.int64))
    return np.concatenate(images), np.concatenate(labels)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of plain containers and NumPy arrays, and refuses all others."""

    def find_class(self, module: str, name: str) -> object:
        if name == "_reconstruct" and module.startswith("numpy."):
            return np.empty(0).__reduce__()[0]  # NumPy 2 has moved it
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        raise pickle.UnpicklingError(
            f"{module}.{name} has no place in a pickle of images"
        )


def _dtype(code: bytes | str, align: int = 0, copy: int = 1) -> np.dtype[Any]:
    """Return np.dtype with the types of arguments that it has asked for since 2009."""
    text = code.decode() if isinstance(code, bytes) else code
    return np.dtype(text, align=bool(align), copy=bool(copy))


def _read_idx(path: Path) -> Pixels:
    """Return the array in a gzipped IDX file: magic, sides, bytes."""
    with gzip.open(path) as file:
        content = file.read()
    dimensions = content[3]
    sides = np.frombuffer(content, ">i4", dimensions, offset=4).tolist()
    pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return pixels.reshape(sides)
