"""Latency in the space of FBNet: a table of operators, and where it can be read off.

Papers: Li et al., "HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark",
ICLR 2021, https://arxiv.org/abs/2103.10584, section 3; the space is that of Wu et al.,
"FBNet", CVPR 2019, https://arxiv.org/abs/1812.03443.

An architecture chooses one of 9 operations for each of 22 layers: 9^22 = 9.85e20. No
table has so many rows, and none is needed. The benchmark measured operators, and the
latency of an architecture is the sum of what its layers need, stem and head included:

    latency(a) = base + sum over layers l of extra[l, a_l]        extra[l, skip] = 0

That is linear in 1 + 22 * 8 = 177 unknowns. So a few hundred published sums give all
of them back by least squares, exactly but for rounding, and with them the latency of
every architecture of the space.

Latencies do not say how much of them is stem, head or a skip: only differences between
operations of one layer can be known. Hence base is the latency of the architecture that
skips wherever it can, and extra what an operation needs beyond a skip.

When not to trust it: a device that overlaps layers, fuses them or keeps what fits into
a cache is not additive. Then the benchmark's sums are not its latency, and the table
inherits the mistake; that the sums are reproduced exactly says nothing about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effdl.nas.public_files import (
    FBNET_ARCHITECTURES,
    FBNET_LATENCIES,
    MILLISECOND,
    read_pt,
)

LAYERS = 22
OPERATIONS = (  # kernel, expansion, groups of the pointwise layers
    *("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6"),
    *("k5_e1", "k5_e1_g2", "k5_e3", "k5_e6"),
    "skip",
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AdditiveTable:
    """What every operation adds to the latency, layer by layer.

    Attributes:
        base: Seconds of the architecture that takes the last operation everywhere.
        extra: Seconds beyond that, (layers, operations); the last column is 0.

    Example:
        >>> table = AdditiveTable(1.0, np.array([[0.5, 0.25, 0.0], [4.0, 2.0, 0.0]]))
        >>> table.latency((1, 0)), table.fastest(), table.slowest()
        (5.25, (2, 2), (0, 0))
    """

    base: float
    extra: Floats

    def latency(self, architecture: Sequence[int]) -> float:
        """Return the seconds that one architecture needs.

        Args:
            architecture: The number of an operation for each layer.

        Raises:
            ValueError: If it has not one operation a layer, or an unknown one.
        """
        layers, operations = self.extra.shape
        if len(architecture) != layers:
            raise ValueError(
                f"architecture must have {layers} operations, one for each layer, "
                f"got {len(architecture)}"
            )
        for operation in architecture:
            if not 0 <= operation < operations:
                raise ValueError(
                    f"unknown operation {operation}; use 0 to {operations - 1}"
                )
        return self.base + float(self.extra[range(layers), list(architecture)].sum())

    def fastest(self) -> tuple[int, ...]:
        """Return the architecture with the least latency of all."""
        return tuple(self.extra.argmin(axis=1).tolist())

    def slowest(self) -> tuple[int, ...]:
        """Return the architecture with the largest latency of all."""
        return tuple(self.extra.argmax(axis=1).tolist())


def fit_additive(
    architectures: Ints, latencies: Floats, *, operations: int = len(OPERATIONS)
) -> AdditiveTable:
    """Return the table whose sums are closest to measured latencies.

    Args:
        architectures: Operations by number, (rows, layers).
        latencies: Seconds, (rows,).
        operations: How many there are to choose from.

    Raises:
        ValueError: If the shapes do not fit, a number is no operation, or too few
            different architectures are given to determine the table.

    Example:
        >>> both = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> table = fit_additive(both, np.array([7.0, 5.0, 3.0, 1.0]), operations=2)
        >>> table.extra.round(6).tolist()
        [[4.0, 0.0], [2.0, 0.0]]
    """
    if architectures.ndim != 2 or latencies.shape != architectures.shape[:1]:
        raise ValueError(
            "architectures must be (rows, layers) and latencies (rows,), got "
            f"{architectures.shape} and {latencies.shape}"
        )
    if architectures.size == 0 or not 0 <= architectures.min() <= architectures.max():
        raise ValueError("architectures must hold numbers of operations, 0 or larger")
    if architectures.max() >= operations:
        raise ValueError(
            f"architectures must hold operations below {operations}, got "
            f"{architectures.max()}; is operations= right?"
        )
    design = _design(architectures, operations)
    solution, _, rank, _ = np.linalg.lstsq(design, latencies, rcond=None)
    unknowns = design.shape[1]
    if rank < unknowns:
        raise ValueError(
            f"{len(design)} architectures determine {rank} of {unknowns} unknowns; "
            "give more, in which every layer takes every operation"
        )
    extra = solution[1:].reshape(architectures.shape[1], operations - 1)
    return AdditiveTable(float(solution[0]), np.pad(extra, ((0, 0), (0, 1))))


def largest_error(
    table: AdditiveTable, architectures: Ints, latencies: Floats
) -> float:
    """Return by how many seconds a table is wrong at most.

    Args:
        table: What is asked.
        architectures: Operations by number, (rows, layers).
        latencies: The truth in seconds, (rows,).

    Example:
        >>> table = AdditiveTable(1.0, np.array([[2.0, 0.0]]))
        >>> largest_error(table, np.array([[0], [1]]), np.array([3.5, 1.0]))
        0.5
    """
    sums = np.array([table.latency(row) for row in architectures.tolist()])
    return float(np.abs(sums - latencies).max())


def load_fbnet(device: str, *, online: bool | None = None) -> tuple[Ints, Floats]:
    """Return 5,000 architectures and what they need on one device.

    Args:
        device: "raspi4", "pixel3", "eyeriss" or "fpga". On the last, stem, head and
            skips count as nothing.
        online: Whether the network may be used; None asks EFFDL_ONLINE. The errors
            are those of :func:`effdl.data.download.fetch`.

    Returns:
        Operations by number, (5000, 22), and seconds, (5000,).

    Raises:
        ValueError: If the device is unknown, or the files do not fit each other.

    Example:
        >>> load_fbnet("abacus")
        Traceback (most recent call last):
        ValueError: unknown device 'abacus'; choose from ['raspi4', 'pixel3', ...]
    """
    if device not in FBNET_LATENCIES:
        raise ValueError(
            f"unknown device {device!r}; choose from {list(FBNET_LATENCIES)}"
        )
    chosen = np.array(read_pt(FBNET_ARCHITECTURES, online=online), dtype=np.int64)
    measured = read_pt(FBNET_LATENCIES[device], online=online)
    if chosen.shape != (len(measured), LAYERS):
        raise ValueError(
            f"{len(measured)} latencies on {device} do not fit architectures of shape "
            f"{chosen.shape}; a file is cut short"
        )
    return chosen, np.array(measured, dtype=np.float64) * MILLISECOND


def _design(architectures: Ints, operations: int) -> Floats:
    """Return a 1 and, for each layer, a 1 at its operation unless that is the last."""
    chosen = np.eye(operations)[architectures][:, :, :-1]  # (rows, layers, others)
    return np.hstack([np.ones((len(chosen), 1)), chosen.reshape(len(chosen), -1)])
