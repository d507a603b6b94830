"""NAS-Bench-Graph: 26,206 graph networks for the citation graph Cora, as published.

Paper: Qin et al., "NAS-Bench-Graph: Benchmarking Graph Neural Architecture Search",
NeurIPS 2022, https://arxiv.org/abs/2206.09166.

A second table that holds its whole space, of another kind: the networks of
:mod:`effdl.nas.graph_space`, each with

    validation, test    accuracy, mean of 3 seeds
    latency             seconds on the authors' machine
    parameters

The authors have such files for nine graphs, that of the proteins with a part of the
architectures. Learning curves and losses are in other, larger files.

The file is a pickle, which could run any code. It is opened only after its SHA-256 was
found right, and only with what a floating-point number takes.
"""

import pickle
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from effdl.data.download import fetch
from effdl.nas.graph_space import ARCHITECTURES, GraphArchitecture
from effdl.nas.public_files import GRAPH_NETWORKS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GraphTable:
    """What was measured of every architecture on one graph.

    Raises ``ValueError`` if an array has another number of rows than there are
    architectures.

    Attributes:
        name: What the table is called in messages.
        numbers: Of the architectures, one for each row.
        validation: Accuracy, 0 to 1, (rows,).
        test: The same on the test part, (rows,).
        latency: In seconds, (rows,).
        parameters: Weights, (rows,).

    Example:
        >>> one = np.ones(1)
        >>> table = GraphTable("small", (80008,), one, one, one, one)
        >>> table.row(GraphArchitecture((0, 1, 2, 3), ("gat", "gat", "gat", "skip")))
        Traceback (most recent call last):
        ValueError: small has no row for ...
    """

    name: str
    numbers: tuple[int, ...]
    validation: Floats
    test: Floats
    latency: Floats
    parameters: Floats

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)[2:]):
            rows = len(getattr(self, name))
            if rows != len(self.numbers):
                raise ValueError(
                    f"{name} of {self.name} must have {len(self.numbers)} rows, one "
                    f"per architecture, got {rows}"
                )

    def __len__(self) -> int:
        return len(self.numbers)

    def row(self, architecture: GraphArchitecture) -> int:
        """Return the row of an architecture, or of the one that is the same.

        Raises:
            ValueError: If it was never trained; such are four skips.
        """
        place = self._rows.get(architecture.number)
        if place is None:
            raise ValueError(
                f"{self.name} has no row for {architecture}; it holds {len(self)} "
                "architectures"
            )
        return place

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self.numbers)}


def load_graph_table(*, online: bool | None = None) -> GraphTable:
    """Return the published table for Cora.

    Args:
        online: Whether the network may be used; None asks EFFDL_ONLINE. The errors
            are those of :func:`effdl.data.download.fetch`, and
            ``pickle.UnpicklingError`` if the file holds more than numbers.

    Raises:
        ValueError: If it has not 26,206 architectures.

    Example:
        >>> from effdl.data.download import cache_folder
        >>> if (cache_folder() / GRAPH_NETWORKS.name).is_file():
        ...     assert len(load_graph_table()) == 26_206
    """
    with fetch(GRAPH_NETWORKS, online=online).open("rb") as file:
        entries = _NumbersOnly(file).load()
    if len(entries) != ARCHITECTURES:
        raise ValueError(
            f"{GRAPH_NETWORKS.name} has {len(entries)} of the {ARCHITECTURES} "
            "architectures; it is cut short"
        )

    def column(name: str) -> Floats:
        return np.array([entry[name] for entry in entries.values()], dtype=np.float64)

    return GraphTable(
        name="NAS-Bench-Graph on Cora",
        numbers=tuple(entries),
        validation=column("valid_perf"),
        test=column("perf"),
        latency=column("latency"),
        parameters=np.rint(column("para") * 1e6),  # millions there
    )


class _NumbersOnly(pickle.Unpickler):
    """Reads pickles of plain containers and NumPy numbers, and refuses all others."""

    def find_class(self, module: str, name: str) -> object:
        if name == "scalar" and module.startswith("numpy."):
            return np.float64(0).__reduce__()[0]  # NumPy 2 has moved it
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(
            f"{module}.{name} has no place in a pickle of numbers"
        )
