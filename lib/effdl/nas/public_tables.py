"""NAS-Bench-201 and HW-NAS-Bench as they were published, behind the book's interface.

Papers: Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326; Li
et al., "HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark", ICLR 2021,
https://arxiv.org/abs/2103.10584.

The first trained all 15,625 cells on three data sets, the second measured the networks
on devices. What is public in small files is less than what they have:

    validation   accuracy after the last of 200 epochs, one number for each cell
    latency_*    of one image on raspi4, pixel3 and eyeriss (32 x 32 pixels only)
    parameters, macs    not in the files; closed forms, below

There are no test accuracies, second seeds, learning curves or training times. So a
search by validation accuracy and latency runs on these tables as on the book's own, and
one that asks for more is told what is missing.

The files number operations, edges and cells in three different ways, so all are joined
by the string of the cell. Every cell has a row of its own, those that compute the same
included: they were trained apart, with other random numbers. The 341 disconnected cells
have the accuracy of a guess.

With n1 and n3 convolutions of side 1 and 3 on the edges, used or not, images of s x s
pixels and K classes:

    parameters = 72,656 + 65 K + 28,000 n1 + 243,040 n3
    MACs       = s^2 (7,600 + 3,840 n1 + 34,560 n3) + 64 K
"""

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from effdl.data.download import fetch
from effdl.nas.cell_space import EDGES, SPACE_SIZE, Cell, all_cells
from effdl.nas.public_files import (
    CELL_ACCURACIES,
    CELL_LATENCIES,
    CELL_NUMBERS,
    MILLISECOND,
    read_pt,
)
from effdl.nas.table import CellTable, Floats

DATASETS = {  # classes, and the side of an image
    "cifar10": (10, 32),
    "cifar100": (100, 32),
    "ImageNet16-120": (120, 16),
}
MEASURED_SIDE = 32  # pixels of the images that the devices were given
NASLIB_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))  # source after source
NASLIB_OPERATIONS = (
    *("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1"),
    "avg_pool_3x3",
)


def load_nas_bench_201(
    dataset: str = "cifar10", *, online: bool | None = None
) -> CellTable:
    """Return the published accuracies and costs of all 15,625 cells.

    Args:
        dataset: "cifar10", "cifar100" or "ImageNet16-120". For the last there are no
            latencies. Those beside CIFAR-100 were measured with 10 classes.
        online: Whether the network may be used; None asks EFFDL_ONLINE. The errors
            are those of :func:`effdl.data.download.fetch`.

    Raises:
        ValueError: If the data set is unknown, or the file lacks a cell.

    Example:
        >>> load_nas_bench_201("mnist")
        Traceback (most recent call last):
        ValueError: unknown data set 'mnist'; choose from ['cifar10', 'cifar100', ...]
    """
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; choose from {list(DATASETS)}")
    accuracies = _read_accuracies(fetch(CELL_ACCURACIES, online=online), dataset)
    if len(accuracies) != SPACE_SIZE:
        raise ValueError(
            f"{CELL_ACCURACIES.name} has {len(accuracies)} of the {SPACE_SIZE} cells "
            f"for {dataset}; it is cut short"
        )
    cells = tuple(all_cells())
    classes, side = DATASETS[dataset]
    counts = [network_counts(cell, classes=classes, side=side) for cell in cells]
    parameters, macs = np.array(counts, dtype=np.float64).T
    costs = {"parameters": parameters, "macs": macs}
    if side == MEASURED_SIDE:
        for device in CELL_LATENCIES:
            costs[f"latency_{device}"] = load_hw_latencies(device, cells, online=online)
    return CellTable(
        name=f"NAS-Bench-201 on {dataset}",
        cells=cells,
        validation=np.array([[accuracies[cell]] for cell in cells]) / 100,
        test=None,
        curves=None,
        losses=None,
        costs=costs,
    )


def load_hw_latencies(
    device: str, cells: Sequence[Cell], *, online: bool | None = None
) -> Floats:
    """Return what the networks of some cells need on a device, for CIFAR-10.

    Args:
        device: "raspi4", "pixel3" or "eyeriss".
        cells: Any cells.
        online: As for :func:`load_nas_bench_201`, with the same errors.

    Returns:
        Seconds for one image, (cells,).

    Raises:
        ValueError: If the device is unknown, or the two files do not fit.

    Example:
        >>> load_hw_latencies("abacus", [])
        Traceback (most recent call last):
        ValueError: unknown device 'abacus'; choose from ['raspi4', 'pixel3', 'eyeriss']
    """
    if device not in CELL_LATENCIES:
        raise ValueError(
            f"unknown device {device!r}; choose from {list(CELL_LATENCIES)}"
        )
    numbers = read_pt(CELL_NUMBERS, online=online)
    measured = read_pt(CELL_LATENCIES[device], online=online)
    if len(measured) != len(numbers):
        raise ValueError(
            f"{len(measured)} latencies on {device} do not fit {len(numbers)} cells; "
            "a file is cut short"
        )
    chosen = [measured[numbers[str(cell)]] for cell in cells]
    return np.array(chosen, dtype=np.float64) * MILLISECOND


def naslib_cell(code: str) -> Cell:
    """Return the cell that NASLib writes as six numbers.

    Args:
        code: Such as "(1, 1, 2, 0, 2, 3)": operations by NASLib's numbers, on the edges
            out of node 0, then out of node 1, then out of node 2.

    Raises:
        ValueError: If these are not six numbers from 0 to 4.

    Example:
        >>> print(naslib_cell("(3, 2, 0, 2, 2, 3)"))  # the best on CIFAR-100
        |nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|
    """
    numbers = [int(digits) for digits in re.findall(r"\d+", code)]
    known = range(len(NASLIB_OPERATIONS))
    if len(numbers) != len(NASLIB_EDGES) or not set(numbers) <= set(known):
        raise ValueError(
            f"malformed cell {code!r}; write six numbers from 0 to {known[-1]}, such "
            "as '(1, 1, 2, 0, 2, 3)'"
        )
    named = (NASLIB_OPERATIONS[number] for number in numbers)
    on_edge = dict(zip(NASLIB_EDGES, named, strict=True))
    return Cell(tuple(on_edge[edge] for edge in EDGES))


def network_counts(cell: Cell, *, classes: int = 10, side: int = 32) -> tuple[int, int]:
    """Return the parameters and MACs of the benchmark's network, edges unused included.

    Args:
        cell: The cell that is repeated 15 times.
        classes: Outputs K of the network.
        side: Height and width s of an image; a multiple of 4.

    Example:
        >>> network_counts(Cell(("none",) * 6))
        (73306, 7783040)
    """
    small, large = cell.count("nor_conv_1x1"), cell.count("nor_conv_3x3")
    parameters = 72_656 + 65 * classes + 28_000 * small + 243_040 * large
    macs = side**2 * (7_600 + 3_840 * small + 34_560 * large) + 64 * classes
    return parameters, macs


def _read_accuracies(archive: Path, dataset: str) -> dict[Cell, float]:
    """Return the accuracy in per cent of every cell that the archive has."""
    with zipfile.ZipFile(archive) as files:
        names = [name for name in files.namelist() if f"--{dataset}--" in name]
        entries = [entry for name in names for entry in json.loads(files.read(name))]
    return {naslib_cell(entry["arch"]): entry["val_accuracy"] for entry in entries}
